//! What do all handles of a connection share, and how do its two sides tell each
//! other what happened?
//!
//! Two locks, held only in synchronous sections, and always taken in this order:
//! the reader's, then the writer's.

use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;

use bytes::Bytes;
use once_cell::race::OnceBox;
use parking_lot::Mutex;

use crate::conn::driver::deadlines::Clock;
use crate::conn::driver::linger::{Farewell, Manner};
use crate::conn::driver::pings::Pings;
use crate::conn::driver::read_buffer::Rest;
use crate::conn::driver::reader::Reader;
use crate::conn::driver::writer::Writer;
use crate::conn::info::Facts;
use crate::conn::{CloseInfo, CloseInitiator, ConnStats};
use crate::proto::{CloseFrame, Due, Failure, Role};
use crate::{Deadline, Error, StatusCode};

/// How many bytes of pongs are gathered before they are sent.
const PONGS: usize = 2 * 1024;

/// A connection, behind its handles.
pub(crate) struct Shared {
    pub(crate) this: Weak<Self>,
    pub(crate) reader: Mutex<Reader>,
    pub(crate) writer: Mutex<Writer>,
    /// Do more whole frames wait on the reading side? A stale value does no harm.
    pub(crate) more: AtomicBool,
    /// Were bytes left for a moment?
    pub(crate) deferred: AtomicBool,
    /// Were they, and nobody told yet? Changed under the writer's lock.
    pub(crate) untold: AtomicBool,
    /// Has this side's application closed? Changed under the writer's lock.
    pub(crate) closed: AtomicBool,
    /// Does a task drain the queue?
    pub(crate) draining: AtomicBool,
    /// Is the transport full, with no runtime to leave the rest to?
    pub(crate) stuck: AtomicBool,
    pub(crate) ending: OnceBox<CloseInfo>,
    pub(crate) role: Role,
    pub(crate) compressed: bool,
    pub(crate) facts: Facts,
}

impl Shared {
    /// Sends what was left for a moment.
    #[inline]
    pub(crate) fn flush_deferred(&self) {
        if self.deferred.load(Relaxed) {
            self.flush();
        }
    }

    /// Goes on writing on behalf of a reader, where no task can.
    #[inline]
    pub(crate) fn poll_stuck(&self, cx: &mut Context<'_>) {
        if self.stuck.load(Relaxed) {
            let mut writer = self.writer.lock();
            writer.poll_progress(self, cx);
            self.stuck.store(!writer.outbound.is_empty(), Relaxed);
        }
    }

    /// Answers a ping. To be followed by [`flush`](Self::flush) when all that arrived
    /// with it has been looked at.
    pub(crate) fn queue_pong(&self, payload: Bytes) {
        let mut writer = self.writer.lock();
        // A ping that arrived is short enough to be answered.
        let _ = writer.outbound.pong(payload);
        // Before so many wait that they replace each other, the transport is asked.
        if writer.outbound.urgent_len() >= PONGS {
            writer.flush_now(self);
        }
    }

    /// Sends what is queued.
    pub(crate) fn flush(&self) {
        self.writer.lock().flush_now(self);
    }

    /// The peer has sent a close frame.
    pub(crate) fn peer_closed(&self, reader: &mut Reader, frame: CloseFrame) {
        let mut writer = self.writer.lock();
        let by = match writer.outbound.close_frame() {
            Some(_) => CloseInitiator::Local,
            None => CloseInitiator::Peer,
        };
        writer.outbound.close(frame.answer());
        writer.flush_now(self);
        let error = Error::Closed(frame.as_error().clone());
        self.end(reader, &mut writer, Some(frame), by, error, Manner::Linger);
    }

    /// The peer has done something wrong, and is told so.
    #[cold]
    pub(crate) fn fault(&self, reader: &mut Reader, fault: Failure) {
        let mut writer = self.writer.lock();
        self.fail(&mut writer, fault.close_frame());
        self.end(reader, &mut writer, None, CloseInitiator::Local, fault.into(), Manner::Linger);
    }

    /// The transport has ended without a close frame.
    #[cold]
    pub(crate) fn transport_ended(&self, reader: &mut Reader, error: Error) {
        let mut writer = self.writer.lock();
        self.end(reader, &mut writer, None, CloseInitiator::Transport, error, Manner::Cut);
    }

    /// Something is due by the clock.
    pub(crate) fn due(&self, reader: &mut Reader, due: Due) {
        let mut writer = self.writer.lock();
        match due {
            Due::Ping => {
                // Eight bytes are never too many.
                let _ = writer.outbound.ping(&Pings::unnoted());
                writer.flush_now(self);
            }
            Due::PrioritizeClose => {
                writer.outbound.prioritize_close();
                writer.flush_now(self);
            }
            Due::GiveUp(deadline) => self.give_up_with(reader, &mut writer, deadline),
        }
    }

    /// A deadline has passed, and the connection is given up.
    pub(crate) fn give_up(&self, deadline: Deadline) {
        let mut reader = self.reader.lock();
        let mut writer = self.writer.lock();
        self.give_up_with(&mut reader, &mut writer, deadline);
    }

    fn give_up_with(&self, reader: &mut Reader, writer: &mut Writer, deadline: Deadline) {
        let manner = match deadline {
            Deadline::Close | Deadline::Write => Manner::Cut,
            Deadline::Keepalive => {
                let frame = CloseFrame::of(StatusCode::INTERNAL_ERROR, "ping timeout");
                self.fail(writer, frame);
                Manner::Cut
            }
            Deadline::Idle => self.go_away(writer, "idle for too long"),
            Deadline::Age => self.go_away(writer, "connected for too long"),
        };
        self.end(reader, writer, None, CloseInitiator::Local, Error::Timeout(deadline), manner);
    }

    /// Tells the peer that the connection has failed. What was written before goes out
    /// first as far as the transport takes it at once; the close frame does not wait for
    /// the rest.
    fn fail(&self, writer: &mut Writer, frame: CloseFrame) {
        writer.flush_now(self);
        writer.outbound.fail(frame);
        writer.flush_now(self);
    }

    fn go_away(&self, writer: &mut Writer, reason: &str) -> Manner {
        writer.outbound.close(CloseFrame::of(StatusCode::GOING_AWAY, reason));
        writer.flush_now(self);
        Manner::Linger
    }

    /// This side's application begins the closing handshake.
    pub(crate) fn close(&self, frame: CloseFrame) {
        let mut reader = self.reader.lock();
        if self.ending.get().is_some() {
            return;
        }
        let mut writer = self.writer.lock();
        writer.outbound.close(frame);
        self.closed.store(true, Relaxed);
        writer.flush_now(self);
        writer.waiters.wake();
        drop(writer);
        reader.closing = true;
        drop(reader.unpark());
        reader.inbound.discard_all();
        reader.clock.close(&self.facts.config);
        reader.waiters.wake();
    }

    /// This side has no more to say, says so, and listens on. If the peer has said so before,
    /// its close frame is answered, and that is the end.
    pub(crate) fn close_half(&self, frame: CloseFrame) {
        let mut reader = self.reader.lock();
        if self.ending.get().is_some() {
            return;
        }
        if let Some(peer) = reader.rare.as_mut().and_then(|rare| rare.unanswered.take()) {
            return self.peer_closed(&mut reader, peer);
        }
        let mut writer = self.writer.lock();
        writer.outbound.close(frame);
        self.closed.store(true, Relaxed);
        writer.flush_now(self);
        writer.waiters.wake();
    }

    /// A message was not what the application can use: the peer is told why.
    pub(crate) fn refuse(&self, frame: CloseFrame, error: Error) {
        let mut reader = self.reader.lock();
        let mut writer = self.writer.lock();
        if self.ending.get().is_none() {
            self.fail(&mut writer, frame);
            self.end(&mut reader, &mut writer, None, CloseInitiator::Local, error, Manner::Linger);
        }
    }

    /// A message that was begun will not be finished: the peer cannot be left with it.
    pub(crate) fn abandon_message(&self) {
        let mut reader = self.reader.lock();
        let mut writer = self.writer.lock();
        if self.ending.get().is_some() || self.closed.load(Relaxed) {
            return;
        }
        let frame = CloseFrame::of(StatusCode::INTERNAL_ERROR, "a message was not finished");
        let error = Error::Closed(frame.as_error().clone());
        self.fail(&mut writer, frame);
        self.end(&mut reader, &mut writer, None, CloseInitiator::Local, error, Manner::Linger);
    }

    /// The transport goes at once.
    pub(crate) fn cut(&self) {
        let mut reader = self.reader.lock();
        let mut writer = self.writer.lock();
        let error = Error::abnormal();
        self.end(&mut reader, &mut writer, None, CloseInitiator::Local, error, Manner::Cut);
    }

    /// The end: what is known of it is kept, those that wait are woken, and what is
    /// still to be said to the peer is left to the farewell. Only the first end counts.
    fn end(
        &self,
        reader: &mut Reader,
        writer: &mut Writer,
        received: Option<CloseFrame>,
        by: CloseInitiator,
        error: Error,
        manner: Manner,
    ) {
        let sent = writer.outbound.close_frame().map(|frame| frame.as_error().clone());
        let received = received.map(CloseFrame::into_error);
        let lost = (!writer.is_flushed()).then(|| Box::new(error.clone()));
        let ending = CloseInfo { sent, received, by, error };
        if self.ending.set(Box::new(ending)).is_err() {
            return;
        }
        let stats = ConnStats::of_sides(self, reader, writer);
        tracing::debug!(
            conn = self.facts.id, ending = ?self.ending.get(), ?stats, "connection ended"
        );
        self.record(&stats);
        self.part(reader, writer, manner);
        writer.failed = writer.failed.take().or(lost);
        reader.waiters.wake();
        writer.waiters.wake();
    }

    /// Hands the transport to the farewell.
    fn part(&self, reader: &mut Reader, writer: &mut Writer, manner: Manner) {
        if let (Some(read), Some(write)) = (reader.io.take(), writer.io.take()) {
            let queue = writer.outbound.take_queue();
            let left = reader.clock.close_left(self.facts.config.close_timeout);
            reader.clock = Clock::default();
            Farewell::new(read, write, queue, self.role, left).begin(manner);
        }
        writer.outbound.clear();
        reader.rest = Rest::default();
    }
}

impl Drop for Shared {
    /// The last handle is gone: what was written goes out, then 1001, if the peer is
    /// not closed yet.
    fn drop(&mut self) {
        if self.ending.get().is_some() {
            return;
        }
        // The locks are free: nobody else has a handle. They are taken one after the
        // other from here, as everywhere.
        let this = &*self;
        let mut reader = this.reader.lock();
        let mut writer = this.writer.lock();
        let unanswered = reader.rare.as_ref().and_then(|rare| rare.unanswered.as_ref());
        writer.outbound.close(match unanswered {
            Some(frame) => frame.answer(),
            None => CloseFrame::of(StatusCode::GOING_AWAY, ""),
        });
        this.part(&mut reader, &mut writer, Manner::Linger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle connection holds one, and two counts beside it.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Shared>() <= 376, "{}", size_of::<Shared>());
    }
}
