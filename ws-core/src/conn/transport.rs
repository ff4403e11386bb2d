//! What carries the bytes? A TCP stream in two halves, or any other stream behind a
//! short lock.

use std::any::Any;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::lock;

/// A stream of bytes that a connection can run over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The half that reads.
pub(super) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Any(Arc<Mutex<dyn Stream>>),
}

/// The half that writes.
pub(super) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Any(Arc<Mutex<dyn Stream>>),
}

/// Both ends of a TCP stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Addresses {
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
}

/// Takes a stream apart. One that is a `TcpStream` is recognised, and goes without
/// the lock.
pub(super) fn split<T>(io: T, nodelay: bool) -> (ReadHalf, WriteHalf, Addresses)
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
        let addresses = Addresses { peer: tcp.peer_addr().ok(), local: tcp.local_addr().ok() };
        let (read, write) = tcp.into_split();
        return (ReadHalf::Tcp(read), WriteHalf::Tcp(write), addresses);
    }
    let io: Arc<Mutex<dyn Stream>> = Arc::new(Mutex::new(Present(io)));
    (ReadHalf::Any(Arc::clone(&io)), WriteHalf::Any(io), Addresses::default())
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
            Self::Any(io) => Pin::new(&mut *lock(io)).poll_read(cx, buf),
        }
    }
}

impl WriteHalf {
    /// Writes what the transport takes at once.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when that is nothing; whoever waits for it has to poll.
    pub(super) fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(io), [one]) => io.try_write(one),
            (Self::Tcp(io), _) => io.try_write_vectored(slices),
            (any @ Self::Any(_), _) => {
                match any.poll_write(&mut Context::from_waker(Waker::noop()), slices) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// Writes what the transport takes.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Self::Any(io) => Pin::new(&mut *lock(io)).poll_write_vectored(cx, slices),
        }
    }

    /// Has the transport a buffer of its own that wants flushing?
    pub(super) const fn wants_flush(&self) -> bool {
        matches!(self, Self::Any(_))
    }

    /// Pushes out what the transport itself holds back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Any(io) => Pin::new(&mut *lock(io)).poll_flush(cx),
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Any(io) => Pin::new(&mut *lock(io)).poll_shutdown(cx),
        }
    }
}
