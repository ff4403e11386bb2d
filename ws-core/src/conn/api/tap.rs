//! How are the frames on the wire shown to the application?
//!
//! A tap wraps the transport and parses the bytes that pass, so it shows what is read and
//! written, in that order. It changes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conn::driver::connection::Connection;
use crate::conn::driver::transport::{self, Stream};
use crate::frame::{Header, MAX_HEADER, Mask, mask};

/// A frame, or a piece of one, that passes a tap. See [`Frames::tap`](crate::conn::Frames::tap).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Tapped<'a> {
    /// Whether it is received or sent.
    pub direction: Direction,
    /// The header of the frame.
    pub header: &'a Header,
    /// How many bytes of the payload were in earlier pieces.
    pub offset: u64,
    /// The next piece of the payload: unmasked, and still compressed.
    pub payload: &'a [u8],
}

/// Whether a frame is received or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

impl Tapped<'_> {
    /// Whether this piece ends the frame.
    pub const fn is_end(&self) -> bool {
        self.offset.saturating_add(self.payload.len() as u64) >= self.header.len
    }
}

type Tell = dyn Fn(Tapped<'_>) + Send + Sync;

/// Taps the transport of a connection. See [`Frames::tap`](crate::conn::Frames::tap).
pub(crate) fn begin(connection: &Connection, tell: impl Fn(Tapped<'_>) + Send + Sync + 'static) {
    let mut reader = connection.reader.lock();
    let mut writer = connection.writer.lock();
    let Some(read) = reader.io.take() else { return };
    let tell: Arc<Tell> = Arc::new(tell);
    let mut incoming = FrameParser::behind(Direction::In, reader.inbound.bytes_needed());
    // What was read and is not consumed yet.
    incoming.see(reader.input(), &*tell);
    let begun = writer.outbound.partial_frame_len();
    let outgoing = FrameParser::behind(Direction::Out, begun as u64);
    let tap =
        |stream| -> Box<dyn Stream> { Box::new(TappedStream { stream, incoming, outgoing, tell }) };
    let mut wrapped = None;
    writer.map_io(|write| {
        let (read, write) = transport::wrap(read, write, tap);
        wrapped = Some(read);
        write
    });
    reader.io = wrapped;
}

/// A stream whose bytes are shown as they pass.
struct TappedStream {
    stream: Box<dyn Stream>,
    incoming: FrameParser,
    outgoing: FrameParser,
    tell: Arc<Tell>,
}

impl AsyncRead for TappedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.incoming.see(buf.filled().get(before..).unwrap_or_default(), &*this.tell);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TappedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.outgoing.see(bytes.get(..written).unwrap_or_default(), &*this.tell);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        let mut rest = written;
        for slice in slices {
            let taken = rest.min(slice.len());
            this.outgoing.see(slice.get(..taken).unwrap_or_default(), &*this.tell);
            rest -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Parses the frames in a stream of bytes.
struct FrameParser {
    direction: Direction,
    /// How many bytes remain of a frame that had begun before the tap.
    skip: u64,
    /// A header that has not arrived whole.
    head: Vec<u8>,
    open: Option<OpenTapFrame>,
}

/// A frame that is passing.
struct OpenTapFrame {
    header: Header,
    mask: Option<Mask>,
    offset: u64,
}

/// How many bytes are unmasked at a time.
const PIECE: usize = 4 * 1024;

impl FrameParser {
    const fn behind(direction: Direction, skip: u64) -> Self {
        Self { direction, skip, head: Vec::new(), open: None }
    }

    fn see(&mut self, bytes: &[u8], tell: &Tell) {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        let mut rest = bytes.get(skipped as usize..).unwrap_or_default();
        while !rest.is_empty() {
            rest = match &mut self.open {
                Some(open) => {
                    let left = open.header.len.saturating_sub(open.offset);
                    let piece = left.min(rest.len().min(PIECE) as u64) as usize;
                    let (payload, behind) = rest.split_at(piece);
                    open.show(self.direction, payload, tell);
                    behind
                }
                None => self.see_head(rest, tell),
            };
            if self.open.as_ref().is_some_and(|open| open.offset >= open.header.len) {
                self.open = None;
            }
        }
    }

    /// Looks for a header, and returns what comes after it.
    fn see_head<'a>(&mut self, rest: &'a [u8], tell: &Tell) -> &'a [u8] {
        let before = self.head.len();
        let more = rest.len().min(MAX_HEADER - before.min(MAX_HEADER));
        self.head.extend_from_slice(rest.get(..more).unwrap_or_default());
        let Some((header, taken)) = Header::decode(&self.head) else { return &[] };
        self.head.clear();
        let open = self.open.insert(OpenTapFrame { header, mask: header.mask, offset: 0 });
        let behind = rest.get(taken.saturating_sub(before)..).unwrap_or_default();
        if header.len == 0 || behind.is_empty() {
            open.show(self.direction, &[], tell);
        }
        behind
    }
}

impl OpenTapFrame {
    fn show(&mut self, direction: Direction, payload: &[u8], tell: &Tell) {
        let mut plain = Vec::new();
        let payload = match self.mask {
            None => payload,
            Some(key) => {
                plain.extend_from_slice(payload);
                self.mask = Some(mask(&mut plain, key));
                &plain
            }
        };
        tell(Tapped { direction, header: &self.header, offset: self.offset, payload });
        self.offset = self.offset.saturating_add(payload.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Frame, OpCode};

    /// The frames that are shown for bytes that come in these pieces.
    fn shown(skip: u64, pieces: &[&[u8]]) -> Vec<(Header, Vec<u8>)> {
        let seen = Arc::new(Mutex::new(Vec::<(Header, Vec<u8>)>::new()));
        let mut parser = FrameParser::behind(Direction::In, skip);
        let list = Arc::clone(&seen);
        let tell = move |frame: Tapped<'_>| {
            let mut seen = list.lock().unwrap();
            if frame.offset == 0
                && !seen.last().is_some_and(|(header, payload)| {
                    payload.is_empty() && header == frame.header && header.len > 0
                })
            {
                seen.push((*frame.header, Vec::new()));
            }
            let (_, payload) = seen.last_mut().unwrap();
            assert_eq!(payload.len() as u64, frame.offset);
            payload.extend_from_slice(frame.payload);
            assert_eq!(frame.is_end(), payload.len() as u64 == frame.header.len);
        };
        for piece in pieces {
            parser.see(piece, &tell);
        }
        let seen = seen.lock().unwrap();
        seen.clone()
    }

    #[test]
    fn a_frame_that_began_before_the_tap_is_not_shown() {
        let wire = [b"rest".to_vec(), Frame::text("x").encode()].concat();
        for cut in 0..wire.len() {
            let (a, b) = wire.split_at(cut);
            let seen = shown(4, &[a, b]);
            assert_eq!(seen.len(), 1, "cut at {cut}");
            assert_eq!(seen[0].1, b"x");
        }
    }

    proptest! {
        #[test]
        fn every_frame_is_shown_in_any_pieces(
            frames in prop::collection::vec(
                (any::<u8>(), any::<Option<[u8; 4]>>(), prop_oneof![0..4usize, 100..140usize, 9000..9010usize]),
                1..6,
            ),
            step in prop_oneof![1..20usize, 5000..5001usize, Just(1_000_000)],
        ) {
            let frames: Vec<Frame> = frames
                .into_iter()
                .map(|(bits, key, len)| {
                    let frame = Frame::new(OpCode::from_u8(bits), vec![bits; len]).fin(bits & 0x80 != 0);
                    match key {
                        Some(key) => frame.masked_with(key),
                        None => frame.unmasked(),
                    }
                })
                .collect();
            let wire: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            let seen = shown(0, &wire.chunks(step).collect::<Vec<_>>());
            let expected: Vec<_> =
                frames.iter().map(|frame| (*frame.header(), frame.payload().to_vec())).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
