//! Which helpers do the tests share? Frame builders, and a scripted peer.
#![allow(dead_code, reason = "each test file takes the words that it needs")]

use std::future::Future;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep_until};
use ws_core::deflate::{Deflater, Params};
use ws_core::frame::{Header, Mask, OpCode, mask};
use ws_core::handshake::Negotiated;
use ws_core::proto::{Failure, Inbound, Mode, Outbound, ProtocolEvent};
use ws_core::{Config, Conn, Message, MessageType, Role};

pub(crate) const BOTH: [Role; 2] = [Role::Server, Role::Client];

/// The other role.
pub(crate) fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// A frame before masking, valid or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
}

/// A whole frame.
pub(crate) fn frame(opcode: OpCode, payload: impl AsRef<[u8]>) -> Frame {
    let payload = payload.as_ref().to_vec();
    Frame { header: Header::new(true, opcode, payload.len() as u64), payload }
}

pub(crate) fn text(payload: impl AsRef<[u8]>) -> Frame {
    frame(OpCode::TEXT, payload)
}

pub(crate) fn binary(payload: impl AsRef<[u8]>) -> Frame {
    frame(OpCode::BINARY, payload)
}

/// A continuation frame.
pub(crate) fn more(payload: impl AsRef<[u8]>) -> Frame {
    frame(OpCode::CONTINUATION, payload)
}

pub(crate) fn ping(payload: impl AsRef<[u8]>) -> Frame {
    frame(OpCode::PING, payload)
}

pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Frame {
    frame(OpCode::PONG, payload)
}

pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    frame(OpCode::CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

impl Frame {
    /// Clears FIN.
    pub(crate) fn open(mut self) -> Self {
        self.header.fin = false;
        self
    }

    pub(crate) fn rsv1(mut self) -> Self {
        self.header.rsv1 = true;
        self
    }

    pub(crate) fn rsv2(mut self) -> Self {
        self.header.rsv2 = true;
        self
    }

    pub(crate) fn rsv3(mut self) -> Self {
        self.header.rsv3 = true;
        self
    }

    /// With a length in more bytes than needed.
    pub(crate) fn non_minimal_len(mut self) -> Self {
        self.header.minimal = false;
        self
    }

    /// With another length in the header.
    pub(crate) fn declared_len(mut self, len: u64) -> Self {
        self.header.len = len;
        self
    }

    /// The first frame of a compressed message. Compresses the payload.
    pub(crate) fn deflated(mut self) -> Self {
        self.payload = deflate(&self.payload);
        self.header.len = self.payload.len() as u64;
        self.rsv1()
    }

    pub(crate) fn is_control(&self) -> bool {
        self.header.opcode.is_control()
    }

    /// Encodes the frame. A client's is masked.
    pub(crate) fn encode(&self, from: Role) -> Vec<u8> {
        let key = (from == Role::Client).then_some(Mask::new([0x37, 0xfa, 0x21, 0x3d]));
        let header = Header { mask: key, ..self.header };
        let mut bytes = header.encode().as_slice().to_vec();
        let body = bytes.len();
        bytes.extend_from_slice(&self.payload);
        if let Some(key) = key {
            mask(&mut bytes[body..], key);
        }
        bytes
    }
}

/// Encodes frames.
pub(crate) fn wire(from: Role, frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.encode(from)).collect()
}

/// The next whole frame of the input. Checks that exactly a client masks.
pub(crate) fn decode(from: Role, bytes: &mut BytesMut) -> Option<Frame> {
    let (header, head) = Header::decode(bytes)?;
    let len = usize::try_from(header.len).unwrap();
    if bytes.len() < head + len {
        return None;
    }
    bytes.advance(head);
    let mut payload = bytes.split_to(len).to_vec();
    assert_eq!(header.mask.is_some(), from == Role::Client, "{header:?}");
    if let Some(key) = header.mask {
        mask(&mut payload, key);
    }
    Some(Frame { header: Header { mask: None, ..header }, payload })
}

/// All frames of the input, which ends with one.
pub(crate) fn decode_all(from: Role, bytes: &[u8]) -> Vec<Frame> {
    let mut bytes = BytesMut::from(bytes);
    let frames = std::iter::from_fn(|| decode(from, &mut bytes)).collect();
    assert!(bytes.is_empty(), "half a frame is left: {bytes:x?}");
    frames
}

/// A message compressed on its own.
pub(crate) fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::new();
    Deflater::new(15, false, 6).compress(payload, &mut deflated).unwrap();
    deflated
}

/// Pseudo-random bytes of a seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Receives bytes in these pieces. Returns the events and the failure.
pub(crate) fn feed<'a>(
    inbound: &mut Inbound,
    mode: Mode,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<ProtocolEvent>, Option<Failure>) {
    let mut feeding = Feeding::new(inbound, mode);
    let fault = pieces.into_iter().find_map(|piece| feeding.feed(piece).err());
    (feeding.events, fault)
}

/// Receives bytes like `Conn`. Reassembles messages in all modes.
pub(crate) struct Feeding<'a> {
    pub(crate) inbound: &'a mut Inbound,
    pub(crate) events: Vec<ProtocolEvent>,
    mode: Mode,
    /// The input that was not consumed.
    rest: Vec<u8>,
    /// The pieces of an incomplete message.
    taken: Vec<u8>,
    /// The remaining number of steps before failing.
    patience: usize,
}

impl<'a> Feeding<'a> {
    pub(crate) fn new(inbound: &'a mut Inbound, mode: Mode) -> Self {
        let (events, rest, taken) = (Vec::new(), Vec::new(), Vec::new());
        Self { inbound, events, mode, rest, taken, patience: 0 }
    }

    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<(), Failure> {
        self.patience += 10 * piece.len();
        while !piece.is_empty() {
            if self.rest.is_empty()
                && let Some(mut room) = self.inbound.read_target(self.mode)
            {
                let count = piece.len().min(room.remaining_mut());
                assert!(count > 0, "there is no room where to read to");
                room.put_slice(&piece[..count]);
                piece = &piece[count..];
                self.rest = self.inbound.commit_read(count)?;
            } else {
                self.rest.extend_from_slice(piece);
                piece = &[];
            }
            self.receive()?;
        }
        Ok(())
    }

    /// Receives `rest` until more is needed.
    fn receive(&mut self) -> Result<(), Failure> {
        loop {
            self.patience = self.patience.checked_sub(1).expect("it comes to no end");
            let received = self.inbound.receive(&mut self.rest, self.mode)?;
            self.rest.drain(..received.consumed);
            match received.event {
                Some(ProtocolEvent::Message(message)) => {
                    let kind = message.kind();
                    self.taken.extend_from_slice(message.as_bytes());
                    let whole = message_of(kind, std::mem::take(&mut self.taken));
                    self.events.push(ProtocolEvent::Message(whole));
                }
                Some(event) => self.events.push(event),
                None if self.inbound.has_piece() && matches!(self.mode, Mode::Pieces(_)) => {
                    let Mode::Pieces(most) = self.mode else { continue };
                    let piece = self.inbound.take_piece();
                    assert!(piece.len() <= most, "a piece of {} and not {most}", piece.len());
                    self.patience += piece.len();
                    self.taken.extend_from_slice(&piece);
                    if self.rest.is_empty() && !self.inbound.is_inside_frame() {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }
}

pub(crate) fn message_of(kind: MessageType, payload: Vec<u8>) -> Message {
    match kind {
        MessageType::Text => Message::text_from_bytes(payload).unwrap(),
        MessageType::Binary => Message::binary(payload),
    }
}

/// Takes the waiting bytes in steps of a maximum length.
pub(crate) fn drain(outbound: &mut Outbound, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !outbound.is_empty() {
        out.extend(take(outbound, step));
    }
    out
}

/// Takes up to `most` waiting bytes in one step.
pub(crate) fn take(outbound: &mut Outbound, most: usize) -> Vec<u8> {
    let mut slices = [std::io::IoSlice::new(&[]); 5];
    let filled = outbound.slices(&mut slices);
    let slices = slices[..filled].iter().flat_map(|slice| slice.iter().copied());
    let taken: Vec<u8> = slices.take(most).collect();
    assert!(!taken.is_empty(), "bytes wait, and none are shown");
    outbound.advance(taken.len());
    taken
}

/// A connection over a pipe that holds `pipe` bytes each way, and its peer.
pub(crate) fn connect(
    role: Role,
    config: Config,
    compression: Option<Params>,
    pipe: usize,
) -> (Conn, Peer) {
    let (here, there) = tokio::io::duplex(pipe);
    let negotiated = Negotiated { compression, ..Negotiated::default() };
    let conn = Conn::from_stream(here, role, negotiated, Bytes::new(), config);
    (conn, Peer { io: there, role: other(role), seen: BytesMut::new() })
}

/// The other end of a connection, which sends arbitrary bytes.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) io: DuplexStream,
    pub(crate) role: Role,
    seen: BytesMut,
}

impl Peer {
    pub(crate) async fn send(&mut self, frames: &[Frame]) {
        self.send_bytes(&wire(self.role, frames)).await;
    }

    /// Sends bytes until the stream is closed.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = soon(self.io.write_all(bytes)).await;
    }

    /// The next frame that the connection sends. `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        soon(async {
            loop {
                if let Some(frame) = decode(other(self.role), &mut self.seen) {
                    return Some(frame);
                }
                if self.io.read_buf(&mut self.seen).await.unwrap() == 0 {
                    assert!(self.seen.is_empty(), "half a frame: {:x?}", self.seen);
                    return None;
                }
            }
        })
        .await
    }

    /// All frames that the connection sends until the end of the stream.
    pub(crate) async fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }
}

/// Waits with a timeout. With a paused clock, a hang is detected at once.
///
/// The future is not polled at the timeout, so a missing wake-up is detected.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    tokio::select! {
        biased;
        () = sleep_until(end) => panic!("this hangs"),
        output = future => output,
    }
}

/// Runs a test with a clock that is paused while any task can run.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}
