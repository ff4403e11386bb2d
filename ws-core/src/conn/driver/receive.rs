//! How does an operation read, and what does the connection do about what the reader reports?
//!
//! Any operation that is polled reads: `read`, a `MessageReader`, and those that wait for
//! something that only the peer can bring (`ping`, `close`, `closed`). A future holds nothing
//! but its slot in the wait queue, which it gives up when it is dropped.
//!
//! Longer than 400 lines because the operations of the reading side are read from top to bottom.

use std::future::{Future, poll_fn};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::close_info::{CloseInfo, CloseInitiator};
use crate::conn::driver::cold_state::AfterHook;
use crate::conn::driver::connection::Connection;
use crate::conn::driver::read_buffer::ThreadBuffer;
use crate::conn::driver::reader::{FastRead, Filled, ReadEvent, ReadItem, Reader};
use crate::conn::driver::state::FlushState;
use crate::conn::driver::wait_queue::{Operation, WaiterId};
use crate::conn::runtime::turn_queue;
use crate::frame::Frame;
use crate::proto::{CloseState, Mode};
use crate::{Error, Message, MessageType, ProtocolError};

/// How long a piece of a message may be.
pub(crate) const CHUNK: usize = 64 * 1024;

/// How many bytes of pongs are gathered before the transport is tried.
const PONG_BATCH: usize = 2 * 1024;

/// A slot in the wait queue of the reading side, given up when this is dropped.
struct ReadSlot<'a> {
    connection: &'a Connection,
    id: WaiterId,
}

impl Drop for ReadSlot<'_> {
    #[inline]
    fn drop(&mut self) {
        self.connection.leave_reading(&mut self.id);
    }
}

/// A ping that an operation waits for.
struct PendingPing<'a>(&'a Connection, u64);

impl Drop for PendingPing<'_> {
    fn drop(&mut self) {
        self.0.reader.lock().pings.forget(self.1);
    }
}

/// Begins the next turn of a connection.
struct NextTurn(Weak<Connection>);

impl Wake for NextTurn {
    fn wake(self: Arc<Self>) {
        if let Some(connection) = self.0.upgrade() {
            connection.reader.lock().begin_queued_turn();
        }
    }
}

/// What an operation has to do next.
enum ReadStep {
    /// Deliver this.
    Item(ReadItem),
    /// Read the transport.
    NeedInput,
    /// Look at the state: the peer has closed, or the connection has ended.
    Closed,
    /// Come back when the hook has run, or other tasks have.
    Yield,
}

impl Connection {
    /// Reads the next message.
    #[inline]
    pub(crate) fn read(&self) -> impl Future<Output = Result<Message, Error>> + Send {
        let mut slot = ReadSlot { connection: self, id: WaiterId::NONE };
        poll_fn(move |cx| slot.connection.poll_read(&mut slot.id, cx))
    }

    /// Waits for an operation of the reading side.
    #[inline]
    pub(crate) fn wait_reading<T>(
        &self,
        mut poll: impl FnMut(&Self, &mut Reader, &mut Operation<'_, '_>) -> Poll<T>,
    ) -> impl Future<Output = T> {
        let mut slot = ReadSlot { connection: self, id: WaiterId::NONE };
        poll_fn(move |cx| {
            let ReadSlot { connection, id } = &mut slot;
            connection.poll_reading(id, cx, |reader, op| poll(connection, reader, op))
        })
    }

    /// Waits for the end, reading on meanwhile.
    pub(crate) async fn wait_for_end(&self) -> CloseInfo {
        self.wait_reading(Self::poll_end).await
    }

    /// Sends a ping and waits for its pong, reading on meanwhile.
    pub(crate) async fn ping(&self, payload: Option<Bytes>) -> Result<Duration, Error> {
        let ping = {
            let mut reader = self.reader.lock();
            let mut writer = self.writer.lock();
            self.check_open(&writer)?;
            let (number, payload) = reader.pings.sent(payload);
            let ping = PendingPing(self, number);
            let queued = writer.outbound.ping(&payload);
            self.flush_now(&mut writer);
            drop((writer, reader));
            queued?;
            ping
        };
        self.wait_reading(|connection, reader, op| {
            connection.poll_until(reader, op, |reader| reader.pings.rtt_of(ping.1))
        })
        .await
    }

    /// Polls for the next message. The fast path comes first: the message is buffered whole, or
    /// arrives whole with the next read, and no other operation waits.
    #[inline]
    pub(crate) fn poll_read(
        &self,
        id: &mut WaiterId,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Message, Error>> {
        let mut reader = self.reader.lock();
        if reader.is_common(id) {
            if reader.has_input() {
                match reader.next_buffered(&self.more) {
                    FastRead::Message(message) => {
                        self.leave(&mut reader, id);
                        return Poll::Ready(Ok(message));
                    }
                    other => self.leave_fast_path(&mut reader, other),
                }
            } else {
                match self.poll_transport_fast(&mut reader, cx) {
                    Poll::Ready(Some(message)) => {
                        self.leave(&mut reader, id);
                        return Poll::Ready(Ok(message));
                    }
                    Poll::Ready(None) => {}
                    Poll::Pending => {
                        return self.poll_idle(&mut reader, &mut Operation::new(id, cx));
                    }
                }
            }
        }
        let polled = self.poll_message(&mut reader, &mut Operation::new(id, cx));
        if polled.is_ready() {
            self.leave(&mut reader, id);
        }
        self.unlock_reader(reader);
        polled
    }

    /// Reads the transport once, when nothing is buffered. `None` if it brings no whole message.
    #[inline]
    fn poll_transport_fast(
        &self,
        reader: &mut Reader,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Message>> {
        self.before_read();
        if let Err(error) = ready!(reader.poll_readable(cx)) {
            self.leave_fast_path(reader, FastRead::Ended(Some(error)));
            return Poll::Ready(None);
        }
        let mut lent = ThreadBuffer::lend(self.info.config.read_buffer);
        let room = lent.bytes();
        match ready!(reader.poll_fast(cx, room, &self.more)) {
            FastRead::Message(message) => Poll::Ready(Some(message)),
            FastRead::Other(filled) => Poll::Ready(self.handle_other(reader, room, filled)),
            other => {
                self.leave_fast_path(reader, other);
                Poll::Ready(None)
            }
        }
    }

    /// Handles input that is not a whole message. The slow path goes on from there.
    #[cold]
    fn handle_other(&self, reader: &mut Reader, room: &mut [u8], filled: usize) -> Option<Message> {
        let ReadStep::Item(item) = self.handle_lent(reader, room, filled, Mode::Whole) else {
            return None;
        };
        match self.deliver(reader, item) {
            ReadItem::Message(message) => Some(message),
            ReadItem::Piece | ReadItem::Frame => None,
        }
    }

    /// Handles what the fast path has met. The slow path goes on from there.
    #[cold]
    fn leave_fast_path(&self, reader: &mut Reader, met: FastRead) {
        match met {
            FastRead::NotUtf8 => self.fail(reader, ProtocolError::TextNotUtf8.into()),
            FastRead::Ended(error) => {
                self.transport_ended(reader, error.map_or_else(Error::abnormal, Error::from_io));
            }
            FastRead::Message(_) | FastRead::Fallback | FastRead::Other(_) => {}
        }
    }

    /// The next message, by the slow path.
    #[cold]
    fn poll_message(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<Message, Error>> {
        if let Some(message) = reader.take_message_ahead(op.id) {
            return Poll::Ready(Ok(message));
        }
        ready!(self.poll_reader_slot(reader, op))?;
        self.poll_taking(reader, op, |reader, op| {
            loop {
                reader.leave_frames();
                match ready!(self.poll_next(reader, op, Mode::Whole))? {
                    ReadItem::Message(message) => return Poll::Ready(Ok(message)),
                    ReadItem::Piece | ReadItem::Frame => {}
                }
            }
        })
    }

    /// Polls an operation that takes what has arrived. When it has, those that read ahead go on: while
    /// they could not, they waited without the transport.
    fn poll_taking<T>(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
        poll: impl FnOnce(&mut Reader, &mut Operation<'_, '_>) -> Poll<T>,
    ) -> Poll<T> {
        let was_full = reader.is_ahead_full();
        let polled = poll(reader, op);
        if was_full && polled.is_ready() {
            reader.waiters.wake_others(op.id);
        }
        polled
    }

    /// The beginning of the next message: its type, and its payload if it has all arrived.
    pub(crate) fn poll_open(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<(MessageType, Option<Bytes>), Error>> {
        let whole = |message: Message| {
            let (kind, payload) = message.into_parts();
            Poll::Ready(Ok((kind, Some(payload))))
        };
        if let Some(message) = reader.take_message_ahead(op.id) {
            return whole(message);
        }
        ready!(self.poll_reader_slot(reader, op))?;
        self.poll_taking(reader, op, |reader, op| {
            loop {
                reader.leave_frames();
                if let Some(kind) = reader.opening_message() {
                    reader.mode = reader.mode.stream_opened();
                    return Poll::Ready(Ok((kind, None)));
                }
                let polled = self.poll_next(reader, op, Mode::Pieces(CHUNK));
                // It may have begun with none of its payload, or right before the end.
                let has_begun = reader.opening_message().is_some();
                match polled {
                    Poll::Ready(Ok(ReadItem::Message(message))) => return whole(message),
                    Poll::Ready(Ok(ReadItem::Piece | ReadItem::Frame)) => {}
                    Poll::Ready(Err(_)) if has_begun => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending if has_begun && !op.yields => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
    }

    /// The next frame.
    pub(crate) fn poll_frame(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<Frame, Error>> {
        if let Some(frame) = reader.take_frame_ahead(op.id) {
            return Poll::Ready(Ok(frame));
        }
        if let Some(frame) = reader.take_control() {
            return Poll::Ready(Ok(frame));
        }
        ready!(self.poll_reader_slot(reader, op))?;
        self.poll_taking(reader, op, |reader, op| {
            reader.inbound.set_frame_mode(true);
            let polled = self.poll_next_frame(reader, op);
            reader.inbound.set_frame_mode(false);
            polled
        })
    }

    fn poll_next_frame(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<Frame, Error>> {
        loop {
            if let Some(frame) = reader.take_frame() {
                return Poll::Ready(Ok(frame));
            }
            match self.poll_next(reader, op, Mode::Whole) {
                Poll::Ready(Ok(ReadItem::Message(message))) => {
                    return Poll::Ready(Ok(message.into()));
                }
                Poll::Ready(Ok(ReadItem::Piece | ReadItem::Frame)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(reader.take_control().ok_or(error)),
                Poll::Pending => return Poll::Pending,
            }
            if let Some(frame) = reader.take_control() {
                return Poll::Ready(Ok(frame));
            }
        }
    }

    /// Waits until this operation may take a message.
    #[inline]
    fn poll_reader_slot(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<(), Error>> {
        if reader.mode.is_streaming() {
            return self.poll_behind_message(reader, op);
        }
        // One that waits already goes first, if it is polled.
        if !op.id.is_waiting() && reader.waiters.has_reader() {
            reader.waiters.wait(op);
            reader.waiters.wake();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until a message has been read that is read in pieces. Drives the connection meanwhile: the
    /// `MessageReader` may be held without being polled.
    #[cold]
    fn poll_behind_message(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<(), Error>> {
        // As one that takes messages: it goes before those that come later.
        reader.waiters.wait(op);
        if self.end_error().is_none() {
            // `None`: the mode does not change in this call.
            let polled = self.poll_until(reader, op, |_| None::<()>);
            op.reads = true;
            if polled.is_pending() {
                return Poll::Pending;
            }
        }
        let ended = self.end_error().filter(|_| reader.ahead_len() == 0);
        ended.map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    }

    /// Drives the connection until `done` returns something, for an operation that takes no
    /// messages. What arrives is read ahead, within a bound; the rest stays in the socket.
    pub(crate) fn poll_until<T>(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
        mut done: impl FnMut(&mut Reader) -> Option<T>,
    ) -> Poll<Result<T, Error>> {
        op.reads = false;
        loop {
            if let Some(found) = done(reader) {
                return Poll::Ready(Ok(found));
            }
            if reader.is_ahead_full() {
                reader.waiters.wait(op);
                self.poll_stalled(reader, op);
                // The watch sees when the peer hangs up.
                self.watch(reader);
                return self.end_error().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            }
            match self.poll_next(reader, op, reader.ahead_mode()) {
                Poll::Ready(Ok(item)) => {
                    reader.keep_ahead(item);
                    reader.waiters.wake_others(op.id);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(done(reader).ok_or(error)),
                Poll::Pending => {
                    return done(reader).map_or(Poll::Pending, |found| Poll::Ready(Ok(found)));
                }
            }
        }
    }

    /// The end, for operations that only wait for it.
    pub(crate) fn poll_end(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<CloseInfo> {
        let ending = || self.close_info.get().cloned();
        self.poll_until(reader, op, |_| ending()).map(|ended| {
            // Reading fails only after the end is recorded.
            ended.or_else(|error| ending().ok_or(error)).unwrap_or_else(|error| CloseInfo {
                sent: None,
                received: None,
                by: CloseInitiator::Transport,
                error,
            })
        })
    }

    /// Handles what is buffered, and reads on, until there is an item to deliver.
    #[inline]
    pub(crate) fn poll_next(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
        mode: Mode,
    ) -> Poll<Result<ReadItem, Error>> {
        let mut wants_input = false;
        loop {
            if let Some(error) = self.end_error()
                && !(op.reads && reader.io.is_some())
            {
                return Poll::Ready(Err(error));
            }
            if reader.is_turn_over() {
                return self.poll_again(reader, op);
            }
            if let Some(error) = reader.held_close_error() {
                if op.reads {
                    return Poll::Ready(Err(error));
                }
                return self.poll_answered(reader, op);
            }
            // A message that is dropped need not be read in pieces.
            let mode = reader.effective(mode);
            let step = if reader.has_input() && !std::mem::take(&mut wants_input) {
                self.handle_buffered(reader, mode)
            } else {
                ReadStep::NeedInput
            };
            let step = match step {
                ReadStep::NeedInput => {
                    self.before_read();
                    match self.poll_transport(reader, op, mode) {
                        Poll::Ready(step) => step,
                        Poll::Pending => return self.poll_idle(reader, op),
                    }
                }
                step @ (ReadStep::Item(_) | ReadStep::Closed | ReadStep::Yield) => step,
            };
            match step {
                // A piece grows until it is taken, or is as long as it may be.
                ReadStep::Item(ReadItem::Piece) if !op.reads && !reader.is_piece_full() => {
                    reader.waiters.wake_others(op.id);
                    wants_input = true;
                }
                ReadStep::Item(item) => return Poll::Ready(Ok(self.deliver(reader, item))),
                ReadStep::Yield => return self.poll_again(reader, op),
                ReadStep::NeedInput | ReadStep::Closed => {}
            }
        }
    }

    /// Lets other tasks or a hook run, and comes back.
    #[cold]
    fn poll_again<T>(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<T, Error>> {
        op.yields = true;
        reader.waiters.wait(op);
        if reader.has_call() {
            op.cx.waker().wake_by_ref();
        } else {
            reader.end_turn();
        }
        // A peer that never stops sending postpones no deadline of these.
        if let Some(due) = reader.deadlines.poll_busy() {
            self.due(reader, due);
        }
        Poll::Pending
    }

    /// The answers to a burst leave before the connection waits for more.
    #[inline]
    fn before_read(&self) {
        self.more.store(false, Relaxed);
        self.flush_if_deferred();
    }

    /// Sends what is deferred.
    #[inline]
    pub(crate) fn flush_if_deferred(&self) {
        match self.flush.load() {
            FlushState::Deferred | FlushState::Scheduled => self.flush(),
            FlushState::Idle | FlushState::Draining | FlushState::Stalled => {}
        }
    }

    /// Reads the transport once, and handles what that brings.
    #[inline]
    fn poll_transport(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
        mode: Mode,
    ) -> Poll<ReadStep> {
        let mut lent = ThreadBuffer::lend(self.info.config.read_buffer);
        match ready!(reader.poll_fill(op, mode, &mut lent)) {
            Filled::Lent(filled) => {
                return Poll::Ready(self.handle_lent(reader, lent.bytes(), filled, mode));
            }
            Filled::Direct => return Poll::Ready(self.handle_buffered(reader, mode)),
            Filled::Failed(fault) => self.fail(reader, fault),
            Filled::Ended(error) => self.transport_ended(reader, error),
            Filled::Detached => {}
        }
        Poll::Ready(ReadStep::Closed)
    }

    /// Handles the input that was buffered.
    fn handle_buffered(&self, reader: &mut Reader, mode: Mode) -> ReadStep {
        let mut buffer = reader.take_input();
        let (used, step) = self.handle(reader, buffer.as_mut_slice(), mode);
        reader.put_back(buffer, used);
        step
    }

    /// Handles input in the buffer of the thread, and keeps what is not consumed.
    #[inline]
    fn handle_lent(
        &self,
        reader: &mut Reader,
        lent: &mut [u8],
        filled: usize,
        mode: Mode,
    ) -> ReadStep {
        let input = lent.get_mut(..filled).unwrap_or_default();
        let (used, step) = self.handle(reader, input, mode);
        reader.keep_input(input.get(used..).unwrap_or_default());
        step
    }

    /// Handles input until there is an item to deliver, and returns how much was consumed.
    #[inline]
    fn handle(&self, reader: &mut Reader, input: &mut [u8], mode: Mode) -> (usize, ReadStep) {
        let (mut used, mut pong_pending) = (0, false);
        let step = loop {
            match reader.next_event(input, &mut used, mode) {
                ReadEvent::Item(item) => break ReadStep::Item(item),
                ReadEvent::NeedInput => break ReadStep::NeedInput,
                ReadEvent::RunHook | ReadEvent::EndTurn => break ReadStep::Yield,
                ReadEvent::Ping(payload) => {
                    self.queue_pong(payload);
                    pong_pending = true;
                    if reader.has_control() {
                        break ReadStep::Item(ReadItem::Frame);
                    }
                    if reader.is_turn_over() {
                        break ReadStep::Yield;
                    }
                }
                ReadEvent::Close(frame) => {
                    self.close_received(reader, frame);
                    used = input.len();
                    break ReadStep::Closed;
                }
                ReadEvent::Failed(fault) => {
                    self.fail(reader, fault);
                    used = input.len();
                    break ReadStep::Closed;
                }
            }
        };
        // One flush for all pings of the input.
        if pong_pending {
            self.flush();
        }
        (used, step)
    }

    /// Answers a ping. The caller flushes when it has handled all input.
    fn queue_pong(&self, payload: Bytes) {
        let mut writer = self.writer.lock();
        if !writer.is_attached() {
            return;
        }
        // The payload of a ping fits in a pong.
        let _ = writer.outbound.pong(payload);
        // Pongs that wait would replace each other.
        if writer.outbound.urgent_len() >= PONG_BATCH {
            self.flush_now(&mut writer);
        }
    }

    /// Records an item that is delivered.
    #[inline]
    fn deliver(&self, reader: &mut Reader, item: ReadItem) -> ReadItem {
        self.more.store(reader.has_whole_frame(), Relaxed);
        if let ReadItem::Message(_) = item {
            reader.note_message();
        }
        item
    }

    /// The transport has nothing to read: waits for it, and for the next deadline.
    #[inline]
    fn poll_idle<T>(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<T, Error>> {
        reader.begin_turn();
        reader.waiters.wait(op);
        self.poll_stalled(reader, op);
        if reader.deadlines.is_scheduled() {
            return Poll::Pending;
        }
        self.poll_deadlines(reader, op.cx)
    }

    /// The peer has closed, and nothing more arrives: waits until this side has closed too.
    #[cold]
    fn poll_answered<T>(
        &self,
        reader: &mut Reader,
        op: &mut Operation<'_, '_>,
    ) -> Poll<Result<T, Error>> {
        reader.waiters.wait(op);
        self.poll_stalled(reader, op);
        // A tunnel has no deadline for this, and the peer no longer answers keepalive.
        if self.state.is(CloseState::AnswerHeld) {
            return self.poll_deadlines(reader, op.cx);
        }
        Poll::Pending
    }

    #[cold]
    fn poll_deadlines<T>(&self, reader: &mut Reader, cx: &Context<'_>) -> Poll<Result<T, Error>> {
        let target = || self.this.clone() as _;
        while let Poll::Ready(due) = reader.deadlines.poll(&self.info.config, target, cx) {
            self.due(reader, due);
            if let Some(error) = self.end_error() {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }

    /// The application expects no more messages. Returns whether this is the first call.
    pub(crate) fn refuse_messages(&self) -> bool {
        let mut reader = self.reader.lock();
        if reader.drop_ahead() {
            self.fail(&mut reader, ProtocolError::UnexpectedMessage.into());
        }
        let before = reader.mode;
        reader.mode = before.refuse();
        reader.mode != before
    }

    /// Polls an operation of the reading side, which gives up its slot when it is done.
    #[inline]
    pub(crate) fn poll_reading<T>(
        &self,
        id: &mut WaiterId,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Reader, &mut Operation<'_, '_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut reader = self.reader.lock();
        let polled = poll(&mut reader, &mut Operation::new(id, cx));
        if polled.is_ready() {
            self.leave(&mut reader, id);
        }
        self.unlock_reader(reader);
        polled
    }

    /// Releases the reader. Then the connection enters the turn queue if its turn has ended, or runs
    /// the hook that is due.
    #[inline]
    pub(crate) fn unlock_reader(&self, reader: MutexGuard<'_, Reader>) {
        if reader.cold.is_some() || reader.has_ended_turn() {
            self.unlock_and_follow_up(reader);
        }
    }

    #[cold]
    fn unlock_and_follow_up(&self, mut reader: MutexGuard<'_, Reader>) {
        let call = reader.cold.as_mut().and_then(|cold| cold.call.take());
        reader.shrink_cold();
        let place = reader.enter_turn_queue();
        drop(reader);
        if let Some(place) = place {
            // The turn may begin in this call.
            let next_turn = Waker::from(Arc::new(NextTurn(self.this.clone())));
            turn_queue::wait(place, &next_turn);
        }
        match call.map_or(AfterHook::Continue, |call| call()) {
            AfterHook::Continue => {}
            AfterHook::Pong(payload) => {
                // The connection may have closed in the meantime.
                let _ = self.pong(payload);
            }
            AfterHook::AnswerClose => self.answer_close(),
        }
    }

    /// An operation waits no longer. The last one leaves the connection to the watch.
    #[inline]
    pub(crate) fn leave(&self, reader: &mut Reader, id: &mut WaiterId) {
        if id.is_waiting() {
            reader.leave(id);
            if !reader.watched {
                self.watch_if_unread(reader);
            }
        }
    }

    /// Gives up a slot of the reading side. A completed operation has none.
    #[inline]
    pub(crate) fn leave_reading(&self, id: &mut WaiterId) {
        if id.is_waiting() {
            self.leave_wait_queue(id);
        }
    }

    #[cold]
    fn leave_wait_queue(&self, id: &mut WaiterId) {
        self.leave(&mut self.reader.lock(), id);
    }
}
