//! How are bytes read from and written to a TCP stream, or any other byte stream?

use std::any::Any;
use std::future::Future;
use std::io::{self, IoSlice, Read};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};

use crate::conn::info::Addresses;
use crate::proto::Outbound;

/// A byte stream that a connection can run over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream of any type. Both halves hold it by one word, as they do a TCP stream.
type SharedStream = Arc<Mutex<LockedStream>>;

pub(crate) struct LockedStream {
    stream: Box<dyn Stream>,
    /// Whether the stream may have to be flushed.
    unflushed: bool,
}

impl LockedStream {
    fn shared(stream: Box<dyn Stream>) -> SharedStream {
        Arc::new(Mutex::new(Self { stream, unflushed: false }))
    }

    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        Pin::new(&mut *self.stream)
    }
}

/// The reading half.
pub(crate) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Any(SharedStream),
}

/// What there is to read, as far as is known without a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Nothing.
    Nothing,
    /// Bytes, and more may come.
    Bytes,
    /// The peer sends nothing more, or has reset the stream. There may be bytes before that.
    End,
    /// The transport does not tell.
    Unknown,
}

/// The writing half.
pub(crate) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Any(SharedStream),
}

/// Splits a stream into its halves. A `TcpStream` is recognised, and needs no lock. `peer` is its
/// address, if it is known.
pub(crate) fn split<T>(
    io: T,
    nodelay: bool,
    peer: Option<SocketAddr>,
) -> (ReadHalf, WriteHalf, Addresses)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut io = Some(io);
    let tcp = (&mut io as &mut dyn Any).downcast_mut::<Option<TcpStream>>().and_then(Option::take);
    if let Some(tcp) = tcp {
        if nodelay {
            // The stream works without it too.
            let _ = tcp.set_nodelay(true);
        }
        let addresses = Addresses::of(&tcp, peer);
        let (read, write) = tcp.into_split();
        return (ReadHalf::Tcp(read), WriteHalf::Tcp(write), addresses);
    }
    let stream: Box<dyn Stream> = match io {
        Some(io) => Box::new(io),
        // Unreachable: only a `TcpStream` was taken out.
        None => Box::new(tokio::io::empty()),
    };
    let io = LockedStream::shared(stream);
    (ReadHalf::Any(Arc::clone(&io)), WriteHalf::Any(io), Addresses::Other(None))
}

/// The address of the peer, if the stream is a `TcpStream`.
#[cfg(feature = "server")]
pub(crate) fn peer_addr<T: 'static>(io: &T) -> Option<SocketAddr> {
    (io as &dyn Any).downcast_ref::<TcpStream>()?.peer_addr().ok()
}

/// Wraps the stream of these halves.
pub(crate) fn wrap(
    read: ReadHalf,
    write: WriteHalf,
    around: impl FnOnce(Box<dyn Stream>) -> Box<dyn Stream>,
) -> (ReadHalf, WriteHalf) {
    match (read, write) {
        (ReadHalf::Tcp(read), WriteHalf::Tcp(write)) => match read.reunite(write) {
            Ok(tcp) => {
                let io = LockedStream::shared(around(Box::new(tcp)));
                (ReadHalf::Any(Arc::clone(&io)), WriteHalf::Any(io))
            }
            // Unreachable: they are halves of one stream.
            Err(ReuniteError(read, write)) => (ReadHalf::Tcp(read), WriteHalf::Tcp(write)),
        },
        (ReadHalf::Any(io), write) => {
            let mut locked = io.lock();
            let stream = std::mem::replace(&mut locked.stream, Box::new(tokio::io::empty()));
            locked.stream = around(stream);
            drop(locked);
            (ReadHalf::Any(io), write)
        }
        halves => halves,
    }
}

impl AsyncRead for ReadHalf {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Self::Any(io) => io.lock().pin().poll_read(cx, buf),
        }
    }
}

impl ReadHalf {
    /// Waits until there may be something to read. Only a TCP stream knows that.
    #[inline]
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(io) => io.as_ref().poll_read_ready(cx),
            Self::Any(_) => Poll::Ready(Ok(())),
        }
    }

    /// What there is to read. Only a TCP stream knows that.
    pub(crate) fn arrived(&self) -> Arrived {
        match self {
            Self::Any(_) => Arrived::Unknown,
            Self::Tcp(io) => match ready_now(io, Interest::READABLE) {
                Some(ready) if ready.is_read_closed() => Arrived::End,
                Some(ready) if ready.is_readable() => Arrived::Bytes,
                Some(_) | None => Arrived::Nothing,
            },
        }
    }

    /// Whether the peer has reset the stream. Only a TCP stream knows that.
    pub(crate) fn is_reset(&self) -> bool {
        match self {
            Self::Any(_) => false,
            Self::Tcp(io) => ready_now(io, Interest::WRITABLE).is_some_and(Ready::is_write_closed),
        }
    }

    /// As `poll_read`, but reads first and asks for readiness only when there was nothing: most
    /// likely the caller was woken because there is something.
    #[inline]
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(io) => loop {
                match try_take(io.as_ref(), buf) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(io.as_ref().poll_read_ready(cx))?;
                    }
                    taken => return Poll::Ready(taken),
                }
            },
            Self::Any(io) => {
                let mut buf = ReadBuf::new(buf);
                ready!(io.lock().pin().poll_read(cx, &mut buf))?;
                Poll::Ready(Ok(buf.filled().len()))
            }
        }
    }
}

/// Reads once. A read that does not fill the buffer has emptied the socket, and clears its
/// readiness; after `TcpStream::try_read` that takes another system call.
#[inline]
fn try_take(tcp: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    let mut all = None;
    let taken = tcp.try_io(Interest::READABLE, || {
        let count = (&*SockRef::from(tcp)).read(buf)?;
        if count > 0 && count < buf.len() {
            all = Some(count);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    });
    match all {
        Some(count) => {
            // The error from above, which owns nothing: saves the call of its destructor.
            std::mem::forget(taken);
            Ok(count)
        }
        None => taken,
    }
}

/// What a stream is known to be ready for. No system call.
fn ready_now(io: &OwnedReadHalf, interest: Interest) -> Option<Ready> {
    let ready = pin!(io.ready(interest));
    match ready.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready.ok(),
        Poll::Pending => None,
    }
}

/// How many chunks one vectored write takes.
const SLICES: usize = 32;

impl WriteHalf {
    /// Writes all bytes of the source, and flushes the stream.
    ///
    /// Pending when the transport takes no more; it then wakes the task of `cx`, if there is
    /// one.
    #[inline]
    pub(crate) fn poll_drain(
        &mut self,
        outbound: &mut Outbound,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<io::Result<()>> {
        while !outbound.is_empty() {
            let written = match outbound.single() {
                Some(bytes) => self.poll_write(cx.as_deref_mut(), &[IoSlice::new(bytes)]),
                None => self.poll_write_chunks(cx.as_deref_mut(), outbound),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => outbound.advance(count),
            }
        }
        self.poll_flush(cx)
    }

    /// Whether the stream needs no flush.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Any(io) => !io.lock().unflushed,
        }
    }

    /// Drops a TCP stream that the peer has ended, and returns other streams. The system closes the
    /// writing direction of a TCP stream that is dropped, also without a call for it.
    pub(crate) fn drop_ended(self) -> Option<Self> {
        match self {
            Self::Tcp(io) => {
                io.forget();
                None
            }
            any @ Self::Any(_) => Some(any),
        }
    }

    /// Closes the writing direction.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Any(io) => io.lock().pin().poll_shutdown(cx),
        }
    }

    fn poll_write_chunks(
        &mut self,
        cx: Option<&mut Context<'_>>,
        outbound: &Outbound,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = outbound.slices(&mut slices);
        self.poll_write(cx, slices.get(..filled).unwrap_or_default())
    }

    #[inline(always)]
    pub(crate) fn poll_write(
        &mut self,
        cx: Option<&mut Context<'_>>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, cx) {
            (Self::Tcp(io), Some(cx)) => Pin::new(io).poll_write_vectored(cx, slices),
            (Self::Tcp(io), None) => {
                let written = match slices {
                    [one] => io.try_write(one),
                    several => io.try_write_vectored(several),
                };
                match written {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                    written => Poll::Ready(written),
                }
            }
            (Self::Any(io), cx) => {
                let mut never = Context::from_waker(Waker::noop());
                let cx = cx.unwrap_or(&mut never);
                let mut io = io.lock();
                let written = ready!(io.pin().poll_write_vectored(cx, slices));
                io.unflushed = true;
                Poll::Ready(written)
            }
        }
    }

    #[inline]
    fn poll_flush(&mut self, cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        let Self::Any(io) = self else { return Poll::Ready(Ok(())) };
        let mut io = io.lock();
        if !io.unflushed {
            return Poll::Ready(Ok(()));
        }
        let mut never = Context::from_waker(Waker::noop());
        let cx = cx.unwrap_or(&mut never);
        ready!(io.pin().poll_flush(cx))?;
        io.unflushed = false;
        Poll::Ready(Ok(()))
    }
}
