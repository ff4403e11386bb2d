//! Which properties hold for all bytes and messages, however the network splits them?

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use crate::support::{
    BOTH, Feeding, Frame, deflate, drain, feed, frame, noise, other, run, soon, take,
};
use bytes::Bytes;
use futures::poll;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::task::yield_now;
use ws_core::deflate::Params;
use ws_core::frame::OpCode;
use ws_core::handshake::Negotiated;
use ws_core::proto::{Failure, Inbound, Mode, Outbound, PieceKind, ProtocolEvent};
use ws_core::{Compression, Config, Conn, Error, Limits, Message, MessageType, Role, StatusCode};

fn any_role() -> impl Strategy<Value = Role> {
    select(&BOTH[..])
}

fn any_params() -> impl Strategy<Value = Params> {
    (any::<(bool, bool)>(), 8..=15_u8, 8..=15_u8).prop_map(|(takeovers, server, client)| Params {
        server_no_context_takeover: takeovers.0,
        client_no_context_takeover: takeovers.1,
        server_max_window_bits: server,
        client_max_window_bits: client,
    })
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Whole),
        (1..50_usize).prop_map(Mode::Pieces),
        (1000..70_000_usize).prop_map(Mode::Pieces),
    ]
}

/// Splits bytes into pieces of these lengths, repeatedly.
fn any_cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![usize::MAX]),
        Just(vec![1]),
        prop::collection::vec(1..10_usize, 1..5),
        prop::collection::vec(prop_oneof![1..10_usize, 100..20_000_usize], 1..5),
    ]
}

fn cut<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for len in cuts.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(*len));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..150),
        // Repetitions for the window.
        2 => (prop::collection::vec(any::<u8>(), 1..40), 0..200_usize)
            .prop_map(|(unit, times)| unit.repeat(times)),
        1 => (0..70_000_usize, any::<u64>()).prop_map(|(len, seed)| noise(len, seed)),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ".{0,60}",
        1 => (".{1,20}", 0..200_usize).prop_map(|(unit, times)| unit.repeat(times)),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let message =
        prop_oneof![any_text().prop_map(Message::from), any_bytes().prop_map(Message::from),];
    (message, any::<bool>()).prop_map(
        |(message, compress)| {
            if compress { message } else { message.uncompressed() }
        },
    )
}

/// The action of an application.
#[derive(Clone, Debug)]
enum Act {
    Send(Message),
    /// Sends a message in pieces of these lengths, with or without a flush behind each.
    Stream(Message, Vec<(usize, Behind)>),
    Ping(Vec<u8>),
    /// The transport takes this many bytes.
    Take(usize),
}

#[derive(Clone, Copy, Debug)]
enum Behind {
    Nothing,
    Flush,
    Ping(u8),
}

fn any_act() -> impl Strategy<Value = Act> {
    let behind = prop_oneof![
        Just(Behind::Nothing),
        Just(Behind::Flush),
        any::<u8>().prop_map(Behind::Ping),
    ];
    let steps = prop::collection::vec((0..3000_usize, behind), 0..6);
    prop_oneof![
        3 => any_message().prop_map(Act::Send),
        2 => (any_message(), steps).prop_map(|(message, steps)| Act::Stream(message, steps)),
        2 => prop::collection::vec(any::<u8>(), 0..=125).prop_map(Act::Ping),
        1 => (1..10_000_usize).prop_map(Act::Take),
    ]
}

/// Runs the actions. Returns the bytes sent, the messages and the pings.
fn send(outbound: &mut Outbound, acts: &[Act]) -> (Vec<u8>, Vec<Message>, Vec<Vec<u8>>) {
    let (mut out, mut messages, mut pings) = (Vec::new(), Vec::new(), Vec::new());
    for act in acts {
        match act {
            Act::Send(message) => {
                outbound.message(message.clone());
                messages.push(message.clone());
            }
            Act::Stream(message, steps) => {
                outbound.begin(message.kind(), true);
                let mut rest = message.as_bytes();
                for (len, behind) in steps {
                    let (piece, after) = rest.split_at(rest.len().min(*len));
                    rest = after;
                    let flush = matches!(behind, Behind::Flush);
                    let then = if flush { PieceKind::Flush } else { PieceKind::More };
                    outbound.piece(piece, then).unwrap();
                    if let Behind::Ping(byte) = behind {
                        outbound.ping(&[*byte]).unwrap();
                        pings.push(vec![*byte]);
                    }
                }
                outbound.piece(rest, PieceKind::End).unwrap();
                messages.push(message.clone());
            }
            Act::Ping(payload) => {
                outbound.ping(payload).unwrap();
                pings.push(payload.clone());
            }
            Act::Take(_) if outbound.is_empty() => {}
            Act::Take(most) => out.extend(take(outbound, *most)),
        }
    }
    out.extend(drain(outbound, usize::MAX));
    (out, messages, pings)
}

/// The messages and pings of the events.
fn sort(events: Vec<ProtocolEvent>) -> (Vec<Message>, Vec<Vec<u8>>) {
    let (mut messages, mut pings) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            ProtocolEvent::Message(message) => messages.push(message),
            ProtocolEvent::Ping(payload) => pings.push(payload.to_vec()),
            ProtocolEvent::Pong(_) | ProtocolEvent::Close(_) => panic!("nobody sent that"),
        }
    }
    (messages, pings)
}

/// The messages without compression settings.
fn plain(messages: Vec<Message>) -> Vec<(MessageType, Vec<u8>)> {
    messages.into_iter().map(|message| (message.kind(), message.as_bytes().to_vec())).collect()
}

fn unlimited() -> Limits {
    Limits::new().no_message_size()
}

/// Frames that are often valid: usually with valid bits, in any order.
fn any_frames() -> impl Strategy<Value = Vec<Frame>> {
    let opcode = prop_oneof![
        20 => select(vec![0_u8, 0, 0, 1, 2, 2, 9, 10]),
        1 => 0..16_u8,
    ];
    let payload = prop_oneof![
        3 => any_text().prop_map(String::into_bytes),
        3 => any_text().prop_map(|text| deflate(text.as_bytes())),
        1 => any_bytes().prop_map(|bytes| deflate(&bytes)),
        1 => any_bytes(),
        1 => Just(vec![0x03, 0x80]),
        1 => Just(vec![0x03, 0xe8]),
        1 => (any_bytes(), any::<Index>(), any::<u8>()).prop_map(|(bytes, at, byte)| {
            let mut bytes = deflate(&bytes);
            *at.get_mut(&mut bytes) = byte;
            bytes
        }),
    ];
    let one_in_20 = || prop::bool::weighted(0.05);
    let frame = (opcode, payload, any::<bool>(), any::<bool>(), one_in_20(), one_in_20()).prop_map(
        |(opcode, payload, fin, rsv1, rsv2, non_minimal_len)| {
            let opcode = OpCode::from_u8(opcode);
            let mut frame = frame(opcode, payload);
            if opcode.is_control() {
                frame.payload.truncate(125);
                frame.header.len = frame.payload.len() as u64;
            } else {
                frame.header.fin = fin;
                frame.header.rsv1 = rsv1 && opcode != OpCode::CONTINUATION;
            }
            frame.header.rsv2 = rsv2;
            if non_minimal_len { frame.non_minimal_len() } else { frame }
        },
    );
    prop::collection::vec(frame, 0..12)
}

/// Arbitrary bytes, arbitrary frames, and corrupted frames.
fn anything() -> impl Strategy<Value = (Role, Vec<u8>)> {
    let frames = (any_role(), any_frames()).prop_map(|(role, frames)| {
        let bytes = frames.iter().flat_map(|frame| frame.encode(other(role))).collect();
        (role, bytes)
    });
    let damaged = (any_role(), any_frames(), any::<Index>(), any::<u8>()).prop_map(
        |(role, frames, at, byte)| {
            let bytes = frames.iter().flat_map(|frame| frame.encode(other(role)));
            let mut bytes: Vec<_> = bytes.chain([0]).collect();
            *at.get_mut(&mut bytes) = byte;
            (role, bytes)
        },
    );
    let bytes = (any_role(), prop::collection::vec(any::<u8>(), 0..300));
    prop_oneof![3 => frames, 2 => damaged, 1 => bytes]
}

/// The failure. For text that is neither valid UTF-8 nor validly compressed, either may be reported
/// first.
fn told(fault: Option<Failure>) -> Option<Result<Failure, StatusCode>> {
    fault.map(|fault| {
        let code = fault.close_frame().as_error().code;
        if code == StatusCode::INVALID_FRAME_PAYLOAD_DATA { Err(code) } else { Ok(fault) }
    })
}

proptest! {
    /// Both directions, every compression, every fragment size.
    #[test]
    fn what_is_sent_arrives(
        sender in any_role(),
        acts in prop::collection::vec(any_act(), 0..8),
        params in prop::option::of(any_params()),
        takeover: bool, window_bits in 8..=15_u8, level in 0..=9_u8, threshold in 0..300_usize,
        fragment_size in prop::option::of(1..5000_usize),
        step in prop_oneof![1..10_usize, 100..100_000_usize],
        mode in any_mode(), cuts in any_cuts(),
    ) {
        let compression =
            if takeover { Compression::context_takeover() } else { Compression::no_context_takeover() };
        let compression = compression.window_bits(window_bits).level(level).threshold(threshold);
        let mut config = Config::new().compression(compression);
        if let Some(size) = fragment_size {
            config = config.fragment_size(size);
        }
        let mut outbound = Outbound::new(sender, &config, params);
        let (mut bytes, messages, pings) = send(&mut outbound, &acts);
        outbound.message("the end".into());
        bytes.extend(drain(&mut outbound, step));
        let mut inbound = Inbound::new(other(sender), Config::new().limits(unlimited()), params);
        let (events, fault) = feed(&mut inbound, mode, cut(&bytes, &cuts));
        let (mut read, answered) = sort(events);
        prop_assert_eq!(fault, None);
        prop_assert_eq!(read.pop(), Some("the end".into()));
        prop_assert!(plain(read) == plain(messages));
        prop_assert_eq!(answered, pings);
    }

    /// Neither splits nor the mode change the events.
    #[test]
    fn cuts_do_not_matter(
        (role, bytes) in anything(),
        params in prop::option::of(any_params()),
        limit in prop_oneof![Just(100_usize), Just(100_000)],
        mode in any_mode(), cuts in any_cuts(),
    ) {
        let limits = Limits::new().message_size(limit).fragments(5);
        let whole = feed(&mut Inbound::new(role, Config::new().limits(limits), params), Mode::Whole, [&bytes[..]]);
        let cut = feed(&mut Inbound::new(role, Config::new().limits(limits), params), mode, cut(&bytes, &cuts));
        prop_assert_eq!(told(whole.1), told(cut.1));
        prop_assert!(whole.0 == cut.0, "{:?} and {:?}", whole.0, cut.0);
    }

    /// `feed` fails if it does not terminate.
    #[test]
    fn any_bytes_are_events_or_a_fault(
        (role, bytes) in anything(),
        params in prop::option::of(any_params()),
        frame_size in prop::option::of(0..1000_usize),
        mode in any_mode(), cuts in any_cuts(),
    ) {
        let mut limits = Limits::new().message_size(50_000);
        if let Some(size) = frame_size {
            limits = limits.frame_size(size);
        }
        let mut inbound = Inbound::new(role, Config::new().limits(limits), params);
        let (events, fault) = feed(&mut inbound, mode, cut(&bytes, &cuts));
        for event in &events {
            if let ProtocolEvent::Message(message) = event {
                prop_assert!(message.len() <= 50_000);
                prop_assert!(message.is_binary() || message.as_text().is_some());
            }
        }
        if let Some(fault) = fault {
            let close = fault.close_frame().into_error();
            prop_assert!(close.code.is_sendable() && close.reason.len() <= 123);
        }
    }

    /// A discarded message does not affect the next.
    #[test]
    fn what_is_discarded_leaves_the_rest_intact(
        messages in prop::collection::vec((any_message(), any::<Option<Index>>()), 1..6),
        params in prop::option::of(any_params()),
        takeover: bool, fragment_size in 50..3000_usize, mode in any_mode(), cuts in any_cuts(),
    ) {
        let compression =
            if takeover { Compression::context_takeover() } else { Compression::no_context_takeover() };
        let config = Config::new().compression(compression.threshold(0)).fragment_size(fragment_size);
        let mut outbound = Outbound::new(Role::Client, &config, params);
        let mut inbound = Inbound::new(Role::Server, Config::new().limits(unlimited()), params);
        for (message, unwanted) in messages {
            outbound.message(message.clone());
            let bytes = drain(&mut outbound, usize::MAX);
            let pieces = cut(&bytes, &cuts);
            let unwanted = unwanted.map(|index| index.index(pieces.len()));
            let mut feeding = Feeding::new(&mut inbound, mode);
            let mut discarded = false;
            for (at, piece) in pieces.iter().enumerate() {
                prop_assert_eq!(feeding.feed(piece), Ok(()));
                if unwanted == Some(at) && feeding.inbound.message_kind().is_some() {
                    feeding.inbound.discard();
                    discarded = true;
                }
            }
            let (read, _) = sort(feeding.events);
            let expected = if discarded { vec![] } else { vec![message] };
            prop_assert!(plain(read) == plain(expected));
        }
    }

    /// No message is lost, repeated or delivered to the wrong reader.
    #[test]
    fn messages_come_in_order_whoever_reads_them_and_gives_up(
        messages in prop::collection::vec(any_message(), 1..10),
        reads in prop::collection::vec(any_read(), 1..30),
        compressed: bool, fragment_size in 10..3000_usize, pipe in 10..5000_usize,
    ) {
        run(read_somehow(messages, reads, compressed, fragment_size, pipe));
    }
}

/// How a task reads.
#[derive(Clone, Debug)]
enum Read {
    Whole,
    /// In pieces of this length, with other calls before each piece.
    Pieces(usize, Vec<Other>),
    Other(Other),
}

/// A call that is dropped after a number of polls.
#[derive(Clone, Copy, Debug)]
enum Other {
    Read(usize),
    Reader(usize),
    Ping(usize),
    Closed(usize),
}

fn any_read() -> impl Strategy<Value = Read> {
    let polls = || prop_oneof![Just(1_usize), 0..20_usize];
    let other = move || {
        prop_oneof![
            polls().prop_map(Other::Read),
            polls().prop_map(Other::Reader),
            polls().prop_map(Other::Ping),
            polls().prop_map(Other::Closed),
        ]
    };
    let most = prop_oneof![0..3000_usize, Just(usize::MAX)];
    prop_oneof![
        Just(Read::Whole),
        (most, prop::collection::vec(other(), 0..5)).prop_map(|(n, o)| Read::Pieces(n, o)),
        other().prop_map(Read::Other),
    ]
}

async fn read_somehow(
    messages: Vec<Message>,
    reads: Vec<Read>,
    compressed: bool,
    fragment_size: usize,
    pipe: usize,
) {
    let (here, there) = tokio::io::duplex(pipe);
    let negotiated =
        Negotiated { compression: compressed.then(Params::default), ..Negotiated::default() };
    let compression = Compression::context_takeover().threshold(0);
    let config = Config::new().compression(compression).fragment_size(fragment_size);
    let one =
        Conn::from_stream(here, Role::Client, negotiated.clone(), Bytes::new(), config.clone());
    let two = Conn::from_stream(there, Role::Server, negotiated, Bytes::new(), config);
    let writing = tokio::spawn({
        let (one, messages) = (one.clone(), messages.clone());
        async move {
            for message in messages {
                one.write(message).await.unwrap();
            }
            // Any reading task answers pings.
            one.closed().await
        }
    });
    let mut expected = plain(messages).into_iter();
    // At least one of them makes progress.
    for read in reads.into_iter().chain([Read::Whole]).cycle() {
        if expected.len() == 0 {
            break;
        }
        match read {
            Read::Other(other) => do_other(&two, other, &mut expected).await,
            Read::Whole => expect(soon(two.read()).await, &mut expected),
            Read::Pieces(most, others) => {
                let mut reader = soon(two.reader()).await.unwrap();
                let (kind, message) = expected.next().unwrap();
                assert_eq!(reader.kind(), kind);
                let mut others = others.into_iter();
                let mut payload = Vec::new();
                let whole = loop {
                    if payload.len() >= most {
                        break false;
                    }
                    if let Some(other) = others.next() {
                        do_other(&two, other, &mut expected).await;
                    }
                    match soon(reader.chunk()).await.unwrap() {
                        Some(piece) => payload.extend_from_slice(&piece),
                        None => break true,
                    }
                };
                assert!(message.starts_with(&payload) && (!whole || message == payload));
            }
        }
    }
    drop(two);
    soon(writing).await.unwrap();
}

type Expected = std::vec::IntoIter<(MessageType, Vec<u8>)>;

#[track_caller]
fn expect(read: Result<Message, Error>, expected: &mut Expected) {
    let message = read.unwrap();
    assert!(Some((message.kind(), message.as_bytes().to_vec())) == expected.next());
}

/// Makes another call and drops it, unless it completes.
async fn do_other(conn: &Conn, other: Other, expected: &mut Expected) {
    match other {
        Other::Read(polls) => {
            if let Some(read) = polled(conn.read(), polls).await {
                expect(read, expected);
            }
        }
        Other::Reader(polls) => {
            if let Some(reader) = polled(conn.reader(), polls).await {
                assert_eq!(reader.unwrap().kind(), expected.next().unwrap().0);
            }
        }
        Other::Ping(polls) => drop(polled(conn.ping(), polls).await),
        Other::Closed(polls) => drop(polled(conn.closed(), polls).await),
    }
}

/// Polls a future a number of times, yielding in between, and drops it.
async fn polled<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll!(&mut future) {
            return Some(output);
        }
        yield_now().await;
    }
    None
}
