//! What waits for a socket, and how does its task hear of it?
//!
//! Messages on their way out, events on their way to handlers, and the order to close.
//! Whoever puts something in is told whom to [`Call`], which it does when it holds no lock;
//! likewise what is thrown out is handed out, and dropped then. There is one lock, held for
//! some tens of nanoseconds.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use ws_core::StatusCode;

use crate::delivery::limits::{Outbox, Overflow};
use crate::delivery::queue_types::{
    AT_ONCE, Call, EVENTS, Level, Manner, Order, Posted, Taken, Todo, Weigh,
};
use crate::delivery::ring::Outgoing;
use crate::delivery::waiters::{Place, Waiting};
use crate::sync::Mutex;

/// The mailbox of one socket: `T` is sent, `E` is handled. Beside itself, it holds memory only
/// for what there is much of.
pub(crate) struct Mailbox<T, E>(Mutex<Inner<T, E>>);

/// In this order: what every message for a room comes upon lies together, in as few lines of
/// the processor's cache as may be.
#[repr(C)]
struct Inner<T, E> {
    state: State,
    /// Has the transport left a part of the last batch?
    behind: bool,
    /// Is a carrier on its way, to write what waits?
    carried: bool,
    /// The weight of all that is outgoing.
    bytes: usize,
    /// Who writes, while it sleeps.
    writer: Option<Waker>,
    outgoing: Outgoing<T>,
    /// To close, until it is carried out.
    order: Option<Box<Order>>,
    incoming: VecDeque<E>,
    /// Who handles, while it sleeps.
    handler: Option<Waker>,
    dropped: u64,
    /// Those that wait for room. Apart, since it is seldom that anybody does.
    waiting: Option<Box<Waiting>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more is taken to be sent, and the task is to close.
    Closing,
    /// It is over: of events, only those are taken that must not be lost.
    Closed,
}

impl<T: Weigh, E> Mailbox<T, E> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner {
            state: State::Open,
            behind: false,
            carried: false,
            bytes: 0,
            writer: None,
            outgoing: Outgoing::default(),
            order: None,
            incoming: VecDeque::new(),
            handler: None,
            dropped: 0,
            waiting: None,
        }))
    }

    /// Sends something, and never waits. What is thrown out for it goes to `out`, to be
    /// dropped without any lock.
    #[inline]
    pub(crate) fn post(
        &self,
        item: T,
        outbox: &Outbox,
        manner: Manner,
        out: &mut Vec<T>,
    ) -> (Posted, Call) {
        let weight = item.weight();
        let mut inner = self.0.lock();
        let keeps_up = !(manner.volatile && inner.behind);
        if inner.state == State::Open && keeps_up && inner.has_room(outbox, weight) {
            let crowded = inner.push(item, weight, outbox);
            return (Posted::Queued { dropped: 0, crowded }, inner.call(manner.carried));
        }
        inner.post_anyway(item, outbox, manner, out)
    }

    /// As [`post`](Self::post), and waits for room, in a place that is to be
    /// [given up](Self::give_up) afterwards.
    pub(crate) fn poll_post(
        &self,
        item: &T,
        outbox: &Outbox,
        place: &mut Place,
        cx: &Context<'_>,
    ) -> Poll<(Posted, Call)>
    where
        T: Clone,
    {
        let weight = item.weight();
        let mut inner = self.0.lock();
        if inner.state != State::Open {
            return Poll::Ready((Posted::Closed, Call::Nobody));
        }
        if inner.has_room(outbox, weight) {
            let crowded = inner.push(item.clone(), weight, outbox);
            return Poll::Ready((Posted::Queued { dropped: 0, crowded }, inner.call(false)));
        }
        inner.waiting.get_or_insert_default().wait(place, cx.waker());
        Poll::Pending
    }

    /// Somebody waits for room no longer.
    pub(crate) fn give_up(&self, place: &mut Place) {
        let mut inner = self.0.lock();
        let waker = inner.waiting.as_mut().and_then(|waiting| waiting.leave(place));
        drop((inner, waker));
    }

    /// Counts something as dropped that was waited for room with in vain.
    pub(crate) fn drop_one(&self) {
        self.0.lock().dropped += 1;
    }

    /// For the task, when it has taken something: those that waited for room, to be woken
    /// without any lock.
    pub(crate) fn take_waiting(&self) -> Vec<Waker> {
        self.0.lock().take_waiting()
    }

    /// Puts in an event for the handlers. `Err` if there is no room, or no handler any
    /// more.
    pub(crate) fn tell(&self, event: E) -> Result<Option<Waker>, E> {
        let mut inner = self.0.lock();
        if inner.incoming.len() >= EVENTS || inner.state == State::Closed {
            return Err(event);
        }
        inner.incoming.push_back(event);
        Ok(inner.handler.take())
    }

    /// Puts in an event that must not be lost.
    pub(crate) fn tell_surely(&self, event: E) -> Option<Waker> {
        let mut inner = self.0.lock();
        inner.incoming.push_back(event);
        inner.handler.take()
    }

    /// Orders the task to close. Only the first order counts; `Err` for the others.
    pub(crate) fn close(&self, order: Order) -> Result<Option<Waker>, Order> {
        let mut inner = self.0.lock();
        if inner.state != State::Open {
            return Err(order);
        }
        inner.state = State::Closing;
        inner.order = Some(Box::new(order));
        let waiting = inner.take_waiting();
        let task = inner.writer.take();
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
        Ok(task)
    }

    /// Takes nothing more to be sent, and forgets what waits. An order that was not taken
    /// yet stands. Says how many that were.
    pub(crate) fn discard(&self) -> usize {
        let mut inner = self.0.lock();
        if inner.state == State::Open {
            inner.state = State::Closing;
        }
        inner.bytes = 0;
        let outgoing = std::mem::take(&mut inner.outgoing);
        let waiting = inner.take_waiting();
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
        outgoing.len()
    }

    /// It is over: takes nothing any more, but for events that must not be lost, and forgets
    /// what waits to be sent, and the task, whose memory a waker keeps. Says how many that were.
    pub(crate) fn shut(&self) -> usize {
        let mut inner = self.0.lock();
        inner.state = State::Closed;
        inner.bytes = 0;
        let outgoing = std::mem::take(&mut inner.outgoing);
        let gone = (inner.order.take(), inner.writer.take(), inner.handler.take());
        let waiting = inner.take_waiting();
        drop((inner, gone));
        waiting.into_iter().for_each(Waker::wake);
        outgoing.len()
    }

    /// The events that wait, in order. What comes with them may be of the application, and
    /// use this very mailbox.
    pub(crate) fn take_events(&self) -> VecDeque<E> {
        std::mem::take(&mut self.0.lock().incoming)
    }

    /// Has the processor fetch what [`post`](Self::post) needs.
    pub(crate) fn look(&self) {
        std::hint::black_box(self.0.is_locked());
    }

    /// May anything be sent still?
    pub(crate) fn is_open(&self) -> bool {
        self.0.lock().state == State::Open
    }

    pub(crate) fn level(&self) -> Level {
        let inner = self.0.lock();
        Level { messages: inner.outgoing.len(), bytes: inner.bytes, dropped: inner.dropped }
    }

    /// For the task: waits for something to write, or for the order to close, which
    /// passes what waits.
    pub(crate) fn poll_todo(&self, cx: &Context<'_>) -> Poll<Todo> {
        let mut inner = self.0.lock();
        if let Some(order) = inner.order.take() {
            return Poll::Ready(Todo::Close(order));
        }
        if inner.behind {
            return Poll::Ready(Todo::Flush);
        }
        if !inner.outgoing.is_empty() {
            return Poll::Ready(Todo::Write);
        }
        sleep(&mut inner.writer, cx)
    }

    /// For the task, while the transport is full: waits for the order to close alone.
    pub(crate) fn poll_order(&self, cx: &Context<'_>) -> Poll<Box<Order>> {
        let mut inner = self.0.lock();
        if let Some(order) = inner.order.take() {
            return Poll::Ready(order);
        }
        sleep(&mut inner.writer, cx)
    }

    /// For the task: waits for an event. Says how many wait behind it.
    pub(crate) fn poll_event(&self, cx: &Context<'_>) -> Poll<(E, u32)> {
        let mut inner = self.0.lock();
        if let Some(event) = inner.incoming.pop_front() {
            if inner.incoming.is_empty() {
                inner.incoming = VecDeque::new();
            }
            return Poll::Ready((event, u32::try_from(inner.incoming.len()).unwrap_or(u32::MAX)));
        }
        sleep(&mut inner.handler, cx)
    }

    /// For the task: the next to be written, of about so many bytes. Those that wait for
    /// room are [woken](Self::take_waiting) afterwards.
    pub(crate) fn take(&self, room: usize) -> Taken<T> {
        self.0.lock().take(room)
    }

    /// The same for a carrier.
    pub(crate) fn carry(&self, room: usize) -> Taken<T> {
        let mut inner = self.0.lock();
        if inner.behind {
            // The task goes on.
            inner.carried = false;
            return Taken::nothing();
        }
        inner.take(room)
    }

    /// A carrier leaves what waits to the task, which is to be woken if it sleeps.
    pub(crate) fn leave_to_task(&self, behind: bool) -> Option<Waker> {
        let mut inner = self.0.lock();
        inner.carried = false;
        inner.behind |= behind;
        inner.writer.take()
    }

    /// For the task: whether the transport has left a part of the last batch.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.0.lock().behind = behind;
    }
}

impl<T: Weigh, E> Inner<T, E> {
    fn has_room(&self, outbox: &Outbox, more: usize) -> bool {
        outbox.has_room(self.outgoing.len(), self.bytes, more)
    }

    /// There is no room for it, or it is not wanted. Who sends it has it still.
    #[cold]
    fn post_anyway(
        &mut self,
        item: T,
        outbox: &Outbox,
        manner: Manner,
        out: &mut Vec<T>,
    ) -> (Posted, Call) {
        if self.state != State::Open {
            return (Posted::Closed, Call::Nobody);
        }
        match outbox.overflow {
            Overflow::Disconnect(code) if !manner.volatile => self.cut(code, out),
            Overflow::DropOldest if !manner.volatile => {
                let weight = item.weight();
                let dropped = self.drop_oldest(outbox, weight, out);
                let crowded = self.push(item, weight, outbox);
                (Posted::Queued { dropped, crowded }, self.call(manner.carried))
            }
            _ => {
                self.dropped += 1;
                (Posted::Dropped, Call::Nobody)
            }
        }
    }

    /// Puts something in. Says whether it is crowded.
    #[inline(always)]
    fn push(&mut self, item: T, weight: usize, outbox: &Outbox) -> bool {
        self.bytes += weight;
        self.outgoing.push_back(item);
        !self.behind && outbox.is_crowded(self.outgoing.len(), self.bytes)
    }

    /// Who is to be told?
    fn call(&mut self, carried: bool) -> Call {
        // A task that waits for the transport has nothing to do with it yet.
        if self.behind || self.carried {
            return Call::Nobody;
        }
        if carried && self.writer.is_some() {
            self.carried = true;
            return Call::Carrier;
        }
        self.call_task()
    }

    fn call_task(&mut self) -> Call {
        self.writer.take().map_or(Call::Nobody, Call::Task)
    }

    fn take(&mut self, room: usize) -> Taken<T> {
        let mut taken = Taken::nothing();
        if self.bytes <= room && self.outgoing.len() <= AT_ONCE {
            self.bytes = 0;
            taken.items.extend(&mut self.outgoing);
        } else {
            let before = self.bytes;
            while before - self.bytes <= room
                && taken.items.len() < AT_ONCE
                && let Some(item) = self.outgoing.pop_front()
            {
                self.bytes = self.bytes.saturating_sub(item.weight());
                taken.items.push(item);
            }
        }
        taken.is_all = self.outgoing.is_empty();
        self.carried &= !taken.is_all;
        taken
    }

    fn take_waiting(&mut self) -> Vec<Waker> {
        self.waiting.as_mut().map(|waiting| waiting.take()).unwrap_or_default()
    }

    #[cold]
    fn cut(&mut self, code: StatusCode, out: &mut Vec<T>) -> (Posted, Call) {
        let too_slow = Some(std::mem::take(&mut self.bytes));
        let order = Order { code, reason: "slow consumer".to_owned(), too_slow };
        self.state = State::Closing;
        self.order = Some(Box::new(order));
        let discarded = self.outgoing.len();
        out.extend(std::mem::take(&mut self.outgoing));
        (Posted::Cut { discarded }, self.call_task())
    }

    /// Drops what has waited longest, until there is room. Says how many that were.
    fn drop_oldest(&mut self, outbox: &Outbox, weight: usize, out: &mut Vec<T>) -> usize {
        let before = self.outgoing.len();
        while !self.has_room(outbox, weight)
            && let Some(oldest) = self.outgoing.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.weight());
            out.push(oldest);
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
