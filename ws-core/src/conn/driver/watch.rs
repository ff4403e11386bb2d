//! What reads a connection while no operation does?
//!
//! An operation that is polled reads for itself. The watch looks at the others once per second:
//! it reads ahead within the bound, answers pings, and checks the deadlines. When the bound is
//! full, it looks for a hang-up without reading: TCP shows one, other transports have to be
//! written to.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::Error;
use crate::conn::driver::connection::Connection;
use crate::conn::driver::reader::Reader;
use crate::conn::driver::state::FlushState;
use crate::conn::driver::transport::{Arrived, ReadHalf};
use crate::conn::driver::wait_queue::{Operation, WaiterId};
use crate::conn::runtime::watch_list::{self, LastLook, Watched};
use crate::proto::{CloseEvent, CloseState, Due};

/// During how many looks bytes that the application does not read are a sign that the peer is
/// alive: for a minute.
const READ_STALL: u32 = 60;

/// After that time, at every how many looks a pong shows whether the transport still takes bytes.
const PROBE: u32 = 10;

/// How often one look goes on after a hook has run.
const HOOKS_PER_LOOK: usize = 64;

impl Connection {
    /// The watch looks at this connection from now on, until an operation reads it.
    #[cold]
    pub(crate) fn watch(&self, reader: &mut Reader) {
        if !reader.watched && !self.state.load().has_ended() {
            reader.watched = watch_list::enter(self.this.clone());
        }
    }

    /// As [`watch`](Self::watch), unless an operation waits that is polled.
    #[cold]
    pub(crate) fn watch_if_unread(&self, reader: &mut Reader) {
        if !reader.waiters.has_future() {
            self.watch(reader);
        }
    }

    /// Looks at the connection. Returns whether to look again.
    fn look_locked(&self, reader: &mut Reader, last: &mut LastLook) -> bool {
        if self.state.load().has_ended() {
            return false;
        }
        if reader.held_close_error().is_some() {
            // Nothing is read any more, and the peer answers no pings.
            if reader.io.as_ref().is_some_and(ReadHalf::is_reset) {
                self.transport_ended(reader, Error::abnormal());
            } else if self.state.is(CloseState::AnswerHeld) {
                self.check_deadlines(reader);
            } else if let Some(due) = reader.deadlines.poll_busy() {
                self.due(reader, due);
            }
            return !self.state.load().has_ended();
        }
        let progress = reader.progress();
        let has_progress = std::mem::replace(&mut last.progress, progress) != progress;
        if reader.is_ahead_full() {
            if has_progress {
                last.full = 0;
            }
            return self.look_at_full(reader, last);
        }
        last.full = 0;
        // A task that waits in a write, or did not react to the timer, may hold an operation
        // without polling it.
        let (is_draining, is_overdue) = (self.is_draining(), reader.deadlines.is_overdue());
        if reader.waiters.has_future() && !is_draining && !is_overdue {
            return false;
        }
        let is_silent = || {
            let arrived = reader.io.as_ref().map(ReadHalf::arrived);
            arrived == Some(Arrived::Nothing) && !reader.has_input()
        };
        // A task that has read the transport since the last look will read again. If it waits in a write
        // now, the next message would be the third in memory, beside the one that is sent and the one
        // that waits. A task that takes what was read ahead does not read the transport.
        let is_read = has_progress && reader.ahead_len() == 0;
        let needs_no_read = is_read || (!is_draining && is_silent());
        if is_overdue || !needs_no_read {
            self.read_ahead(reader);
            last.progress = reader.progress();
        }
        !self.state.load().has_ended()
    }

    fn is_draining(&self) -> bool {
        self.flush.is(FlushState::Draining)
    }

    /// Reads on behalf of operations that are not polled, or that will come.
    fn read_ahead(&self, reader: &mut Reader) {
        let (mut id, mut cx) = (WaiterId::NONE, Context::from_waker(Waker::noop()));
        // No waker comes back for another turn.
        reader.begin_short_turn();
        let mut op = Operation::new(&mut id, &mut cx);
        // `None`: it ends only with the connection.
        let polled = || drop(self.poll_until(reader, &mut op, |_| None::<()>));
        let panicked = panic::catch_unwind(AssertUnwindSafe(polled)).is_err();
        reader.leave(&mut id);
        if panicked {
            // No operation is there to panic, and what the transport would do next is unknown.
            let error = io::Error::other("the transport panicked");
            self.transport_ended(reader, Error::from_io(error));
        }
    }

    /// Nothing more is read ahead: looks for a hang-up, and at the deadlines.
    fn look_at_full(&self, reader: &mut Reader, last: &mut LastLook) -> bool {
        let arrived = reader.io.as_ref().map_or(Arrived::Nothing, |io| io.arrived());
        match arrived {
            // If nothing waits, the close frame may still be read in its turn, until a deadline.
            Arrived::End
                if reader.waiters.is_empty()
                    && !self.is_draining()
                    && !self.is_given_up(reader) =>
            {
                return true;
            }
            Arrived::End => {
                self.hung_up(reader);
                return false;
            }
            Arrived::Bytes | Arrived::Unknown => {
                if last.full < READ_STALL {
                    reader.deadlines.timers.heard();
                } else if arrived == Arrived::Unknown
                    && !reader.waiters.is_empty()
                    && self.is_gone(last.full.is_multiple_of(PROBE))
                {
                    self.hung_up(reader);
                    return false;
                }
                last.full = last.full.saturating_add(1);
            }
            Arrived::Nothing => {}
        }
        self.check_deadlines(reader);
        !self.state.load().has_ended()
    }

    /// Whether the transport takes no more bytes. With `probe`, sends a pong that nobody asked for
    /// (RFC 6455 §5.5.3): the peer does not answer it, so nothing is added to what is not read.
    fn is_gone(&self, probe: bool) -> bool {
        let mut writer = self.writer.lock();
        if probe && self.check_open(&writer).is_ok() {
            self.flush_now(&mut writer);
            // While a task waits for the transport, it finds out.
            if !self.is_draining() {
                // It always fits.
                let _ = writer.outbound.pong(Bytes::new());
                self.flush_now(&mut writer);
            }
        }
        writer.error().is_some()
    }

    fn check_deadlines(&self, reader: &mut Reader) {
        while let Poll::Ready(due) = self.poll_due(reader) {
            self.due(reader, due);
            if self.state.load().has_ended() {
                break;
            }
        }
    }

    /// Whether a deadline has passed that ends the connection. The peer has hung up, so it is not
    /// pinged before.
    fn is_given_up(&self, reader: &mut Reader) -> bool {
        loop {
            match self.poll_due(reader) {
                Poll::Ready(Due::Ping | Due::PrioritizeClose) => {}
                Poll::Ready(Due::GiveUp(_)) => return true,
                Poll::Pending => return false,
            }
        }
    }

    fn poll_due(&self, reader: &mut Reader) -> Poll<Due> {
        let cx = Context::from_waker(Waker::noop());
        reader.deadlines.poll_due(&self.info.config, || self.this.clone() as _, &cx)
    }

    /// The peer has hung up behind bytes that are not read. They can still be read.
    fn hung_up(&self, reader: &mut Reader) {
        let (io, input) = (reader.io.take(), reader.take_input());
        self.transport_ended(reader, Error::abnormal());
        reader.io = io;
        reader.put_back(input, 0);
    }

    /// A connection that has ended is to end, or to be read to the end of its transport.
    pub(crate) fn end_again(&self, reader: &mut Reader, event: CloseEvent) {
        match event {
            CloseEvent::Close
            | CloseEvent::CloseReceived
            | CloseEvent::CloseHeld
            | CloseEvent::Fail
            | CloseEvent::PingTimeout
            | CloseEvent::Abort
            | CloseEvent::TransportEnded => {
                if self.state.load().has_ended() {
                    reader.drop_transport();
                }
            }
            CloseEvent::AllowHalfClose
            | CloseEvent::HalfClose
            | CloseEvent::Answer
            | CloseEvent::AbandonMessage
            | CloseEvent::GoAway => {}
        }
    }
}

impl Watched for Connection {
    fn look(&self, last: &mut LastLook) -> bool {
        for _ in 0..HOOKS_PER_LOOK {
            // An operation that holds the lock reads.
            let Some(mut reader) = self.reader.try_lock() else { return true };
            let again = self.look_locked(&mut reader, last);
            if !again {
                reader.watched = false;
            }
            let has_call = reader.has_call();
            self.unlock_reader(reader);
            if !(again && has_call) {
                return again;
            }
        }
        true
    }

    fn forget(&self) {
        self.reader.lock().watched = false;
    }

    fn hand_over(&self) -> bool {
        if self.state.load().has_ended() {
            return false;
        }
        // An operation that holds a lock counts: the next time is soon enough.
        if let Some(mut reader) = self.reader.try_lock()
            && let Some(writer) = self.writer.try_lock()
        {
            let stats = self.stats_of(&reader, &writer);
            reader.metrics.hand_over(&stats);
        }
        true
    }
}
