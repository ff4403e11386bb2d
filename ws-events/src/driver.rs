//! From a connection to the end of its socket: what does its task do?
//!
//! One task for each: it reads and handles events, and writes what is sent
//! ([`pump`](crate::pump)). While a handler works, it reads ahead a little, so that pings
//! are answered and an end is noticed; beyond that, what the peer sends waits in the
//! transport.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use tokio::task::coop::consume_budget;
use ws_core::{CloseError, Conn, EndedBy, Ending, Error, Message, StatusCode};

use crate::counters::add;
use crate::dispatch::dispatch;
use crate::event::News;
use crate::mailbox::Order;
use crate::member::Told;
use crate::protocol::{Received, Session};
use crate::pump::pump;
use crate::stay::{Arrival, Stay};
use crate::{Event, Fault, Hub, Reason, Refusal, Socket};

/// How much is read ahead while a handler works: so many messages, and no more once they
/// have so many bytes.
const AHEAD: usize = 32;
const AHEAD_BYTES: usize = 64 * 1024;

/// Makes a connection a socket, and serves it to its end.
pub(crate) async fn serve(hub: Hub, conn: Conn) {
    // On the heap: while the socket lives, there is no room held for its beginning.
    let Some(stay) = Box::pin(admit(hub, &conn)).await else { return };
    let order = live(stay.socket(), &conn).await;
    let ending = conn.closed().await;
    drop(conn);
    Box::pin(stay.end(reason(order, ending))).await;
}

/// Lets a connection in, if the hub takes it and its middleware does.
async fn admit(hub: Hub, conn: &Conn) -> Option<Stay> {
    let arrival = Arrival::new(hub, conn);
    let refusal = match ask(arrival.socket(), conn).await? {
        Ok(()) => match arrival.enter() {
            Ok(stay) => {
                stay.socket().0.watch(conn);
                return Some(stay);
            }
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    if let Err(Error::Unsendable(_)) = conn.close(refusal.code, &refusal.reason).await {
        let _ = conn.close(StatusCode::POLICY_VIOLATION, "").await;
    }
    None
}

/// What does the middleware say? `None` if the peer goes meanwhile.
async fn ask(socket: &Socket, conn: &Conn) -> Option<Result<(), Refusal>> {
    let hub = &socket.0.hub;
    if hub.draining.load(SeqCst) {
        return Some(Err(Refusal::new("").code(StatusCode::GOING_AWAY)));
    }
    let middleware = hub.middleware.read().clone();
    if middleware.is_empty() {
        return Some(Ok(()));
    }
    let mut asking = pin!(async {
        for ask in middleware {
            ask(socket.clone()).await?;
        }
        Ok(())
    });
    let mut gone = pin!(conn.closed());
    let answer = poll_fn(|cx| match asking.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => gone.as_mut().poll(cx).map(|_| None),
    });
    let answer = answer.await;
    add(&hub.counters.turned_away, usize::from(matches!(answer, Some(Err(_)))));
    answer
}

/// Handles events and writes what is sent, until the connection is over and its last
/// handler has returned. Gives the order by which it was closed, if it was.
async fn live(socket: &Socket, conn: &Conn) -> Option<Order> {
    let mut handling = pin!(Inbound::new(socket, conn).handle_all());
    let mut pumping = pin!(pump(&socket.0, conn));
    let (mut handled, mut pumped) = (false, None);
    let bell = Arc::new(Bell { rang: AtomicBool::new(true), task: AtomicWaker::new() });
    let ring = Waker::from(Arc::clone(&bell));
    poll_fn(|cx| {
        bell.task.register(cx.waker());
        // Handlers first: what they send leaves in this very turn.
        if !handled && bell.rang.swap(false, SeqCst) {
            handled = handling.as_mut().poll(&mut Context::from_waker(&ring)).is_ready();
        }
        if pumped.is_none()
            && let Poll::Ready(order) = pumping.as_mut().poll(cx)
        {
            pumped = Some(order);
        }
        // The connection is over when all is handled: one that was being closed, is closed.
        if handled { Poll::Ready(pumped.take().flatten()) } else { Poll::Pending }
    })
    .await
}

/// Wakes the task, and notes that it is for what comes in: whoever is only sent something
/// need not look there.
struct Bell {
    rang: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, SeqCst);
        self.task.wake();
    }
}

/// Why has it ended?
fn reason(order: Option<Order>, ending: Ending) -> Reason {
    match (ending, order) {
        (Ending { received: Some(received), by: EndedBy::Peer, .. }, _) => Reason::Peer(received),
        (_, Some(Order { too_slow: Some(queued), .. })) => Reason::SlowConsumer { queued },
        (_, Some(Order { code, reason, .. })) => Reason::Closed(CloseError::new(code, reason)),
        // By the application, past the hub.
        (Ending { sent: Some(sent), by: EndedBy::Us, error: Error::Closed(_), .. }, None) => {
            Reason::Closed(sent)
        }
        (Ending { error, .. }, None) => Reason::Lost(error),
    }
}

/// What comes in, and is handled in turn.
struct Inbound<'a> {
    socket: &'a Socket,
    conn: &'a Conn,
    session: Box<dyn Session>,
    /// What was read while a handler worked.
    ahead: VecDeque<Message>,
    ahead_bytes: usize,
    /// The connection gives no more.
    over: bool,
    /// Whose turn is it: what the hub tells, or what the peer sends?
    told_first: bool,
}

/// Something to handle.
enum Next {
    Told(Told),
    Message(Message),
}

impl<'a> Inbound<'a> {
    fn new(socket: &'a Socket, conn: &'a Conn) -> Self {
        Self {
            socket,
            conn,
            session: socket.0.hub.protocol.session(),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            over: false,
            told_first: false,
        }
    }

    async fn handle_all(mut self) {
        Box::pin(self.handle(Event::Connect, News::Bare)).await;
        while let Some(next) = self.next().await {
            let (event, news) = match next {
                Next::Told(Told { event, news }) => {
                    // A handler may tell its own socket again and again: others have a turn.
                    consume_budget().await;
                    (event, news)
                }
                Next::Message(message) => match self.session.receive(message) {
                    Ok(Received::Message(message)) => (Event::Message, News::Data(message)),
                    Ok(Received::Event(name, data)) => (Event::Custom(name), News::Data(data)),
                    Err(text) => (Event::Error, News::Wrong(Fault::Malformed(text.into()))),
                },
            };
            if self.socket.0.hears(&event) {
                // On the heap: a socket that is idle holds no room for it.
                Box::pin(self.handle(event, news)).await;
            }
        }
    }

    /// What comes next; `None` when the connection is over.
    async fn next(&mut self) -> Option<Next> {
        let Self { socket, conn, ahead, ahead_bytes, over, told_first, .. } = self;
        let member = &*socket.0;
        // Neither can keep the other from being heard.
        *told_first = !*told_first;
        let told_first = *told_first;
        let mut reading = pin!(conn.read());
        let read = move |cx: &mut Context<'_>| {
            if let Some(message) = ahead.pop_front() {
                *ahead_bytes = ahead_bytes.saturating_sub(message.len());
                return Poll::Ready(Some(Next::Message(message)));
            }
            if *over {
                return Poll::Ready(None);
            }
            reading.as_mut().poll(cx).map(|read| {
                *over = read.is_err();
                read.ok().map(Next::Message)
            })
        };
        let mut read = read;
        poll_fn(|cx| {
            if told_first && let Poll::Ready(told) = member.mailbox.poll_event(cx) {
                return Poll::Ready(Some(Next::Told(told)));
            }
            match read(cx) {
                Poll::Pending if !told_first => {
                    member.mailbox.poll_event(cx).map(|told| Some(Next::Told(told)))
                }
                polled => polled,
            }
        })
        .await
    }

    /// Has an event handled, and reads ahead meanwhile.
    async fn handle(&mut self, event: Event, news: News) {
        let mut handling = pin!(dispatch(self.socket, event, news));
        if poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx).is_ready())).await {
            return;
        }
        let Self { socket, conn, ahead, ahead_bytes, over, .. } = self;
        let mut reading = pin!(conn.read());
        poll_fn(|cx| {
            if handling.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            while !*over && ahead.len() < AHEAD && *ahead_bytes < AHEAD_BYTES {
                match reading.as_mut().poll(cx) {
                    Poll::Ready(Ok(message)) => {
                        *ahead_bytes += message.len();
                        ahead.push_back(message);
                        reading.set(conn.read());
                    }
                    Poll::Ready(Err(_)) => {
                        *over = true;
                        socket.0.stop_sending();
                    }
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle socket holds one, in its task.
    #[tokio::test]
    async fn what_serves_a_socket_is_small() {
        let (conn, _peer) = ws_core::pair();
        let size = size_of_val(&serve(Hub::new(), conn));
        assert!(size <= 912, "{size}");
    }
}
