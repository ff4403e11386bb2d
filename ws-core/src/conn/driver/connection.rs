//! What do all handles of a connection share, and how does a connection close?
//!
//! Two locks, held only in synchronous sections, and always taken in this order: the reader's,
//! then the writer's. The [`CloseState`] changes under both, in [`Connection::apply`].
//!
//! Longer than 400 lines because every way to close is here, beside the function that applies it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use once_cell::race::OnceBox;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{Level, field};

use crate::close_info::{CloseInfo, CloseInitiator};
use crate::conn::driver::deadlines::Deadlines;
use crate::conn::driver::linger::{Linger, Shutdown};
use crate::conn::driver::reader::Reader;
use crate::conn::driver::state::{FlushState, StateCell};
use crate::conn::driver::transport::{ReadHalf, WriteHalf};
use crate::conn::driver::writer::Writer;
use crate::conn::info::ConnInfo;
use crate::conn::info::metrics::ConnMetrics;
use crate::conn::info::stats::ConnStats;
use crate::conn::runtime::timer::Expire;
use crate::conn::runtime::watch_list;
use crate::deflate::Params;
use crate::frame::Frame;
use crate::proto::{
    CloseAction, CloseEvent, CloseFrame, CloseState, Due, Failure, Inbound, Outbound, RateLimiter,
    Role,
};
use crate::{CloseError, Deadline, Error, Escaped, SendError, StatusCode};

/// The state that all handles of a connection share.
pub(crate) struct Connection {
    pub(crate) this: Weak<Self>,
    pub(crate) reader: Mutex<Reader>,
    pub(crate) writer: Mutex<Writer>,
    /// Whether more whole frames are buffered on the reading side. A hint: a stale value does
    /// no harm.
    pub(crate) more: AtomicBool,
    /// How many writes wait for the writer's lock. They send what is queued before them.
    pub(crate) contenders: AtomicU16,
    /// Changed under both locks.
    pub(crate) state: StateCell<CloseState>,
    /// Changed under the writer's lock.
    pub(crate) flush: StateCell<FlushState>,
    /// Set when the state becomes `Closed`.
    pub(crate) close_info: OnceBox<CloseInfo>,
    pub(crate) role: Role,
    pub(crate) compressed: bool,
    pub(crate) info: ConnInfo,
}

impl Connection {
    /// A connection over the halves of a transport. The log has the address of `client` instead of
    /// that of the transport.
    pub(crate) fn new(
        (read, write): (ReadHalf, WriteHalf),
        role: Role,
        compression: Option<Params>,
        leftover: &Bytes,
        info: ConnInfo,
        client: Option<SocketAddr>,
    ) -> Arc<Self> {
        let config = &info.config;
        let inbound = Inbound::new(role, Arc::clone(config), compression);
        let outbound = Outbound::new(role, config, compression);
        let rates = RateLimiter::new(&config.limits, Instant::now().into_std());
        let metrics = ConnMetrics::opened(role);
        let reader = Reader::new(read, inbound, rates, Deadlines::new(config), leftover, metrics);
        let connection = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            reader: Mutex::new(reader),
            writer: Mutex::new(Writer::new(write, outbound)),
            more: AtomicBool::new(false),
            contenders: AtomicU16::new(0),
            state: StateCell::new(CloseState::Open),
            flush: StateCell::new(FlushState::Idle),
            close_info: OnceBox::new(),
            role,
            compressed: compression.is_some(),
            info,
        });
        connection.watch(&mut connection.reader.lock());
        if ConnMetrics::IS_ON {
            watch_list::enter_metrics(connection.this.clone());
        }
        if tracing::enabled!(Level::DEBUG) {
            connection.info.attributes.change_own(|own| own.opened = Some(Instant::now()));
        }
        tracing::debug!(
            conn = connection.info.id,
            role = role.name(),
            peer = client.or_else(|| connection.info.addresses.peer()).map(field::display),
            compressed = connection.compressed,
            "connection opened"
        );
        connection
    }

    /// The error of a connection that has ended.
    #[inline]
    pub(crate) fn end_error(&self) -> Option<Error> {
        self.close_info.get().map(|info| info.error.clone())
    }

    /// Each side closes its own direction from now on.
    pub(crate) fn allow_half_close(&self) {
        self.apply_locked(CloseEvent::AllowHalfClose, None, Error::CloseSent);
    }

    /// The application closes the connection.
    pub(crate) fn close(&self, frame: CloseFrame) {
        self.apply_locked(CloseEvent::Close, Some(frame), Error::CloseSent);
    }

    /// The application has nothing more to send, and reads on.
    pub(crate) fn close_half(&self, frame: CloseFrame) {
        self.apply_locked(CloseEvent::HalfClose, Some(frame), Error::CloseSent);
    }

    /// The application sends a close frame, and reads what the peer still sends.
    pub(crate) fn close_by_frame(&self, frame: CloseFrame) {
        let mut reader = self.reader.lock();
        let mut writer = self.writer.lock();
        let event = match self.state.load() {
            CloseState::HalfClosedRemote | CloseState::AnswerHeld => CloseEvent::Close,
            CloseState::Open
            | CloseState::Tunnel
            | CloseState::CloseSent
            | CloseState::HalfClosedLocal
            | CloseState::Closed
            | CloseState::ClosedLocal => CloseEvent::HalfClose,
        };
        self.apply(&mut reader, &mut writer, event, Some(frame), Error::CloseSent);
        if self.state.is(CloseState::HalfClosedLocal) {
            reader.deadlines.begin_close(&self.info.config, || self.this.clone());
            reader.waiters.wake();
        }
    }

    /// The close frame that the application has made, if it may be sent now.
    pub(crate) fn check_close(&self, frame: &Frame) -> Result<CloseFrame, Error> {
        let close = CloseFrame::decode(frame.payload()).map_err(SendError::Frame)?;
        let writer = self.writer.lock();
        self.check_open(&writer)?;
        writer.outbound.check(frame)?;
        Ok(close)
    }

    /// The application cannot use a message: fails the connection with this close frame.
    pub(crate) fn refuse(&self, frame: CloseFrame, error: Error) {
        self.apply_locked(CloseEvent::Fail, Some(frame), error);
    }

    /// The application drops a message that it has begun to send.
    pub(crate) fn abandon_message(&self) {
        let frame = CloseFrame::of(StatusCode::INTERNAL_ERROR, "a message was not finished");
        let error = Error::Closed(frame.as_error().clone());
        self.apply_locked(CloseEvent::AbandonMessage, Some(frame), error);
    }

    /// Drops the transport, without a close frame.
    pub(crate) fn abort(&self) {
        self.apply_locked(CloseEvent::Abort, None, Error::abnormal());
    }

    /// The peer's close frame has arrived.
    pub(crate) fn close_received(&self, reader: &mut Reader, frame: CloseFrame) {
        let held = reader.has_close_hook();
        let event = if held { CloseEvent::CloseHeld } else { CloseEvent::CloseReceived };
        self.apply(reader, &mut self.writer.lock(), event, Some(frame), Error::abnormal());
    }

    /// Answers the peer's close frame that was held for a hook.
    pub(crate) fn answer_close(&self) {
        self.apply_locked(CloseEvent::Answer, None, Error::abnormal());
    }

    /// The peer violates the protocol, or exceeds a limit.
    #[cold]
    pub(crate) fn fail(&self, reader: &mut Reader, fault: Failure) {
        let (event, frame) = (CloseEvent::Fail, Some(fault.close_frame()));
        self.apply(reader, &mut self.writer.lock(), event, frame, fault.into());
    }

    /// The transport has ended without a close frame.
    #[cold]
    pub(crate) fn transport_ended(&self, reader: &mut Reader, error: Error) {
        self.apply(reader, &mut self.writer.lock(), CloseEvent::TransportEnded, None, error);
    }

    /// A deadline has passed.
    pub(crate) fn due(&self, reader: &mut Reader, due: Due) {
        let mut writer = self.writer.lock();
        match due {
            Due::Ping => {
                // Eight bytes always fit.
                // Random, so that it differs from those of recorded pings.
                let payload = rand::random::<[u8; 8]>();
                let _ = writer.outbound.ping(&payload);
                reader.metrics.ping_sent(payload);
                self.flush_now(&mut writer);
            }
            Due::PrioritizeClose => {
                writer.outbound.prioritize_close();
                self.flush_now(&mut writer);
            }
            Due::GiveUp(deadline) => self.time_out(reader, &mut writer, deadline),
        }
    }

    /// A deadline of the writing side has passed.
    pub(crate) fn write_timed_out(&self) {
        let mut reader = self.reader.lock();
        let mut writer = self.writer.lock();
        self.time_out(&mut reader, &mut writer, Deadline::Write);
    }

    fn time_out(&self, reader: &mut Reader, writer: &mut Writer, deadline: Deadline) {
        let go_away = |reason| Some(CloseFrame::of(StatusCode::GOING_AWAY, reason));
        let (event, frame) = match deadline {
            // The application has not answered the peer's close frame.
            Deadline::Close if self.state.is(CloseState::AnswerHeld) => (CloseEvent::Answer, None),
            Deadline::Close | Deadline::Write => (CloseEvent::Abort, None),
            Deadline::Keepalive => {
                let frame = CloseFrame::of(StatusCode::INTERNAL_ERROR, "ping timeout");
                (CloseEvent::PingTimeout, Some(frame))
            }
            Deadline::Idle => (CloseEvent::GoAway, go_away("idle for too long")),
            Deadline::Age => (CloseEvent::GoAway, go_away("connected for too long")),
        };
        self.apply(reader, writer, event, frame, Error::Timeout(deadline));
    }

    fn apply_locked(&self, event: CloseEvent, frame: Option<CloseFrame>, error: Error) {
        let mut reader = self.reader.lock();
        let mut writer = self.writer.lock();
        self.apply(&mut reader, &mut writer, event, frame, error);
    }

    /// Changes the state. `frame` is the close frame that has arrived, or that the event wants
    /// to send. `error` is what reading returns if this ends the connection without a close
    /// frame of the peer.
    fn apply(
        &self,
        reader: &mut Reader,
        writer: &mut Writer,
        event: CloseEvent,
        frame: Option<CloseFrame>,
        error: Error,
    ) {
        let before = self.state.load();
        let (state, action) = before.on(event);
        // The end comes last: if the transport panics before, another event ends the connection.
        if !state.has_ended() {
            self.state.store(state);
        }
        let (received, by, shutdown) = match action {
            CloseAction::Ignore => return self.end_again(reader, event),
            CloseAction::SendClose => {
                // The deadline first, so that it holds if the transport panics.
                self.drop_incoming(reader);
                return self.send_close(writer, frame);
            }
            CloseAction::SendHalfClose => {
                if before == CloseState::Tunnel {
                    // No ping may follow, and the peer may take its time.
                    reader.deadlines.timers.stop_keepalive();
                }
                return self.send_close(writer, frame);
            }
            CloseAction::DropIncoming => return self.drop_incoming(reader),
            CloseAction::HoldClose => {
                reader.cold_mut().held_close = frame;
                self.watch(reader);
                return reader.waiters.wake();
            }
            CloseAction::AwaitAnswer => {
                reader.cold_mut().held_close = frame;
                reader.deadlines.begin_close(&self.info.config, || self.this.clone());
                self.watch(reader);
                return reader.waiters.wake();
            }
            CloseAction::AnswerClose => {
                let received = reader.take_held_close().or(frame);
                self.send_close(writer, received.clone());
                (received, CloseInitiator::Peer, Shutdown::Graceful)
            }
            CloseAction::SendFinalClose => {
                self.send_close(writer, frame);
                (reader.take_held_close(), CloseInitiator::Peer, Shutdown::Graceful)
            }
            CloseAction::FinishClose => {
                self.flush_now(writer);
                (frame, CloseInitiator::Local, Shutdown::Graceful)
            }
            CloseAction::Fail => {
                self.send_failure(writer, frame);
                (None, CloseInitiator::Local, Shutdown::Graceful)
            }
            CloseAction::FailAndAbort => {
                self.send_failure(writer, frame);
                (None, CloseInitiator::Local, Shutdown::Abort)
            }
            CloseAction::GoAway => {
                self.send_close(writer, frame);
                (None, CloseInitiator::Local, Shutdown::Graceful)
            }
            CloseAction::Abort => (None, CloseInitiator::Local, Shutdown::Abort),
            CloseAction::NoteDisconnect => (None, CloseInitiator::Transport, Shutdown::Ended),
        };
        // After the peer's close frame, reading returns that.
        let received = received.map(CloseFrame::into_error);
        let error = received.clone().map_or(error, Error::Closed);
        self.state.store(state);
        self.end(reader, writer, received, by, error, shutdown);
    }

    /// Sends a close frame behind what is queued, unless one was sent before.
    fn send_close(&self, writer: &mut Writer, frame: Option<CloseFrame>) {
        if let Some(frame) = frame {
            writer.outbound.close(frame);
        }
        self.flush_now(writer);
        writer.waiters.wake();
    }

    /// Sends a close frame ahead of what is queued, unless one was sent before. What the
    /// transport takes at once goes out first.
    fn send_failure(&self, writer: &mut Writer, frame: Option<CloseFrame>) {
        self.flush_now(writer);
        if let Some(frame) = frame {
            writer.outbound.fail(frame);
        }
        self.flush_now(writer);
    }

    /// Drops what arrives, and starts the deadline of the closing handshake.
    fn drop_incoming(&self, reader: &mut Reader) {
        reader.discard();
        reader.deadlines.begin_close(&self.info.config, || self.this.clone());
        reader.waiters.wake();
    }

    /// Ends the connection: records the end, wakes all operations, and leaves the transport to
    /// a lingering close.
    fn end(
        &self,
        reader: &mut Reader,
        writer: &mut Writer,
        received: Option<CloseError>,
        by: CloseInitiator,
        error: Error,
        shutdown: Shutdown,
    ) {
        let sent = writer.outbound.close_frame().map(|frame| frame.as_error().clone());
        let info = CloseInfo { sent, received, by, error: error.clone() };
        // The state allows one end.
        let _ = self.close_info.set(Box::new(info));
        let stats = self.stats_of(reader, writer);
        if let Some(info) = self.close_info.get() {
            reader.metrics.ended(info.by, info.code(), &stats);
            self.log_end(info, &stats);
        }
        self.info.record(&stats);
        self.detach_transport(reader, writer, &error, shutdown);
        reader.waiters.wake();
    }

    fn log_end(&self, info: &CloseInfo, stats: &ConnStats) {
        if !tracing::enabled!(Level::DEBUG) {
            return;
        }
        let opened = self.info.attributes.own(|own| own.opened);
        let reason = match (info.deciding(), &info.error) {
            (Some(close), _) | (None, Error::Closed(close)) => close.reason.clone(),
            (None, Error::Io(error)) => error.to_string(),
            (None, error) => error.to_string(),
        };
        tracing::debug!(
            conn = self.info.id,
            role = self.role.name(),
            by = info.by.name(),
            code = info.code().as_u16(),
            reason = %Escaped::new(&reason),
            duration_ms = opened.map(|opened| opened.elapsed().as_millis() as u64),
            messages_in = stats.messages_in,
            messages_out = stats.messages_out,
            bytes_in = stats.bytes_in,
            bytes_out = stats.bytes_out,
            "connection closed"
        );
    }

    /// Leaves the transport to a lingering close, with what is queued.
    fn detach_transport(
        &self,
        reader: &mut Reader,
        writer: &mut Writer,
        error: &Error,
        shutdown: Shutdown,
    ) {
        if let (Some(read), Some(write)) = (reader.io.take(), writer.detach(error)) {
            let queue = writer.outbound.take_queue();
            let left = reader.deadlines.close_left(self.info.config.close_timeout);
            Linger::begin((read, write), queue, left, shutdown);
        }
        reader.deadlines = Deadlines::default();
        writer.outbound.clear();
        reader.clear_input();
        // Also the task that flushes: the transport may stay full.
        writer.waiters.wake();
    }

    /// What has gone over the connection so far.
    pub(crate) fn stats(&self) -> ConnStats {
        let reader = self.reader.lock();
        let writer = self.writer.lock();
        self.stats_of(&reader, &writer)
    }

    pub(crate) fn stats_of(&self, reader: &Reader, writer: &Writer) -> ConnStats {
        let (inbound, outbound) = (&reader.inbound, &writer.outbound);
        let (before_inflate, after_inflate) = inbound.inflated();
        let (before_deflate, after_deflate) = outbound.deflated();
        let received = self.close_info.get().and_then(|info| info.received.as_ref());
        ConnStats {
            messages_in: reader.messages,
            messages_out: writer.messages,
            frames_in: reader.messages + u64::from(inbound.extra_frames()),
            frames_out: writer.messages + u64::from(outbound.extra_frames()),
            bytes_in: reader.bytes,
            bytes_out: outbound.sent(),
            before_inflate,
            after_inflate,
            before_deflate,
            after_deflate,
            buffered: outbound.buffered(),
            rtt: reader.pings.latest(),
            close_sent: outbound.close_frame().map(|frame| frame.as_error().code),
            close_received: received.map(|close| close.code),
        }
    }
}

impl Expire for Connection {
    fn expired(&self) {
        let mut reader = self.reader.lock();
        if reader.deadlines.timer_fired(|| self.this.clone()) {
            reader.waiters.wake();
            // The task of an operation may be woken and not poll it.
            self.watch(&mut reader);
        }
    }
}

impl Drop for Connection {
    /// The last handle is gone: sends what is queued, and then a close frame, if the connection
    /// is still open.
    fn drop(&mut self) {
        // The locks are free: there is no other handle. They are taken in the usual order.
        let this = &*self;
        let mut reader = this.reader.lock();
        let mut writer = this.writer.lock();
        let (_, action) = this.state.load().on(CloseEvent::GoAway);
        if action == CloseAction::Ignore {
            if ConnMetrics::IS_ON {
                // What was read after the end.
                let stats = this.stats_of(&reader, &writer);
                reader.metrics.hand_over(&ConnStats { buffered: 0, ..stats });
            }
            return;
        }
        let (frame, received) = match reader.take_held_close() {
            Some(frame) => (frame.clone(), Some(frame.into_error())),
            None => (CloseFrame::of(StatusCode::GOING_AWAY, ""), None),
        };
        let by = if received.is_some() { CloseInitiator::Peer } else { CloseInitiator::Local };
        // The application may have closed before.
        writer.outbound.close(frame);
        let sent = writer.outbound.close_frame().map(|frame| frame.as_error().clone());
        let info = CloseInfo { sent, received, by, error: Error::CloseSent };
        let stats = this.stats_of(&reader, &writer);
        reader.metrics.ended(info.by, info.code(), &stats);
        this.log_end(&info, &stats);
        this.detach_transport(&mut reader, &mut writer, &Error::CloseSent, Shutdown::Graceful);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle connection holds one, and two counts beside it.
    #[test]
    fn a_connection_is_small() {
        let size = size_of::<Connection>() - size_of::<ConnMetrics>();
        assert!(size <= 376, "{size}");
    }

    /// Tasks that wait hold them.
    #[test]
    fn futures_hold_a_slot_and_nothing_else() {
        let (conn, _peer) = crate::pair();
        assert_eq!((size_of_val(&conn.read()), size_of_val(&conn.flush())), (16, 16));
    }

    /// The connection answers the close frame that was held, instead of waiting for another, and
    /// the peer receives the code that the application closes with.
    #[tokio::test]
    async fn a_close_after_the_half_close_of_the_peer_completes() {
        let (here, there) = crate::pair();
        here.0.allow_half_close();
        let peer = tokio::spawn(async move {
            there.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
            there.close_info().unwrap().received.unwrap()
        });
        here.read().await.unwrap_err();
        assert!(here.0.state.is(CloseState::HalfClosedRemote) && here.write("more").await.is_ok());
        here.close(StatusCode::INTERNAL_ERROR, "broken").await.unwrap();
        assert_eq!(peer.await.unwrap(), CloseError::new(StatusCode::INTERNAL_ERROR, "broken"));
        assert!(here.0.state.is(CloseState::ClosedLocal));
        assert!(matches!(here.write("late").await, Err(Error::CloseSent)));
        let info = here.close_info().unwrap();
        assert_eq!((info.by, info.is_clean()), (CloseInitiator::Peer, true));
        assert_eq!(info.error.close_status(), Some(StatusCode::NORMAL_CLOSURE));
    }

    /// After `close`, writes return `CloseSent`, also when the connection has ended.
    #[tokio::test]
    async fn a_write_after_a_close_fails_in_every_state() {
        let (here, there) = crate::pair();
        let peer = tokio::spawn(async move { there.read().await });
        here.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        peer.await.unwrap().unwrap_err();
        assert!(here.0.state.is(CloseState::ClosedLocal));
        assert!(matches!(here.write("late").await, Err(Error::CloseSent)));
    }
}
