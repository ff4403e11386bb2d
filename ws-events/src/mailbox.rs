//! What waits for a socket, and how does its task hear of it?
//!
//! Messages on their way out, events on their way to handlers, and the order to close.
//! Whoever puts something in gets the waker of the socket's task back, if that sleeps, and
//! wakes it when it holds no lock. There is one lock, held for some tens of nanoseconds.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use ws_core::StatusCode;

use crate::outbox::{Outbox, Overflow};
use crate::sync::Mutex;

/// How many events may wait for the handlers of a socket.
pub(crate) const EVENTS: usize = 1024;

/// Room for so many messages is kept when none waits any more: a broadcast that comes
/// again and again allocates nothing.
const KEPT: usize = 16;

/// How long something is that is sent.
pub(crate) trait Weigh {
    /// In bytes of payload.
    fn weight(&self) -> usize;
}

/// The mailbox of one socket: `T` is sent, `E` is handled. Unused, it holds no memory.
pub(crate) struct Mailbox<T, E>(Mutex<Inner<T, E>>);

/// In this order: what every message for a room comes upon lies together, in as few lines of
/// the processor's cache as may be.
#[repr(C)]
struct Inner<T, E> {
    state: State,
    outgoing: VecDeque<T>,
    /// The weight of all of them.
    bytes: usize,
    /// Who writes, while it sleeps.
    writer: Option<Waker>,
    /// Has the transport left a part of the last batch?
    behind: bool,
    incoming: VecDeque<E>,
    /// Who handles, while it sleeps.
    handler: Option<Waker>,
    dropped: u64,
    /// Those that wait for room.
    waiting: Vec<Waker>,
}

enum State {
    Open,
    /// Nothing more is taken, and the task is to close.
    Closing(Option<Box<Order>>),
    Closed,
}

/// The order to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) code: StatusCode,
    pub(crate) reason: String,
    /// How many bytes waited when the socket was found to be too slow, if it was.
    pub(crate) too_slow: Option<usize>,
}

/// What the task of a socket has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    Write,
    Close(Order),
}

/// What became of something that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It waits; so many older ones were dropped for it.
    Queued { dropped: usize },
    /// It was dropped.
    Dropped,
    /// The socket is closed for it, and so many that waited are discarded.
    Cut { discarded: usize },
    /// The socket takes nothing any more.
    Closed,
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) dropped: u64,
}

impl<T: Weigh, E> Mailbox<T, E> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner {
            outgoing: VecDeque::new(),
            bytes: 0,
            incoming: VecDeque::new(),
            writer: None,
            handler: None,
            state: State::Open,
            behind: false,
            dropped: 0,
            waiting: Vec::new(),
        }))
    }

    /// Sends something, and never waits. The waker is to be woken without any lock.
    pub(crate) fn post(&self, item: T, outbox: &Outbox, volatile: bool) -> (Posted, Option<Waker>) {
        let weight = item.weight();
        let mut inner = self.0.lock();
        if !matches!(inner.state, State::Open) {
            return (Posted::Closed, None);
        }
        let has_room = outbox.has_room(inner.outgoing.len(), inner.bytes, weight);
        if volatile && (inner.behind || !has_room) {
            inner.dropped += 1;
            return (Posted::Dropped, None);
        }
        let mut dropped = 0;
        if !has_room {
            match outbox.overflow {
                Overflow::Disconnect(code) => return inner.cut(code),
                Overflow::DropOldest => dropped = inner.drop_oldest(outbox, weight),
                Overflow::DropNewest | Overflow::Block(_) => {
                    inner.dropped += 1;
                    return (Posted::Dropped, None);
                }
            }
        }
        inner.bytes += weight;
        inner.outgoing.push_back(item);
        // A task that waits for the transport has nothing to do with it yet.
        let task = if inner.behind { None } else { inner.writer.take() };
        (Posted::Queued { dropped }, task)
    }

    /// Waits until there is room for something this long, or there never will be.
    pub(crate) fn poll_room(&self, outbox: &Outbox, weight: usize, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock();
        let open = matches!(inner.state, State::Open);
        if !open || outbox.has_room(inner.outgoing.len(), inner.bytes, weight) {
            return Poll::Ready(());
        }
        if !inner.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            inner.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Puts in an event for the handlers. `Err` if there is no room, or no handler any
    /// more.
    pub(crate) fn tell(&self, event: E) -> Result<Option<Waker>, E> {
        let mut inner = self.0.lock();
        if inner.incoming.len() >= EVENTS || matches!(inner.state, State::Closed) {
            return Err(event);
        }
        inner.incoming.push_back(event);
        Ok(inner.handler.take())
    }

    /// Orders the task to close. Only the first order counts; `Err` for the others.
    pub(crate) fn close(&self, order: Order) -> Result<Option<Waker>, Order> {
        let mut inner = self.0.lock();
        if !matches!(inner.state, State::Open) {
            return Err(order);
        }
        inner.state = State::Closing(Some(Box::new(order)));
        let waiting = std::mem::take(&mut inner.waiting);
        let task = inner.writer.take();
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
        Ok(task)
    }

    /// Takes nothing more to be sent, and forgets what waits. An order that was not taken
    /// yet stands. Says how many that were.
    pub(crate) fn discard(&self) -> usize {
        let mut inner = self.0.lock();
        if matches!(inner.state, State::Open) {
            inner.state = State::Closing(None);
        }
        inner.bytes = 0;
        let outgoing = std::mem::take(&mut inner.outgoing);
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
        outgoing.len()
    }

    /// Takes nothing any more, and forgets everything. Says how many waited to be sent.
    pub(crate) fn shut(&self) -> usize {
        let mut inner = self.0.lock();
        inner.state = State::Closed;
        inner.bytes = 0;
        let outgoing = std::mem::take(&mut inner.outgoing);
        let incoming = std::mem::take(&mut inner.incoming);
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        // What goes with the events may be of the application, and use this very mailbox.
        drop(incoming);
        waiting.into_iter().for_each(Waker::wake);
        outgoing.len()
    }

    /// Has the processor fetch what [`post`](Self::post) needs.
    pub(crate) fn look(&self) {
        std::hint::black_box(self.0.is_locked());
    }

    /// May anything be sent still?
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.0.lock().state, State::Open)
    }

    pub(crate) fn level(&self) -> Level {
        let inner = self.0.lock();
        Level { messages: inner.outgoing.len(), bytes: inner.bytes, dropped: inner.dropped }
    }

    /// For the task: waits for something to write, or for the order to close, which
    /// passes what waits.
    pub(crate) fn poll_todo(&self, cx: &Context<'_>) -> Poll<Todo> {
        let mut inner = self.0.lock();
        if let State::Closing(order) = &mut inner.state
            && let Some(order) = order.take()
        {
            return Poll::Ready(Todo::Close(*order));
        }
        if !inner.outgoing.is_empty() {
            return Poll::Ready(Todo::Write);
        }
        sleep(&mut inner.writer, cx)
    }

    /// For the task, while the transport is full: waits for the order to close alone.
    pub(crate) fn poll_order(&self, cx: &Context<'_>) -> Poll<Order> {
        let mut inner = self.0.lock();
        if let State::Closing(order) = &mut inner.state
            && let Some(order) = order.take()
        {
            return Poll::Ready(*order);
        }
        sleep(&mut inner.writer, cx)
    }

    /// For the task: waits for an event.
    pub(crate) fn poll_event(&self, cx: &Context<'_>) -> Poll<E> {
        let mut inner = self.0.lock();
        if let Some(event) = inner.incoming.pop_front() {
            if inner.incoming.is_empty() {
                inner.incoming = VecDeque::new();
            }
            return Poll::Ready(event);
        }
        sleep(&mut inner.handler, cx)
    }

    /// For the task: the next to be written.
    pub(crate) fn next(&self) -> Option<T> {
        let mut inner = self.0.lock();
        let item = inner.outgoing.pop_front()?;
        inner.bytes = inner.bytes.saturating_sub(item.weight());
        if inner.outgoing.is_empty() && inner.outgoing.capacity() > KEPT {
            // An idle socket holds no room to speak of.
            inner.outgoing = VecDeque::new();
        }
        if !inner.waiting.is_empty() {
            let waiting = std::mem::take(&mut inner.waiting);
            drop(inner);
            waiting.into_iter().for_each(Waker::wake);
        }
        Some(item)
    }

    /// For the task: whether the transport has left a part of the last batch.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.0.lock().behind = behind;
    }
}

impl<T: Weigh, E> Inner<T, E> {
    #[cold]
    fn cut(&mut self, code: StatusCode) -> (Posted, Option<Waker>) {
        let too_slow = Some(std::mem::take(&mut self.bytes));
        let order = Order { code, reason: "slow consumer".to_owned(), too_slow };
        self.state = State::Closing(Some(Box::new(order)));
        let discarded = std::mem::take(&mut self.outgoing).len();
        (Posted::Cut { discarded }, self.writer.take())
    }

    /// Drops what has waited longest, until there is room. Says how many that were.
    fn drop_oldest(&mut self, outbox: &Outbox, weight: usize) -> usize {
        let before = self.outgoing.len();
        while !outbox.has_room(self.outgoing.len(), self.bytes, weight)
            && let Some(oldest) = self.outgoing.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.weight());
        }
        let dropped = before - self.outgoing.len();
        self.dropped += dropped as u64;
        dropped
    }
}

fn sleep<R>(task: &mut Option<Waker>, cx: &Context<'_>) -> Poll<R> {
    match task {
        Some(task) if task.will_wake(cx.waker()) => {}
        _ => *task = Some(cx.waker().clone()),
    }
    Poll::Pending
}
