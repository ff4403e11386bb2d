//! Can a message that is longer than memory be written and read in pieces?
//!
//! `WS_LONG_MESSAGE` sets its length in MiB. Default: 32. With 1024, it far exceeds the allowed
//! memory.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ws_core::deflate::Params;
use ws_core::handshake::Negotiated;
use ws_core::{Compression, Config, Conn, Limits, MessageType, Role};

const MIB: usize = 1024 * 1024;

/// The maximum memory of this process, which has both ends of the connection.
const MOST: usize = 32 * MIB;

/// The peak memory of this process.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib * 1024
}

/// The pieces of an endless text. It compresses by about a third, because repetitions are further
/// apart than the window.
struct Pieces(Vec<u8>);

impl Pieces {
    fn new() -> Self {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'a' + (state >> 60) as u8
        };
        Self((0..64 * 1024).map(|_| next()).collect())
    }

    fn next(&mut self, number: usize) -> &[u8] {
        let label = format!("{number:016x}");
        self.0[..label.len()].copy_from_slice(label.as_bytes());
        &self.0
    }
}

async fn connect(compression: Option<Compression>) -> (Conn, Conn) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(dialled, listener.accept());
    let negotiated =
        Negotiated { compression: compression.map(|_| Params::default()), ..Negotiated::default() };
    let config = Config::new()
        .limits(Limits::new().no_message_size().fragments(usize::MAX))
        .compression(compression.unwrap_or_default());
    let end =
        |io, role| Conn::from_stream(io, role, negotiated.clone(), Bytes::new(), config.clone());
    (end(client.unwrap(), Role::Client), end(server.unwrap().0, Role::Server))
}

async fn check(compression: Option<Compression>, len: usize) {
    let (client, server) = connect(compression).await;
    let sending = tokio::spawn(async move {
        let mut pieces = Pieces::new();
        let mut writer = client.writer(MessageType::Text).await.unwrap();
        for number in 0..len / pieces.0.len() {
            writer.write_all(pieces.next(number)).await.unwrap();
        }
        writer.finish().await.unwrap();
        client
    });
    let mut expected = Pieces::new();
    let mut received = vec![0; expected.0.len()];
    let mut reader = server.reader().await.unwrap();
    for number in 0..len / received.len() {
        reader.read_exact(&mut received).await.unwrap();
        assert!(received == expected.next(number), "piece {number}");
    }
    assert_eq!(reader.read(&mut received).await.unwrap(), 0);
    let client = sending.await.unwrap();
    assert_eq!(server.stats().messages_in, 1);
    let wire = client.stats().bytes_out as usize;
    let fewer = compression.is_some();
    assert_eq!(wire < len, fewer, "{wire} bytes for {len}");
    println!(
        "{} MiB in one message, {compression:?}: {} MiB on the wire, at most {:.1} MiB of memory",
        len / MIB,
        wire / MIB,
        peak() as f64 / MIB as f64
    );
    assert!(peak() < MOST, "{} bytes of memory", peak());
}

#[tokio::test]
async fn a_message_longer_than_memory_goes_through() {
    let len = std::env::var("WS_LONG_MESSAGE").ok().map_or(32, |len| len.parse().unwrap()) * MIB;
    for compression in
        [None, Some(Compression::no_context_takeover()), Some(Compression::context_takeover())]
    {
        let patience = Duration::from_secs(60 + (len / MIB) as u64);
        tokio::time::timeout(patience, check(compression, len)).await.unwrap();
    }
}
