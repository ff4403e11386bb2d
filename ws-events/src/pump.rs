//! How does what waits for a socket reach its connection?
//!
//! A batch at a time: the next is handed over when the transport has taken the last. So
//! what waits for a slow peer waits in its mailbox, where it is counted and bounded.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::task::yield_now;
use ws_core::adapter::Batch;
use ws_core::{Conn, Error, PreparedMessage, StatusCode};

use crate::counters::add;
use crate::mail::{Items, Order, Taken, Todo};
use crate::member::Member;
use crate::outbox::Overflow;
use crate::patience::within;

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
            todo => match write(member, conn, todo == Todo::Flush).await {
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
    within(conn.close_timeout(), pending::<()>()).await;
    conn.close_now();
}

/// Writes a batch, unless the transport is behind with the last, and waits until it has
/// taken all, or for the order to close.
async fn write(member: &Member, conn: &Conn, is_so: bool) -> Result<Option<Box<Order>>, Error> {
    let mut behind = Behind { member, is_so };
    if !is_so {
        // The connection may have no room: the application writes to it as well.
        let mut handing = pin!(hand_over(member, conn));
        let handed = poll_fn(|cx| behind.or_order(handing.as_mut().poll(cx), cx));
        match handed.await? {
            Reached::Order(order) => return Ok(Some(order)),
            Reached::End(batch) if batch.flushed => return Ok(None),
            Reached::End(_) => {}
        }
    }
    let mut flushing = pin!(conn.flush());
    let flushed = poll_fn(|cx| behind.or_order(flushing.as_mut().poll(cx), cx));
    match flushed.await? {
        Reached::Order(order) => Ok(Some(order)),
        Reached::End(()) => Ok(None),
    }
}

/// What came first?
enum Reached<T> {
    End(T),
    Order(Box<Order>),
}

/// Whether the transport has left a part of what it was given.
struct Behind<'a> {
    member: &'a Member,
    is_so: bool,
}

impl Behind<'_> {
    /// What has become of a write; if nothing has yet, the order to close.
    fn or_order<T>(
        &mut self,
        written: Poll<Result<T, Error>>,
        cx: &Context<'_>,
    ) -> Poll<Result<Reached<T>, Error>> {
        if let Poll::Ready(written) = written {
            return Poll::Ready(written.map(Reached::End));
        }
        if !self.is_so {
            self.is_so = true;
            self.member.mailbox.set_behind(true);
        }
        self.member.mailbox.poll_order(cx).map(|order| Ok(Reached::Order(order)))
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
        let _ = within(conn.close_timeout() / 2, send_rest(member, conn)).await;
    }
    member.stop_sending();
    if let Err(Error::SendError(_)) = conn.close(order.code, &order.reason).await {
        // Not that of `Socket::close`, which was judged before: the setting of an outbox.
        let _ = conn.close(StatusCode::TRY_AGAIN_LATER, "").await;
    }
}

/// Hands over all that waits.
async fn send_rest(member: &Member, conn: &Conn) -> Result<(), Error> {
    while hand_over(member, conn).await?.messages > 0 {
        conn.flush().await?;
    }
    Ok(())
}

/// Gives the connection as many messages as it has room for.
async fn hand_over(member: &Member, conn: &Conn) -> Result<Batch, Error> {
    let mut handed = Handed::new(member);
    conn.write_batch(|room| handed.more(|member| member.mailbox.take(room))).await
}

/// What a connection is being given of that which waits for a socket. It is counted as it is
/// taken: a transport that fails has taken some all the same.
pub(crate) struct Handed<'a> {
    member: &'a Member,
    pub(crate) count: usize,
    /// Nothing else waited.
    pub(crate) is_all: bool,
}

impl<'a> Handed<'a> {
    pub(crate) const fn new(member: &'a Member) -> Self {
        Self { member, count: 0, is_all: false }
    }

    /// The next, unless it has been given all.
    pub(crate) fn more(
        &mut self,
        take: impl FnOnce(&Member) -> Taken<PreparedMessage>,
    ) -> Items<PreparedMessage> {
        if self.is_all {
            return Items::new();
        }
        let taken = take(self.member);
        self.count += taken.items.len();
        self.is_all = taken.is_all;
        taken.items
    }
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        let Member { hub, mailbox, .. } = self.member;
        add(&hub.counters.written, self.count);
        if let Overflow::Block(_) = hub.outbox.overflow {
            mailbox.take_waiting().into_iter().for_each(Waker::wake);
        }
    }
}
