//! How does what waits for a socket reach its connection?
//!
//! A batch at a time: the next is handed over when the transport has taken the last. So
//! what waits for a slow peer waits in its mailbox, where it is counted and bounded.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;
use ws_core::{Conn, Error, StatusCode};

use crate::counters::add;
use crate::mailbox::{Order, Todo};
use crate::member::Member;

/// How long a peer is listened to that can be sent nothing any more.
const LISTEN_ON: Duration = Duration::from_secs(5);

/// Writes until the connection takes no more, or the order comes to close it, which is
/// carried out and given back.
pub(crate) async fn pump(member: &Member, conn: &Conn) -> Option<Order> {
    loop {
        let order = match poll_fn(|cx| member.mailbox.poll_todo(cx)).await {
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
    sleep(LISTEN_ON).await;
    conn.close_now();
}

/// Writes a batch, and waits until the transport has taken it, or for the order to close.
async fn write(member: &Member, conn: &Conn) -> Result<Option<Order>, Error> {
    hand_over(member, conn).await?;
    let mut behind = false;
    let mut flushing = pin!(conn.flush());
    poll_fn(|cx| {
        if let Poll::Ready(flushed) = flushing.as_mut().poll(cx) {
            if behind {
                member.mailbox.set_behind(false);
            }
            return Poll::Ready(flushed.map(|()| None));
        }
        if !behind {
            behind = true;
            member.mailbox.set_behind(true);
        }
        member.mailbox.poll_order(cx).map(|order| Ok(Some(order)))
    })
    .await
}

/// Sends what waits, as long as the peer takes it at once, and closes.
async fn close(member: &Member, conn: &Conn, order: &Order) {
    if order.too_slow.is_none() {
        while take_turn(member, conn).await {}
    }
    member.stop_sending();
    if let Err(Error::Unsendable(_)) = conn.close(order.code, &order.reason).await {
        // Not that of `Socket::close`, which was judged before: the setting of an outbox.
        let _ = conn.close(StatusCode::TRY_AGAIN_LATER, "").await;
    }
}

/// Writes a batch if the transport has taken the last. Says whether there may be more to
/// do.
async fn take_turn(member: &Member, conn: &Conn) -> bool {
    let mut flushing = pin!(conn.flush());
    let flushed = poll_fn(|cx| Poll::Ready(flushing.as_mut().poll(cx))).await;
    if !matches!(flushed, Poll::Ready(Ok(()))) {
        return false;
    }
    let mut handing = pin!(hand_over(member, conn));
    let taken = poll_fn(|cx| Poll::Ready(handing.as_mut().poll(cx))).await;
    matches!(taken, Poll::Ready(Ok(1..)))
}

/// Gives the connection as many messages as it has room for, and says how many.
async fn hand_over(member: &Member, conn: &Conn) -> Result<usize, Error> {
    // Counted as they are taken: a transport that fails has taken some all the same.
    let mut taken = 0;
    let given = conn.write_batch(|| member.mailbox.next().inspect(|_| taken += 1)).await;
    add(&member.hub.counters.written, taken);
    given
}
