//! What carries the bytes? A TCP stream in two halves, or any other stream behind a
//! short lock.

use std::any::Any;
use std::io::{self, IoSlice, Read};
use std::net::{SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};

use crate::proto::{Outbound, SendBuffer};

/// A stream of bytes that a connection can run over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream that is not known. Both halves hold it by one word, as they do a TCP stream.
type Shared = Arc<Mutex<Other>>;

pub(crate) struct Other {
    stream: Box<dyn Stream>,
    /// May a buffer of the stream's own want flushing?
    held_back: bool,
}

impl Other {
    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        Pin::new(&mut *self.stream)
    }
}

/// The half that reads.
pub(crate) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Any(Shared),
}

/// The half that writes.
pub(crate) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Any(Shared),
}

/// Both ends of a TCP stream. A quarter as large as they would be side by side, for
/// most connections.
#[derive(Debug)]
pub(crate) enum Addresses {
    V4 { peer: SocketAddrV4, local: SocketAddrV4 },
    Other(Option<Box<(SocketAddr, SocketAddr)>>),
}

impl Addresses {
    fn of(tcp: &TcpStream) -> Self {
        match (tcp.peer_addr(), tcp.local_addr()) {
            (Ok(SocketAddr::V4(peer)), Ok(SocketAddr::V4(local))) => Self::V4 { peer, local },
            (Ok(peer), Ok(local)) => Self::Other(Some(Box::new((peer, local)))),
            _ => Self::Other(None),
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::V4 { peer, .. } => Some((*peer).into()),
            Self::Other(addresses) => addresses.as_ref().map(|addresses| addresses.0),
        }
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::V4 { local, .. } => Some((*local).into()),
            Self::Other(addresses) => addresses.as_ref().map(|addresses| addresses.1),
        }
    }
}

/// Takes a stream apart. One that is a `TcpStream` is recognised, and goes without
/// the lock.
pub(crate) fn split<T>(io: T, nodelay: bool) -> (ReadHalf, WriteHalf, Addresses)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut io = Some(io);
    let tcp = (&mut io as &mut dyn Any).downcast_mut::<Option<TcpStream>>().and_then(Option::take);
    if let Some(tcp) = tcp {
        if nodelay {
            // A stream that refuses it works all the same.
            let _ = tcp.set_nodelay(true);
        }
        let addresses = Addresses::of(&tcp);
        let (read, write) = tcp.into_split();
        return (ReadHalf::Tcp(read), WriteHalf::Tcp(write), addresses);
    }
    let io: Shared =
        Arc::new(Mutex::new(Other { stream: Box::new(Present(io)), held_back: false }));
    (ReadHalf::Any(Arc::clone(&io)), WriteHalf::Any(io), Addresses::Other(None))
}

/// Puts something around a stream, of which these are the halves.
pub(crate) fn wrap(
    read: ReadHalf,
    write: WriteHalf,
    around: impl FnOnce(Box<dyn Stream>) -> Box<dyn Stream>,
) -> (ReadHalf, WriteHalf) {
    match (read, write) {
        (ReadHalf::Tcp(read), WriteHalf::Tcp(write)) => match read.reunite(write) {
            Ok(tcp) => {
                let stream = around(Box::new(tcp));
                let io: Shared = Arc::new(Mutex::new(Other { stream, held_back: false }));
                (ReadHalf::Any(Arc::clone(&io)), WriteHalf::Any(io))
            }
            // They are of one stream.
            Err(ReuniteError(read, write)) => (ReadHalf::Tcp(read), WriteHalf::Tcp(write)),
        },
        (ReadHalf::Any(io), write) => {
            let mut other = io.lock();
            let stream = std::mem::replace(&mut other.stream, Box::new(tokio::io::empty()));
            other.stream = around(stream);
            drop(other);
            (ReadHalf::Any(io), write)
        }
        halves => halves,
    }
}

/// A stream that is there: an `Option` only because it was asked what it is.
struct Present<T>(Option<T>);

impl<T: Unpin> Present<T> {
    fn pin(&mut self) -> io::Result<Pin<&mut T>> {
        self.0.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Present<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.pin()?.poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Present<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pin()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pin()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin()?.poll_shutdown(cx)
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
    /// Waits until there may be something to read, where the transport can say.
    #[inline]
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(io) => io.as_ref().poll_read_ready(cx),
            Self::Any(_) => Poll::Ready(Ok(())),
        }
    }

    /// As `poll_read`, for who has most likely been woken because there is something:
    /// that is taken first, and asked for only where there was nothing.
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

/// Reads what there is. Less than there is room for is all that there was, so the
/// stream is told that it would block now: `TcpStream::try_read` leaves that to be found
/// out by another system call.
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
    all.map_or(taken, Ok)
}

/// How many chunks are handed to the transport at once.
const SLICES: usize = 32;

/// What has bytes to be written.
pub(crate) trait Source {
    fn queue(&self) -> &SendBuffer;
    fn advance(&mut self, count: usize);
}

impl Source for SendBuffer {
    fn queue(&self) -> &SendBuffer {
        self
    }

    fn advance(&mut self, count: usize) {
        self.advance(count);
    }
}

impl Source for Outbound {
    #[inline]
    fn queue(&self) -> &SendBuffer {
        self.queue()
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.advance(count);
    }
}

impl WriteHalf {
    /// Writes all that waits, and pushes out what the transport itself holds back.
    ///
    /// Pending when the transport takes no more: it wakes the task then, if one is
    /// given. Without, it is only tried.
    #[inline]
    pub(crate) fn poll_drain(
        &mut self,
        source: &mut impl Source,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<io::Result<()>> {
        while !source.queue().is_empty() {
            let written = match source.queue().single() {
                Some(bytes) => self.poll_write(cx.as_deref_mut(), &[IoSlice::new(bytes)]),
                None => self.poll_write_chunks(cx.as_deref_mut(), source.queue()),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => source.advance(count),
            }
        }
        self.poll_flush(cx)
    }

    /// Has the transport nothing that it holds back?
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Any(io) => !io.lock().held_back,
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Any(io) => io.lock().pin().poll_shutdown(cx),
        }
    }

    fn poll_write_chunks(
        &mut self,
        cx: Option<&mut Context<'_>>,
        queue: &SendBuffer,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = queue.slices(&mut slices);
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
                io.held_back = true;
                Poll::Ready(written)
            }
        }
    }

    #[inline]
    fn poll_flush(&mut self, cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        let Self::Any(io) = self else { return Poll::Ready(Ok(())) };
        let mut io = io.lock();
        if !io.held_back {
            return Poll::Ready(Ok(()));
        }
        let mut never = Context::from_waker(Waker::noop());
        let cx = cx.unwrap_or(&mut never);
        ready!(io.pin().poll_flush(cx))?;
        io.held_back = false;
        Poll::Ready(Ok(()))
    }
}
