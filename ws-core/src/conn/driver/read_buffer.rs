//! Where do bytes go when they are read?
//!
//! Into a buffer that the thread lends, from which whole messages are taken; only what
//! is left over is kept with the connection. The payload of a long message is read
//! straight to where it stays.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::conn::driver::connection::Shared;
use crate::conn::driver::reader::{Reader, Step};
use crate::conn::driver::transport::ReadHalf;
use crate::conn::driver::wait_queue::Ticket;
use crate::proto::Mode;
use crate::{Config, Error};

/// How much is read at a time. A little more than 64 KiB: room is made for 16 times of
/// what has arrived, so that 1 MiB with its header is here after two reads.
const SIZE: usize = Config::MAX_READ_BUFFER;

thread_local! {
    /// Where bytes are read to: a connection that waits has no buffer of its own.
    static SCRATCH: Cell<Option<Box<[u8; SIZE]>>> = const { Cell::new(None) };
}

/// The buffer of this thread while it is lent; one of its own while somebody else has
/// that, and in a thread that ends.
pub(crate) struct Scratch(Option<Box<[u8; SIZE]>>);

impl Scratch {
    #[inline]
    pub(crate) fn lend() -> Self {
        Self(SCRATCH.try_with(Cell::take).ok().flatten())
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut [u8; SIZE] {
        self.0.get_or_insert_with(|| Box::new([0; SIZE]))
    }
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        let lent = self.0.take();
        let _ = SCRATCH.try_with(|kept| kept.set(lent));
    }
}

/// Bytes that were read and not consumed.
#[derive(Default)]
pub(crate) struct Rest {
    bytes: Box<[u8]>,
    start: usize,
}

impl Reader {
    /// Reads once, and handles what that brings.
    #[inline]
    pub(crate) fn poll_fill(
        &mut self,
        shared: &Shared,
        ticket: &Ticket,
        cx: &mut Context<'_>,
        mode: Mode,
    ) -> Poll<Step> {
        if self.waiters.is_alone(ticket) {
            return self.poll_fill_with(shared, cx, mode);
        }
        match self.waiters.combined(ticket, cx.waker()) {
            None => self.poll_fill_with(shared, cx, mode),
            Some(all) => self.poll_fill_with(shared, &mut Context::from_waker(&all), mode),
        }
    }

    #[inline]
    fn poll_fill_with(&mut self, shared: &Shared, cx: &mut Context<'_>, mode: Mode) -> Poll<Step> {
        let Some(io) = &mut self.io else { return Poll::Ready(Step::Over) };
        if self.rest.is_empty()
            && let Some(mut room) = self.inbound.read_target(mode)
        {
            let count = ready!(poll_read_buf(Pin::new(io), cx, &mut room));
            return Poll::Ready(self.filled_directly(shared, count, mode));
        }
        let mut scratch = Scratch::lend();
        let kept = self.rest.as_slice().len();
        let room = scratch.bytes().get_mut(..shared.facts.config.read_buffer);
        let read = Self::poll_read_scratch(io, &mut self.rest, cx, room.unwrap_or_default());
        Poll::Ready(match ready!(read) {
            Ok(filled) => {
                self.heard(filled.saturating_sub(kept));
                self.handle_scratch(shared, filled, scratch.bytes(), mode)
            }
            Err(error) => {
                shared.transport_ended(self, error);
                Step::Over
            }
        })
    }

    /// Reads behind what is left from before, with how much that is together.
    #[inline]
    fn poll_read_scratch(
        io: &mut ReadHalf,
        rest: &mut Rest,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<usize, Error>> {
        let kept = rest.as_slice().len();
        let mut buf = ReadBuf::new(scratch);
        if kept > 0 {
            // Never more than a control frame: data is consumed as it comes.
            let room = buf.remaining().saturating_sub(1).min(kept);
            buf.put_slice(rest.as_slice().get(..room).unwrap_or_default());
        }
        match ready!(Pin::new(io).poll_read(cx, &mut buf)) {
            Ok(()) if buf.filled().len() == kept => Poll::Ready(Err(Error::abnormal())),
            Ok(()) => {
                *rest = Rest::default();
                Poll::Ready(Ok(buf.filled().len()))
            }
            Err(error) => Poll::Ready(Err(Error::from_io(error))),
        }
    }

    #[inline]
    pub(crate) fn handle_scratch(
        &mut self,
        shared: &Shared,
        filled: usize,
        scratch: &mut [u8],
        mode: Mode,
    ) -> Step {
        let input = scratch.get_mut(..filled).unwrap_or_default();
        let (used, step) = self.handle(shared, input, mode);
        let left = input.get(used..).unwrap_or_default();
        if !left.is_empty() {
            self.rest = Rest::new(left);
        }
        step
    }

    fn filled_directly(&mut self, shared: &Shared, count: io::Result<usize>, mode: Mode) -> Step {
        match count {
            Ok(0) => shared.transport_ended(self, Error::abnormal()),
            Err(error) => shared.transport_ended(self, Error::from_io(error)),
            Ok(count) => {
                self.heard(count);
                return match self.inbound.commit_read(count) {
                    Ok(behind) => {
                        self.rest = Rest { bytes: behind.into(), start: 0 };
                        self.handle_rest(shared, mode)
                    }
                    Err(fault) => {
                        shared.fault(self, fault);
                        Step::Over
                    }
                };
            }
        }
        Step::Over
    }
}

impl Rest {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), start: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.keep(self.as_slice().len().saturating_sub(count));
    }

    /// Consumes all but the last `count` bytes.
    pub(crate) fn keep(&mut self, count: usize) {
        match count {
            0 => *self = Self::default(),
            count => self.start = self.bytes.len().saturating_sub(count),
        }
    }
}
