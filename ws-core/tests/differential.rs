//! Do this library and `tokio-tungstenite` interoperate?
//!
//! Random conversations in both roles, over a stream that is split at random: the same messages in
//! the same order, and a clean close. Each has a seed, which is printed on failure.
//! `WS_DIFFERENTIAL` sets their number.
#![cfg(test)]

mod support;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use support::{BOTH, noise, other, run, soon};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role as TheirRole};
use tokio_tungstenite::tungstenite::{self, Message as Theirs};
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Error, Message, MessageType, Role, StatusCode};

/// Enough to find frequent errors. Ten thousand take a minute or two.
const CONVERSATIONS: u64 = 500;

#[test]
fn the_other_library_reads_what_we_write_and_writes_what_we_read() {
    let count = std::env::var("WS_DIFFERENTIAL").ok();
    let count = count.map_or(CONVERSATIONS, |count| count.parse().expect("a number"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                for seed in (first..count).step_by(threads as usize) {
                    let told = ToldIfItFails(seed);
                    run(converse(seed));
                    std::mem::forget(told);
                }
            });
        }
    });
}

/// Prints the seed of a failed conversation.
struct ToldIfItFails(u64);

impl Drop for ToldIfItFails {
    fn drop(&mut self) {
        eprintln!("the conversation with seed {} failed", self.0);
    }
}

/// The actions of one side.
#[derive(Clone, Debug)]
enum Line {
    Say(Message),
    /// A message in pieces of these lengths.
    Stammer(Message, Vec<usize>),
    Ping(Vec<u8>),
}

fn message(random: &mut SmallRng) -> Message {
    let len = match random.random_range(0..20) {
        0 => 0,
        1 => random.random_range(0..70_000),
        2..5 => random.random_range(0..5000),
        _ => random.random_range(0..200),
    };
    if random.random() {
        return Message::binary(noise(len, random.random()));
    }
    let characters = ['a', ' ', 'é', '€', '😀', '\0', '\u{10ffff}'];
    let mut text = String::with_capacity(len + 4);
    while text.len() < len {
        text.push(characters[random.random_range(0..characters.len())]);
    }
    text.into()
}

fn lines(random: &mut SmallRng) -> Vec<Line> {
    let count = random.random_range(0..12);
    let line = |_| match random.random_range(0..10) {
        0..5 => Line::Say(message(random)),
        5..8 => {
            let message = message(random);
            let most = (message.len() / 4).max(1);
            let pieces = random.random_range(0..8);
            let piece = |_| random.random_range(0..=most);
            Line::Stammer(message, (0..pieces).map(piece).collect())
        }
        _ => Line::Ping(noise(random.random_range(0..=125), random.random())),
    };
    (0..count).map(line).collect()
}

fn messages(lines: &[Line]) -> Vec<(MessageType, Bytes)> {
    let message = |line: &Line| match line {
        Line::Say(message) | Line::Stammer(message, _) => Some(message.clone().into_parts()),
        Line::Ping(_) => None,
    };
    lines.iter().filter_map(message).collect()
}

fn pings(lines: &[Line]) -> Vec<Bytes> {
    let ping = |line: &Line| match line {
        Line::Ping(payload) => Some(Bytes::copy_from_slice(payload)),
        Line::Say(_) | Line::Stammer(..) => None,
    };
    lines.iter().filter_map(ping).collect()
}

/// The pieces of a payload. The last is the rest.
fn pieces<'a>(payload: &'a Bytes, lengths: &'a [usize]) -> impl Iterator<Item = Bytes> + 'a {
    let mut rest = payload.clone();
    let ends = lengths.iter().map(Some).chain([None]);
    ends.map(move |len| rest.split_to(len.map_or(rest.len(), |len| rest.len().min(*len))))
}

/// Runs one conversation.
async fn converse(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let role = BOTH[random.random_range(0..2)];
    let (here, there) = tokio::io::duplex(random.random_range(1..50_000));
    let mut config = Config::new().write_buffer(1000, random.random_range(1000..100_000));
    if random.random() {
        config = config.fragment_size(random.random_range(1..5000));
    }
    let (ours, theirs) = (lines(&mut random), lines(&mut random));
    let we_close = random.random();
    let here = Cut::new(here, random.random());
    let there = Cut::new(there, random.random());
    let conn = Conn::from_stream(here, role, Negotiated::default(), Bytes::new(), config);
    let their_role = match other(role) {
        Role::Client => TheirRole::Client,
        Role::Server => TheirRole::Server,
    };
    let stream = WebSocketStream::from_raw_socket(there, their_role, None).await;
    let (sink, stream) = stream.split();

    let writing = tokio::spawn(we_say(conn.clone(), ours.clone(), random));
    let reading = tokio::spawn({
        let (conn, expected) = (conn.clone(), messages(&theirs));
        async move {
            for expected in expected {
                let read = conn.read().await.unwrap().into_parts();
                assert!(read == expected, "{read:?}, and not {expected:?}");
            }
        }
    });
    let their_writing = tokio::spawn(async move {
        let mut sink = sink;
        for line in theirs {
            for message in they_say(line) {
                sink.send(message).await.unwrap();
            }
        }
        sink
    });
    let (seen_all, all_seen) = oneshot::channel();
    let their_reading = tokio::spawn(they_read(stream, messages(&ours), pings(&ours), seen_all));
    let (writing, reading, their_writing, all_seen) =
        soon(async { tokio::join!(writing, reading, their_writing, all_seen) }).await;
    writing.unwrap();
    reading.unwrap();
    all_seen.unwrap();
    let mut sink = their_writing.unwrap();
    let code = if we_close {
        soon(conn.close(StatusCode::GOING_AWAY, "enough")).await.unwrap();
        let end = soon(conn.read()).await.unwrap_err();
        assert!(matches!(&end, Error::Closed(_)), "{end:?}");
        1001
    } else {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        let reading = tokio::spawn({
            let conn = conn.clone();
            async move { conn.read().await }
        });
        soon(sink.send(Theirs::Close(Some(frame)))).await.unwrap();
        let end = soon(reading).await.unwrap().unwrap_err();
        let Error::Closed(close) = &end else { panic!("{end:?}") };
        assert_eq!((close.code, &*close.reason), (StatusCode::NORMAL_CLOSURE, "done"));
        1000
    };
    assert!(soon(conn.closed()).await.is_clean());
    assert_eq!(soon(their_reading).await.unwrap(), [code]);
}

/// Reads to the end, and signals when all expected messages were received. Returns the close
/// codes.
async fn they_read(
    mut stream: impl Stream<Item = Result<Theirs, tungstenite::Error>> + Unpin,
    messages: Vec<(MessageType, Bytes)>,
    pings: Vec<Bytes>,
    seen_all: oneshot::Sender<()>,
) -> Vec<u16> {
    let (mut messages, mut pings) = (messages.into_iter(), pings.into_iter());
    let (mut seen_all, mut codes) = (Some(seen_all), Vec::new());
    loop {
        if messages.len() + pings.len() == 0
            && let Some(seen_all) = seen_all.take()
        {
            seen_all.send(()).unwrap();
        }
        let Some(read) = stream.next().await else { return codes };
        match read.unwrap() {
            Theirs::Text(text) => {
                assert_eq!(messages.next(), Some((MessageType::Text, text.into())));
            }
            Theirs::Binary(payload) => {
                assert_eq!(messages.next(), Some((MessageType::Binary, payload)));
            }
            // Control frames overtake messages, but not each other.
            Theirs::Ping(payload) => assert_eq!(pings.next(), Some(payload)),
            Theirs::Pong(_) => {}
            Theirs::Close(frame) => codes.push(frame.unwrap().code.into()),
            Theirs::Frame(frame) => panic!("{frame:?}"),
        }
    }
}

async fn we_say(conn: Conn, lines: Vec<Line>, mut random: SmallRng) {
    for line in lines {
        match line {
            Line::Say(message) => conn.write(message).await.unwrap(),
            Line::Stammer(message, lengths) => {
                let (kind, payload) = message.into_parts();
                let mut writer = conn.writer(kind).await.unwrap();
                for piece in pieces(&payload, &lengths) {
                    writer.write_all(&piece).await.unwrap();
                    if random.random() {
                        writer.flush().await.unwrap();
                    }
                }
                writer.finish().await.unwrap();
            }
            Line::Ping(payload) => drop(conn.ping_with(payload).await.unwrap()),
        }
    }
}

fn they_say(line: Line) -> Vec<Theirs> {
    match line {
        Line::Say(message) => {
            let (kind, payload) = message.into_parts();
            vec![match kind {
                MessageType::Text => Theirs::Text(payload.try_into().unwrap()),
                MessageType::Binary => Theirs::Binary(payload),
            }]
        }
        Line::Stammer(message, lengths) => {
            let (kind, payload) = message.into_parts();
            let mut opcode = match kind {
                MessageType::Text => Data::Text,
                MessageType::Binary => Data::Binary,
            };
            let mut frames = Vec::new();
            for (n, piece) in pieces(&payload, &lengths).enumerate() {
                let last = n == lengths.len();
                frames.push(Theirs::Frame(Frame::message(piece, OpCode::Data(opcode), last)));
                opcode = Data::Continue;
            }
            frames
        }
        Line::Ping(payload) => vec![Theirs::Ping(payload.into())],
    }
}

/// A stream with short reads and writes, some of them pending.
struct Cut {
    inner: DuplexStream,
    random: SmallRng,
}

impl Cut {
    fn new(inner: DuplexStream, seed: u64) -> Self {
        Self { inner, random: SmallRng::seed_from_u64(seed) }
    }

    /// The number of bytes to let through.
    fn poll_most(&mut self, cx: &Context<'_>) -> Poll<usize> {
        match self.random.random_range(0..10) {
            0 | 1 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            2 | 3 => Poll::Ready(self.random.random_range(1..20)),
            4..8 => Poll::Ready(self.random.random_range(1..5000)),
            _ => Poll::Ready(usize::MAX),
        }
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = ready!(self.poll_most(cx)).min(buf.remaining());
        let mut some = vec![0; most];
        let mut some = ReadBuf::new(&mut some);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut some))?;
        buf.put_slice(some.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = ready!(self.poll_most(cx)).min(buf.len());
        Pin::new(&mut self.inner).poll_write(cx, &buf[..most])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
