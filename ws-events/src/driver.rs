//! From a connection to the end of its socket: what does its task do?
//!
//! One task for each: it reads and handles events, and writes what is sent
//! ([`pump`](crate::pump)). While a handler works, it reads ahead a little, so that pings
//! are answered and an end is noticed; beyond that, what the peer sends waits in the
//! transport.

use std::any::Any;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Waker};

use futures::FutureExt as _;
use futures::future::OptionFuture;
use tokio::task::coop::consume_budget;
use ws_core::{
    CloseError, CloseInfo, CloseInitiator, Conn, Error, Message, PreparedMessage, StatusCode,
};

use crate::bell::Bell;
use crate::counters::add;
use crate::dispatch::{dispatch, text_of, unheard};
use crate::event::News;
use crate::mail::Order;
use crate::member::Told;
use crate::posting::post_to;
use crate::protocol::{Packet, Received, Session};
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
    stay.end(reason(order, ending)).await;
}

/// Lets a connection in, if the hub takes it and its middleware does.
async fn admit(hub: Hub, conn: &Conn) -> Option<Stay> {
    let mut arrival = Arrival::new(hub, conn);
    let socket = arrival.socket().clone();
    let refusal = match ask(&socket, conn).await?.and_then(|()| arrival.enter()) {
        Ok(stay) => {
            socket.0.watch(conn);
            return Some(stay);
        }
        Err(refusal) => refusal,
    };
    add(&socket.0.hub.counters.turned_away, 1);
    socket.0.stop_sending();
    let reason = refusal.short_reason();
    if let Err(Error::SendError(_)) = conn.close(refusal.code, reason).await {
        let _ = conn.close(StatusCode::POLICY_VIOLATION, reason).await;
    }
    None
}

/// What does the middleware say? `None` if the peer goes meanwhile.
async fn ask(socket: &Socket, conn: &Conn) -> Option<Result<(), Refusal>> {
    let hub = &socket.0.hub;
    let middleware = hub.middleware.read().clone();
    if middleware.is_empty() {
        return Some(Ok(()));
    }
    let mut stopping = pin!(hub.stopping.notified());
    // From here on, nothing is missed.
    stopping.as_mut().enable();
    if hub.draining.load(SeqCst) {
        return Some(Err(Refusal::draining()));
    }
    let asking = async {
        for ask in middleware {
            ask(socket.clone()).await?;
        }
        Ok(())
    };
    let mut asking = pin!(AssertUnwindSafe(asking).catch_unwind());
    let mut gone = pin!(conn.closed());
    poll_fn(|cx| {
        if let Poll::Ready(answer) = asking.as_mut().poll(cx) {
            return Poll::Ready(Some(answer.unwrap_or_else(|panic| Err(panicked(&*panic)))));
        }
        if stopping.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Refusal::draining())));
        }
        gone.as_mut().poll(cx).map(|_| None)
    })
    .await
}

/// Middleware that panics lets nobody in.
fn panicked(panic: &(dyn Any + Send)) -> Refusal {
    tracing::error!(text = &*text_of(panic), "middleware has panicked");
    Refusal::new("").code(StatusCode::INTERNAL_ERROR)
}

/// Handles events and writes what is sent, until the connection is over and its last
/// handler has returned. Gives the order by which it was closed, if it was.
async fn live(socket: &Socket, conn: &Conn) -> Option<Box<Order>> {
    let mut handling = pin!(Inbound::new(socket, conn).handle_all());
    let mut pumping = pin!(pump(&socket.0, conn));
    let (mut handled, mut pumped) = (false, None);
    let bell = Bell::new();
    let ring = Waker::from(Arc::clone(&bell));
    poll_fn(|cx| {
        bell.listen(cx);
        // Handlers first: what they send leaves in this very turn.
        if !handled && bell.has_rung() {
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

/// Why has it ended?
fn reason(order: Option<Box<Order>>, ending: CloseInfo) -> Reason {
    match (ending, order.map(|order| *order)) {
        (CloseInfo { received: Some(received), by: CloseInitiator::Peer, .. }, _) => {
            Reason::Peer(received)
        }
        (_, Some(Order { too_slow: Some(queued), .. })) => Reason::SlowConsumer { queued },
        (_, Some(Order { code, reason, .. })) => Reason::Closed(CloseError::new(code, reason)),
        // By the application, past the hub.
        (
            CloseInfo {
                sent: Some(sent), by: CloseInitiator::Local, error: Error::Closed(_), ..
            },
            None,
        ) => Reason::Closed(sent),
        (CloseInfo { error, .. }, None) => Reason::Lost(error),
    }
}

/// What comes in, and is handled in turn.
struct Inbound<'a> {
    socket: &'a Socket,
    conn: &'a Conn,
    session: Box<dyn Session>,
    /// What else a message means, the last first.
    later: Vec<Received>,
    /// What was read while a handler worked.
    ahead: VecDeque<Message>,
    ahead_bytes: usize,
    /// The connection gives no more.
    over: bool,
    /// Whose turn is it: what the hub tells, or what the peer sends?
    told_first: bool,
    /// How much of what the hub told is to be handled before the peer has its turn again.
    told_left: u32,
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
            later: Vec::new(),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            over: false,
            told_first: false,
            told_left: 0,
        }
    }

    async fn handle_all(mut self) {
        let begun = self.session.begin();
        Box::pin(self.handle_first(begun)).await;
        OptionFuture::from(self.begin(Event::Connect, News::Bare)).await;
        while let Some(next) = self.next().await {
            let was_told = matches!(next, Next::Told(_));
            OptionFuture::from(self.take(next)).await;
            if !self.later.is_empty() {
                Box::pin(self.handle_later()).await;
            }
            if was_told {
                // A handler may tell its own socket again and again: others have a turn.
                consume_budget().await;
            }
        }
    }

    async fn handle_later(&mut self) {
        while let Some(received) = self.later.pop() {
            self.handle_one(received).await;
        }
        // A socket that is idle holds no room for it.
        self.later = Vec::new();
    }

    async fn handle_first(&mut self, begun: Received) {
        self.handle_one(begun).await;
        self.handle_later().await;
    }

    async fn handle_one(&mut self, received: Received) {
        let meant = self.follow(received);
        OptionFuture::from(meant.and_then(|meant| self.begin(meant.0, meant.1))).await;
    }

    fn take(&mut self, next: Next) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        let (event, news) = match next {
            Next::Told(Told { event, news }) => (event, news),
            Next::Message(message) => {
                let received = self.session.receive(message);
                self.follow(received)?
            }
        };
        self.begin(event, news)
    }

    /// Does what a message means, but for what handlers are to hear of.
    fn follow(&mut self, received: Received) -> Option<(Event, News)> {
        match received {
            Received::Message(message) => return Some((Event::Message, News::Data(message))),
            Received::Event(Packet { event, data, .. }) => {
                return Some((Event::Custom(event), News::Data(data)));
            }
            Received::Wrong(text) => {
                return Some((Event::Error, News::Wrong(Fault::Malformed(text))));
            }
            Received::Nothing => {}
            // What an outbox has no room for is counted there.
            Received::Reply(message) => {
                let _ = post_to(&self.socket.0, &PreparedMessage::new(message));
            }
            Received::Close(code, reason) => {
                self.socket.order(Order { code, reason, too_slow: None });
            }
            Received::Several(all) => self.later.extend(all.into_iter().rev()),
        }
        None
    }

    /// Has an event handled, if anybody hears of it. On the heap: a socket that is idle
    /// holds no room for it.
    fn begin(&mut self, event: Event, news: News) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        if !self.socket.0.hears(&event) {
            self.unheard(&event, &news);
            return None;
        }
        Some(Box::pin(self.handle(event, news)))
    }

    /// Nobody hears of an event: with what a peer has sent, somebody may have expected it.
    fn unheard(&self, event: &Event, news: &News) {
        match (event, news) {
            (_, News::Wrong(fault)) => unheard(self.socket, event, fault),
            (Event::Custom(_) | Event::Message, _) => {
                tracing::debug!(id = %self.socket.id(), %event, "nobody handles this event");
            }
            _ => {}
        }
    }

    /// What comes next; `None` when the connection is over. What is told then is for
    /// [`Stay::end`].
    async fn next(&mut self) -> Option<Next> {
        let Self { socket, conn, ahead, ahead_bytes, over, told_first, told_left, .. } = self;
        let mailbox = &socket.0.mailbox;
        // Neither can keep the other from being heard: one message, and then all that was
        // told by then.
        if *told_left == 0 {
            *told_first = !*told_first;
        }
        let told_first = *told_first || *told_left > 0;
        let mut poll_told = |cx: &mut Context<'_>| {
            mailbox.poll_event(cx).map(|(told, behind)| {
                *told_left = if *told_left == 0 { behind } else { *told_left - 1 };
                Some(Next::Told(told))
            })
        };
        let mut reading = pin!(conn.read());
        let mut read = |cx: &mut Context<'_>| {
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
        poll_fn(|cx| {
            if told_first && let Poll::Ready(told) = poll_told(cx) {
                return Poll::Ready(told);
            }
            match read(cx) {
                Poll::Pending if !told_first => poll_told(cx),
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
        // It has had this turn.
        let mut is_due = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_due, true) && handling.as_mut().poll(cx).is_ready() {
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
        assert!(size <= 816, "{size}");
    }
}
