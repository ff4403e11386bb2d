//! How are messages queued, and how do queued bytes reach the transport?
//!
//! The writer encodes and writes, and reports how far it came; when to write is up to the
//! [`Connection`](crate::conn::driver::connection::Connection).

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use crate::conn::driver::read_buffer::ThreadBuffer;
use crate::conn::driver::transport::WriteHalf;
use crate::conn::driver::wait_queue::{LazyWaiters, Operation};
use crate::proto::Outbound;
use crate::{Config, Error, Message, PreparedMessage};

/// How much of the buffer of the thread a short frame may take.
const MAX_DIRECT: usize = Config::MAX_READ_BUFFER;

/// The writing side of a connection.
pub(crate) struct Writer {
    output: Output,
    pub(crate) outbound: Outbound,
    /// Operations that wait for room, for the end of a stream, for a flush.
    pub(crate) waiters: LazyWaiters,
    pub(crate) messages: u64,
}

/// Where bytes are written to.
enum Output {
    Attached(WriteHalf),
    /// The transport takes nothing more. What the peer has sent can still be read.
    Failed(WriteHalf, Box<Error>),
    /// The connection has ended; with the error, if bytes were lost.
    Detached(Option<Box<Error>>),
}

/// How far the fast path came.
pub(crate) enum DirectWrite {
    /// The transport has the whole message.
    Sent,
    /// The message is queued, and the transport has a part of it.
    Queued,
    /// Nothing was sent or queued: the message needs the queue, or the transport has failed.
    NotSent,
}

impl Writer {
    pub(crate) fn new(io: WriteHalf, outbound: Outbound) -> Self {
        let output = Output::Attached(io);
        Self { output, outbound, waiters: LazyWaiters::default(), messages: 0 }
    }

    /// Whether the transport takes bytes, as far as is known.
    #[inline]
    pub(crate) const fn is_attached(&self) -> bool {
        matches!(self.output, Output::Attached(_))
    }

    /// Why bytes were lost, if they were.
    pub(crate) fn error(&self) -> Option<&Error> {
        match &self.output {
            Output::Attached(_) => None,
            Output::Failed(_, error) => Some(error),
            Output::Detached(error) => error.as_deref(),
        }
    }

    /// The result of an operation that has queued or flushed bytes.
    #[inline]
    pub(crate) fn result(&self) -> Result<(), Error> {
        if self.is_attached() { Ok(()) } else { self.loss() }
    }

    #[cold]
    fn loss(&self) -> Result<(), Error> {
        self.error().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Whether the transport has all bytes.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        self.outbound.is_empty()
            && match &self.output {
                Output::Attached(io) | Output::Failed(io, _) => io.is_flushed(),
                Output::Detached(_) => true,
            }
    }

    /// Queues a message.
    pub(crate) fn queue(&mut self, message: Message) {
        self.messages += 1;
        self.outbound.message(message);
    }

    /// Queues a message, unless that was done before.
    pub(crate) fn queue_next(&mut self, message: &mut Option<Message>) {
        if let Some(message) = message.take() {
            self.queue(message);
        }
    }

    /// Queues a message for many connections.
    pub(crate) fn queue_prepared(&mut self, message: &PreparedMessage) {
        self.messages += 1;
        self.outbound.prepared(message);
        for next in message.rest() {
            self.messages += 1;
            self.outbound.prepared(next);
        }
    }

    /// The fast path: queues a short message behind others. Returns whether it did.
    #[inline]
    pub(crate) fn queue_short(&mut self, message: &Message) -> bool {
        let queued = self.outbound.push_short(message);
        self.messages += u64::from(queued);
        queued
    }

    /// The fast path: writes a short message to the transport, past the empty queue.
    #[inline]
    pub(crate) fn write_direct(&mut self, message: &Message) -> DirectWrite {
        let Output::Attached(io) = &mut self.output else { return DirectWrite::NotSent };
        let mut room = ThreadBuffer::lend(MAX_DIRECT);
        let Some(frame) = self.outbound.encode_direct(message, room.bytes()) else {
            return DirectWrite::NotSent;
        };
        let taken = match io.poll_write(None, &[IoSlice::new(frame)]) {
            Poll::Ready(Ok(taken)) if taken > 0 => taken,
            Poll::Ready(Ok(_)) => return self.fail_direct(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Err(error)) => return self.fail_direct(error),
            Poll::Pending => 0,
        };
        let sent = taken == frame.len() && io.is_flushed();
        self.outbound.direct_written(frame, taken);
        self.messages += 1;
        if sent { DirectWrite::Sent } else { DirectWrite::Queued }
    }

    #[cold]
    fn fail_direct(&mut self, error: io::Error) -> DirectWrite {
        self.fail(Error::from_io(error));
        DirectWrite::NotSent
    }

    /// Writes what is queued: what the transport takes at once, or all of it with a task to
    /// wake.
    #[inline]
    pub(crate) fn poll_drain(&mut self, cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        match &mut self.output {
            Output::Attached(io) | Output::Failed(io, _) => io.poll_drain(&mut self.outbound, cx),
            Output::Detached(_) => Poll::Ready(Ok(())),
        }
    }

    /// Waits until an operation of the writing side has made room, or has failed.
    pub(crate) fn wait<T>(&mut self, op: &mut Operation<'_, '_>) -> Poll<T> {
        self.waiters.wait(op);
        Poll::Pending
    }

    /// The transport takes nothing more. Only the first error counts.
    pub(crate) fn fail(&mut self, error: Error) {
        self.output = match self.take_output() {
            Output::Attached(io) => Output::Failed(io, Box::new(error)),
            Output::Detached(None) => Output::Detached(Some(Box::new(error))),
            failed @ (Output::Failed(..) | Output::Detached(Some(_))) => failed,
        };
        self.outbound.clear();
        self.waiters.wake();
    }

    /// Takes the transport away. If bytes are lost, `error` is why.
    pub(crate) fn detach(&mut self, error: &Error) -> Option<WriteHalf> {
        let lost = !self.is_flushed();
        let (io, error) = match self.take_output() {
            Output::Attached(io) => (Some(io), lost.then(|| Box::new(error.clone()))),
            Output::Failed(io, error) => (Some(io), Some(error)),
            Output::Detached(error) => (None, error),
        };
        self.output = Output::Detached(error);
        io
    }

    /// Replaces the transport, if there is one.
    pub(crate) fn map_io(&mut self, map: impl FnOnce(WriteHalf) -> WriteHalf) {
        self.output = match self.take_output() {
            Output::Attached(io) => Output::Attached(map(io)),
            Output::Failed(io, error) => Output::Failed(map(io), error),
            detached @ Output::Detached(_) => detached,
        };
    }

    const fn take_output(&mut self) -> Output {
        std::mem::replace(&mut self.output, Output::Detached(None))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::duplex;

    use super::*;
    use crate::Role;
    use crate::conn::driver::transport;

    /// A writer without a connection, with the peer's end of the stream.
    fn writer(capacity: usize) -> (Writer, tokio::io::DuplexStream) {
        let (here, there) = duplex(capacity);
        let (_, write, _) = transport::split(here, false, None);
        (Writer::new(write, Outbound::new(Role::Server, &Config::new(), None)), there)
    }

    #[test]
    fn a_short_message_passes_the_empty_queue_only() {
        let (mut writer, _peer) = writer(64);
        assert!(matches!(writer.write_direct(&"hello".into()), DirectWrite::Queued));
        assert!(matches!(writer.poll_drain(None), Poll::Ready(Ok(()))));
        assert!(writer.is_flushed());
        assert!(writer.queue_short(&"hello".into()));
        assert!(matches!(writer.write_direct(&"hello".into()), DirectWrite::NotSent));
        assert_eq!((writer.messages, writer.outbound.buffered()), (2, 7));
    }

    #[test]
    fn a_full_transport_leaves_the_rest_in_the_queue() {
        let (mut writer, _peer) = writer(4);
        writer.queue("hello".into());
        assert!(writer.poll_drain(Some(&mut Context::from_waker(Waker::noop()))).is_pending());
        assert_eq!(writer.outbound.buffered(), 3);
        assert!(!writer.is_flushed() && writer.is_attached());
        // The connection ends: the bytes are lost.
        assert!(writer.detach(&Error::CloseSent).is_some());
        assert!(matches!(writer.result(), Err(Error::CloseSent)));
        assert!(writer.detach(&Error::CloseSent).is_none());
    }

    #[test]
    fn the_first_error_counts_and_empties_the_queue() {
        let (mut writer, _peer) = writer(64);
        writer.queue("hello".into());
        writer.fail(Error::CloseSent);
        writer.fail(Error::abnormal());
        assert!(matches!(writer.result(), Err(Error::CloseSent)));
        assert!(!writer.is_attached() && writer.outbound.is_empty());
        assert!(matches!(writer.write_direct(&"hello".into()), DirectWrite::NotSent));
    }
}
