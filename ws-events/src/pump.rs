//! How does what waits for a socket reach its connection?
//!
//! A batch at a time: the next is handed over when the transport has taken the last. So
//! what waits for a slow peer waits in its mailbox, where it is counted and bounded.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use ws_core::{Conn, Error, StatusCode};

use crate::counters::add;
use crate::mailbox::{Order, Todo};
use crate::member::Member;
use crate::outbox::Overflow;

/// After so many batches that the transport took at once, other tasks get a turn.
const STREAK: u8 = 16;

/// Writes until the connection takes no more, or the order comes to close it, which is
/// carried out and given back.
pub(crate) async fn pump(member: &Member, conn: &Conn) -> Option<Box<Order>> {
    let mut streak = 0;
    loop {
        if streak == STREAK {
            streak = 0;
            yield_now().await;
        }
        let todo = poll_fn(|cx| {
            let todo = member.mailbox.poll_todo(cx);
            // Whoever sleeps begins anew.
            streak = if todo.is_ready() { streak + 1 } else { 0 };
            todo
        });
        let order = match todo.await {
            Todo::Close(order) => order,
            Todo::Write => match write(member, conn).await {
                Ok(None) => continue,
                Ok(Some(order)) => order,
                Err(_) => {
                    Box::pin(listen_on(member, conn)).await;
                    return None;
                }
            },
        };
        // On the heap: there is no room held for it before.
        Box::pin(close(member, conn, &order)).await;
        return Some(order);
    }
}

/// Nothing can be written any more. Who reads mostly finds out why, after what the peer
/// has sent before; a transport that is silent about it is cut.
async fn listen_on(member: &Member, conn: &Conn) {
    member.stop_sending();
    sleep(conn.close_timeout()).await;
    conn.close_now();
}

/// Writes a batch, and waits until the transport has taken it, or for the order to close.
async fn write(member: &Member, conn: &Conn) -> Result<Option<Box<Order>>, Error> {
    let mut behind = Behind { member, is_so: false };
    {
        // The connection may have no room: the application writes to it as well.
        let mut handing = pin!(hand_over(member, conn));
        let handed = poll_fn(|cx| {
            let handed = handing.as_mut().poll(cx).map_ok(|_| None);
            behind.or_order(handed, cx)
        });
        if let Some(order) = handed.await? {
            return Ok(Some(order));
        }
    }
    let mut flushing = pin!(conn.flush());
    poll_fn(|cx| {
        let flushed = flushing.as_mut().poll(cx).map_ok(|()| None);
        behind.or_order(flushed, cx)
    })
    .await
}

/// Whether the transport has left a part of what it was given.
struct Behind<'a> {
    member: &'a Member,
    is_so: bool,
}

impl Behind<'_> {
    /// What has become of a write; if nothing has yet, the order to close.
    fn or_order(
        &mut self,
        written: Poll<Result<Option<Box<Order>>, Error>>,
        cx: &Context<'_>,
    ) -> Poll<Result<Option<Box<Order>>, Error>> {
        if written.is_ready() {
            return written;
        }
        if !self.is_so {
            self.is_so = true;
            self.member.mailbox.set_behind(true);
        }
        self.member.mailbox.poll_order(cx).map(|order| Ok(Some(order)))
    }
}

impl Drop for Behind<'_> {
    fn drop(&mut self) {
        if self.is_so {
            self.member.mailbox.set_behind(false);
        }
    }
}

/// Sends what waits, unless that is what it is closed for, and closes.
async fn close(member: &Member, conn: &Conn, order: &Order) {
    if order.too_slow.is_none() {
        // What the connection itself has yet to send, it gives as long.
        let _ = timeout(conn.close_timeout() / 2, send_rest(member, conn)).await;
    }
    member.stop_sending();
    if let Err(Error::Unsendable(_)) = conn.close(order.code, &order.reason).await {
        // Not that of `Socket::close`, which was judged before: the setting of an outbox.
        let _ = conn.close(StatusCode::TRY_AGAIN_LATER, "").await;
    }
}

/// Hands over all that waits.
async fn send_rest(member: &Member, conn: &Conn) -> Result<(), Error> {
    while hand_over(member, conn).await? > 0 {
        conn.flush().await?;
    }
    Ok(())
}

/// Gives the connection as many messages as it has room for, and says how many.
async fn hand_over(member: &Member, conn: &Conn) -> Result<usize, Error> {
    // Counted as they are taken: a transport that fails has taken some all the same.
    let mut taken = 0;
    let given = conn.write_batch(|| member.mailbox.next().inspect(|_| taken += 1)).await;
    add(&member.hub.counters.written, taken);
    if let Overflow::Block(_) = member.hub.outbox.overflow {
        member.mailbox.take_waiting().into_iter().for_each(Waker::wake);
    }
    given
}
