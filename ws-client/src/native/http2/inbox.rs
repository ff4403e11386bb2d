//! How much memory does a WebSocket take for what it has not read, however short the frames?
//!
//! h2 keeps each DATA frame until it is read, at up to 768 bytes beside its payload, and ends the
//! connection when too many are kept. So the task of the connection moves the payloads out of h2,
//! whenever a quota of bytes has been received.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use h2::RecvStream;
use h2::client::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::STREAM_WINDOW;
use crate::native::transport::AsyncStream;

/// How many bytes of a connection are received before payloads are moved. They are at most 26,214
/// DATA frames that are not empty, and one read more: 20 MiB.
const QUOTA: usize = 256 * 1024;

/// What has been received on the stream of one WebSocket.
#[derive(Clone)]
pub(super) struct Inbox(Arc<Mutex<Received>>);

struct Received {
    receive: RecvStream,
    /// The payload that is being read.
    payload: Bytes,
    /// What follows it, moved out of h2. At most the window of the stream.
    moved: VecDeque<u8>,
    /// What follows that.
    end: Option<Result<(), h2::Error>>,
    /// Waits for more.
    reader: Option<Waker>,
}

impl Inbox {
    fn new(receive: RecvStream) -> Self {
        let (payload, moved) = (Bytes::new(), VecDeque::new());
        let received = Received { receive, payload, moved, end: None, reader: None };
        Self(Arc::new(Mutex::new(received)))
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        lock(&self.0).poll_read(cx, buf)
    }
}

impl Received {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        while self.payload.is_empty() && self.moved.is_empty() {
            let received = match self.end.take() {
                None => self.receive.poll_data(cx),
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
                Some(Ok(())) => Poll::Ready(None),
            };
            if received.is_pending() {
                self.reader = Some(cx.waker().clone());
            }
            match ready!(received) {
                Some(payload) => self.payload = payload?,
                None => return Poll::Ready(Ok(())),
            }
        }
        self.reader = None;
        let count = if self.payload.is_empty() {
            let (first, _) = self.moved.as_slices();
            let count = first.len().min(buf.remaining());
            buf.put_slice(first.get(..count).unwrap_or_default());
            self.moved.advance(count);
            if self.moved.is_empty() {
                self.moved = VecDeque::new();
            }
            count
        } else {
            let count = self.payload.len().min(buf.remaining());
            buf.put_slice(self.payload.get(..count).unwrap_or_default());
            self.payload.advance(count);
            count
        };
        // Flow control counts what is read, not what is received.
        Poll::Ready(self.receive.flow_control().release_capacity(count))
    }

    /// Moves what has been received out of h2.
    fn move_out(&mut self) {
        // h2 keeps one waker, which a waiting reader needs.
        let mut cx = Context::from_waker(self.reader.as_ref().unwrap_or(Waker::noop()));
        while self.end.is_none()
            && let Poll::Ready(received) = self.receive.poll_data(&mut cx)
        {
            match received {
                Some(Ok(payload)) => {
                    let len = self.moved.len() + payload.len();
                    if len > self.moved.capacity() {
                        let capacity = len.next_power_of_two().min(STREAM_WINDOW as usize);
                        let more = capacity.max(len) - self.moved.len();
                        self.moved.reserve_exact(more);
                    }
                    self.moved.extend(&payload);
                }
                Some(Err(error)) => self.end = Some(Err(error)),
                None => self.end = Some(Ok(())),
            }
        }
    }
}

/// The inboxes of one connection.
#[derive(Clone, Default)]
pub(super) struct Inboxes(Arc<Mutex<Vec<Weak<Mutex<Received>>>>>);

impl Inboxes {
    pub(super) fn add(&self, receive: RecvStream) -> Inbox {
        let inbox = Inbox::new(receive);
        let mut inboxes = lock(&self.0);
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.push(Arc::downgrade(&inbox.0));
        inbox
    }

    fn move_out(&self) {
        for inbox in lock(&self.0).iter().filter_map(Weak::upgrade) {
            lock(&inbox).move_out();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drives a connection to its end, and moves what is not read.
pub(super) struct Driver {
    pub(super) connection: Connection<Metered, Bytes>,
    /// The bytes received since payloads were moved.
    pub(super) received: Arc<AtomicUsize>,
    pub(super) inboxes: Inboxes,
}

impl Future for Driver {
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let polled = Pin::new(&mut self.connection).poll(cx);
            if polled.is_ready() || self.received.load(Relaxed) < QUOTA {
                return polled;
            }
            self.inboxes.move_out();
            self.received.store(0, Relaxed);
        }
    }
}

/// A transport that is not read beyond the quota. The [`Driver`] then goes on, so no waker is kept.
pub(super) struct Metered {
    io: Box<dyn AsyncStream>,
    received: Arc<AtomicUsize>,
}

impl Metered {
    pub(super) fn new(io: Box<dyn AsyncStream>) -> Self {
        Self { io, received: Arc::default() }
    }

    pub(super) fn received(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.received)
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.load(Relaxed) >= QUOTA {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.received.fetch_add(buf.filled().len() - before, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
