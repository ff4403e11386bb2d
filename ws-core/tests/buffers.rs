//! How much is read at once, and how much is written?
#![cfg(test)]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use ws_core::{Agreed, Config, Conn, Role};

/// What was asked of a stream: the bytes of each read and write.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<(Vec<usize>, Vec<usize>)>>);

/// A stream that notes how it is used.
struct Noted(DuplexStream, Calls);

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        self.1.0.lock().unwrap().0.push(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.0).poll_write(cx, buf))?;
        self.1.0.lock().unwrap().1.push(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.poll_write(cx, &whole)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Not so many that one side makes way for others meanwhile, which ends a batch too.
const MESSAGES: usize = 100;

/// Echoes a burst of messages of 10 bytes, and says what that took.
async fn echo(config: Config) -> (Vec<usize>, Vec<usize>) {
    let (mut here, there) = duplex(1024 * 1024);
    let calls = Calls::default();
    let io = Noted(there, calls.clone());
    let conn = Conn::from_stream(io, Role::Server, Agreed::default(), Bytes::new(), config);
    here.write_all(&b"\x82\x8a\0\0\0\0ten bytes.".repeat(MESSAGES)).await.unwrap();
    for _ in 0..MESSAGES {
        let message = conn.read().await.unwrap();
        conn.write(message).await.unwrap();
    }
    conn.flush().await.unwrap();
    let calls = calls.0.lock().unwrap();
    assert_eq!(calls.0.iter().sum::<usize>(), 16 * MESSAGES);
    assert_eq!(calls.1.iter().sum::<usize>(), 12 * MESSAGES);
    calls.clone()
}

#[tokio::test]
async fn a_read_takes_no_more_than_the_read_buffer() {
    let check = async |config: Config, most: usize| {
        let (reads, _) = echo(config).await;
        assert_eq!(reads.iter().max(), Some(&most), "{reads:?}");
        assert!(reads.len() >= 16 * MESSAGES / most, "{reads:?}");
    };
    check(Config::new(), 16 * MESSAGES).await;
    check(Config::new().read_buffer(1 << 30), 16 * MESSAGES).await;
    check(Config::new().read_buffer(1024), 1024).await;
    // A message is cut at the end of each read.
    check(Config::new().read_buffer(1001), 1001).await;
    check(Config::new().read_buffer(1), 512).await;
}

#[tokio::test]
async fn the_answers_to_a_burst_leave_in_batches() {
    let check = async |config: Config, batches: usize, least: usize| {
        let (_, writes) = echo(config).await;
        assert_eq!(writes.len(), batches, "{writes:?}");
        let (_, whole) = writes.split_last().unwrap();
        assert!(whole.iter().all(|batch| (least..least + 12).contains(batch)), "{writes:?}");
    };
    check(Config::new(), 1, 0).await;
    check(Config::new().write_batch(300), 4, 300).await;
    check(Config::new().write_batch(500), 3, 500).await;
    check(Config::new().write_batch(0), MESSAGES, 12).await;
}
