//! How many bytes does a read request, and how many does a write send?

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::io::{InspectReader, InspectWriter};
use ws_core::handshake::Negotiated;
use ws_core::{BufferPool, Config, Conn, Role};

/// The size of each read and write of a stream.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<(Vec<usize>, Vec<usize>)>>);

/// A stream that records its reads and writes.
fn noted(io: DuplexStream, calls: &Calls) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static {
    let (reads, writes) = (calls.clone(), calls.clone());
    let io = InspectReader::new(io, move |read| reads.0.lock().unwrap().0.push(read.len()));
    InspectWriter::new(io, move |wrote| writes.0.lock().unwrap().1.push(wrote.len()))
}

/// Few enough messages that neither side yields meanwhile, which would end a batch too.
const MESSAGES: usize = 100;

/// Echoes a burst of messages of 10 bytes. Returns the reads and writes.
async fn echo(config: Config) -> (Vec<usize>, Vec<usize>) {
    let (mut here, there) = duplex(1024 * 1024);
    let calls = Calls::default();
    let io = noted(there, &calls);
    let conn = Conn::from_stream(io, Role::Server, Negotiated::default(), Bytes::new(), config);
    here.write_all(&b"\x82\x8a\0\0\0\0ten bytes.".repeat(MESSAGES)).await.unwrap();
    for _ in 0..MESSAGES {
        let message = conn.read().await.unwrap();
        conn.write(message).await.unwrap();
    }
    conn.flush().await.unwrap();
    // Without a close frame, which would need a buffer again.
    conn.close_now();
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
    // Each read ends inside a message.
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

/// The minimum and maximum size of the buffers for the answers of [`echo`].
const BURST: std::ops::RangeInclusive<usize> = 12 * MESSAGES..=32 * 1024;

#[tokio::test]
async fn connections_that_write_in_turn_share_a_buffer() {
    let pool = BufferPool::new(1024 * 1024);
    for _ in 0..10 {
        echo(Config::new().buffer_pool(&pool)).await;
        // Another configuration with the same pool.
        echo(Config::new().write_batch(300).buffer_pool(&pool)).await;
        assert!(BURST.contains(&pool.cached()), "{} bytes", pool.cached());
        assert_eq!(pool.misses(), 1);
    }
    let other = BufferPool::new(1024 * 1024);
    echo(Config::new().buffer_pool(&other)).await;
    echo(Config::new()).await;
    assert_eq!((pool.misses(), other.misses()), (1, 1));
}

#[test]
fn a_pool_is_equal_to_its_clones_only_and_shows_what_it_has() {
    let pool = BufferPool::new(1024);
    assert_eq!(pool.clone(), pool);
    assert_ne!(BufferPool::new(1024), pool);
    assert_eq!(format!("{pool:?}"), "BufferPool { max: 1024, cached: 0, misses: 0 }");
}

/// A connection whose peer has not read yet.
async fn with_bytes_that_wait(pool: &BufferPool) -> (Conn, DuplexStream) {
    let (here, there) = duplex(1);
    let config = Config::new().buffer_pool(pool);
    let conn = Conn::from_stream(there, Role::Server, Negotiated::default(), Bytes::new(), config);
    conn.write(vec![7; 1000]).await.unwrap();
    (conn, here)
}

/// Reads the waiting bytes.
async fn take(conn: Conn, mut here: DuplexStream) {
    let mut frame = [0; 1004];
    here.read_exact(&mut frame).await.unwrap();
    assert!(frame.ends_with(&[7; 1000]));
    conn.flush().await.unwrap();
    conn.close_now();
}

#[tokio::test]
async fn a_pool_keeps_no_more_than_it_may() {
    // Room for all buffers, for slightly more than three, and for none.
    for (most, kept) in [(1 << 20, 10), (3 * 1004 + 1003, 3), (1003, 0), (0, 0)] {
        let pool = BufferPool::new(most);
        for round in 1..=3 {
            let mut waiting = Vec::new();
            for _ in 0..10 {
                waiting.push(with_bytes_that_wait(&pool).await);
            }
            assert_eq!(pool.cached(), 0, "as many are in use as there are");
            assert_eq!(pool.misses(), 10 + (round - 1) * (10 - kept), "{most}, {round}");
            for (conn, here) in waiting {
                take(conn, here).await;
                assert!(pool.cached() <= most);
            }
            assert_eq!(pool.cached() as u64, kept * 1004, "{most}, {round}");
        }
    }
}

#[tokio::test]
async fn a_buffer_with_bytes_that_nobody_takes_is_never_given_to_others() {
    let pool = BufferPool::new(1 << 20);
    let (conn, here) = with_bytes_that_wait(&pool).await;
    conn.close_now();
    drop((conn, here));
    assert_eq!(pool.cached(), 0);
    let (conn, here) = with_bytes_that_wait(&pool).await;
    take(conn, here).await;
}

#[tokio::test]
async fn tcp_sends_small_writes_at_once_unless_it_is_asked_to_gather_them() {
    for on in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = dialled.into_std().unwrap();
        let same = stream.try_clone().unwrap();
        let (io, config) = (TcpStream::from_std(stream).unwrap(), Config::new().nodelay(on));
        let _conn =
            Conn::from_stream(io, Role::Client, Negotiated::default(), Bytes::new(), config);
        assert_eq!(same.nodelay().unwrap(), on);
    }
}
