//! Which bytes wait to be written, and where may a control frame pass them?

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use crate::frame::{Header, MAX_HEADER, Mask, mask};

/// Payloads up to this length are copied behind each other; longer ones go as they
/// are.
const COPIED: usize = 4 * 1024;

/// How long a run of copied frames may become.
const BATCH: usize = 16 * 1024;

/// Frames that wait for the transport, in order.
///
/// Bytes leave only by [`advance`](Self::advance), when the transport has taken them.
#[derive(Debug, Default)]
pub struct Queue {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk has been written.
    written: usize,
    /// How many bytes wait, and how many of them are control frames that overtook.
    len: usize,
    urgent: usize,
}

/// Every chunk but a payload begins with a frame; every chunk ends with one, but for
/// a batch that a payload follows, whose last header is that payload's.
#[derive(Debug)]
enum Chunk {
    /// Headers, with the payloads that were copied behind them.
    Batch(Vec<u8>),
    /// A payload that was not copied.
    Payload(Bytes),
    /// Control frames that overtook.
    Control(Vec<u8>),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Batch(bytes) | Self::Control(bytes) => bytes,
            Self::Payload(bytes) => bytes,
        }
    }
}

impl Queue {
    /// How many bytes wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Is there nothing to write?
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a frame at the end, masked if its header says so.
    #[inline]
    pub fn push(&mut self, header: &Header, payload: Bytes) {
        if payload.len() > COPIED {
            let payload = match header.mask {
                None => payload,
                Some(key) => masked(payload, key),
            };
            self.push_copied(header, &[]);
            self.len += payload.len();
            self.chunks.push_back(Chunk::Payload(payload));
        } else {
            self.push_copied(header, &payload);
        }
    }

    /// Adds a frame at the end whose payload is copied, and masked if its header says
    /// so.
    #[inline]
    pub fn push_copied(&mut self, header: &Header, payload: &[u8]) {
        let frame = MAX_HEADER + payload.len();
        let batch = match self.chunks.back_mut() {
            Some(Chunk::Batch(batch)) if batch.len() + frame <= BATCH => batch,
            _ => {
                self.chunks.push_back(Chunk::Batch(Vec::with_capacity(frame.max(256))));
                let Some(Chunk::Batch(batch)) = self.chunks.back_mut() else { return };
                batch
            }
        };
        self.len += append(batch, header, payload);
    }

    /// Adds a control frame at the first place where a frame may begin, behind other
    /// control frames that overtook before.
    pub fn push_urgent(&mut self, header: &Header, payload: &[u8]) {
        let place = self.first_boundary();
        if !matches!(self.chunks.get(place), Some(Chunk::Control(_))) {
            self.chunks.insert(place, Chunk::Control(Vec::new()));
        }
        if let Some(Chunk::Control(control)) = self.chunks.get_mut(place) {
            let added = append(control, header, payload);
            self.len += added;
            self.urgent += added;
        }
    }

    /// Drops what waits, but for the frame that the transport has begun to take and
    /// the control frames that overtook.
    pub fn clear_data(&mut self) {
        let place = self.first_boundary();
        let keep = match self.chunks.get(place) {
            Some(Chunk::Control(_)) => place + 1,
            _ => place,
        };
        self.chunks.truncate(keep);
        self.len = self.chunks.iter().map(|chunk| chunk.as_slice().len()).sum::<usize>();
        self.len = self.len.saturating_sub(self.written);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Fills `slices` with what comes next, and says how many it filled.
    #[inline]
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk.as_slice().get(skip..).unwrap_or_default());
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Drops the first `count` bytes, which have been written.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
        let mut left = count;
        while let Some(first) = self.chunks.front() {
            let waiting = first.as_slice().len() - self.written;
            let taken = left.min(waiting);
            if let Chunk::Control(_) = first {
                self.urgent -= taken;
            }
            if taken < waiting {
                self.written += taken;
                return;
            }
            left -= taken;
            self.written = 0;
            self.chunks.pop_front();
        }
        if self.chunks.capacity() > 8 {
            self.chunks = VecDeque::new();
        }
    }

    /// How many control bytes wait that overtook.
    pub const fn urgent_len(&self) -> usize {
        self.urgent
    }

    /// The chunk before which the first frame begins of which nothing was written;
    /// a batch is cut there.
    fn first_boundary(&mut self) -> usize {
        match self.chunks.front() {
            None => 0,
            Some(Chunk::Payload(_) | Chunk::Control(_)) => 1,
            Some(Chunk::Batch(_)) if self.written == 0 => 0,
            Some(Chunk::Batch(batch)) => {
                let end = end_of_frame(batch, self.written);
                // The last header is followed by a payload of its own chunk.
                if end > batch.len() {
                    return 2;
                }
                self.cut_first(end)
            }
        }
    }

    /// Cuts the first batch in two, and says which chunk the second part is.
    fn cut_first(&mut self, at: usize) -> usize {
        if let Some(Chunk::Batch(batch)) = self.chunks.front_mut()
            && at < batch.len()
        {
            let rest = batch.split_off(at);
            // Nothing of the first part waits: it would be an empty slice.
            if at == self.written {
                *batch = rest;
                self.written = 0;
                return 0;
            }
            self.chunks.insert(1, Chunk::Batch(rest));
        }
        1
    }
}

/// Adds a frame to `bytes`, and says how long it is.
#[inline]
fn append(bytes: &mut Vec<u8>, header: &Header, payload: &[u8]) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(header.encode().as_slice());
    let body = bytes.len();
    bytes.extend_from_slice(payload);
    if let Some(key) = header.mask {
        mask(bytes.get_mut(body..).unwrap_or_default(), key);
    }
    bytes.len() - start
}

/// Masks a payload, in place if nobody else holds it.
fn masked(payload: Bytes, key: Mask) -> Bytes {
    let mut payload = match payload.try_into_mut() {
        Ok(ours) => ours,
        Err(shared) => BytesMut::from(&*shared),
    };
    mask(&mut payload, key);
    payload.freeze()
}

/// Where the frame ends that the byte before `written` belongs to. Only our own
/// frames stand in `batch`, so their headers can be followed.
fn end_of_frame(batch: &[u8], written: usize) -> usize {
    let mut end = 0;
    while end < written {
        let Some((header, head)) = batch.get(end..).and_then(Header::decode) else {
            return batch.len();
        };
        end += head + header.len as usize;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::OpCode;

    fn frame(queue: &mut Queue, payload: &[u8]) {
        let header = Header::new(true, OpCode::BINARY, payload.len() as u64);
        queue.push(&header, Bytes::copy_from_slice(payload));
    }

    fn ping(queue: &mut Queue, payload: &[u8]) {
        let header = Header::new(true, OpCode::PING, payload.len() as u64);
        queue.push_urgent(&header, payload);
    }

    fn drain(queue: &mut Queue, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = queue.slices(&mut slices);
            let taken: Vec<u8> =
                slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
            queue.advance(taken.len());
            out.extend(taken);
        }
        out
    }

    #[test]
    fn a_control_frame_passes_at_the_first_boundary() {
        let frames = b"\x82\x01a\x82\x02bc\x82\x01d";
        for (written, expected) in [
            (0, &b"\x89\x01!\x82\x01a\x82\x02bc\x82\x01d"[..]),
            (1, b"\x82\x01a\x89\x01!\x82\x02bc\x82\x01d"),
            (3, b"\x82\x01a\x89\x01!\x82\x02bc\x82\x01d"),
            (4, b"\x82\x01a\x82\x02bc\x89\x01!\x82\x01d"),
            (9, b"\x82\x01a\x82\x02bc\x82\x01d\x89\x01!"),
        ] {
            let mut queue = Queue::default();
            for payload in [&b"a"[..], b"bc", b"d"] {
                frame(&mut queue, payload);
            }
            queue.advance(written);
            ping(&mut queue, b"!");
            let mut out = frames[..written].to_vec();
            out.extend(drain(&mut queue, 2));
            assert_eq!(out, expected, "{written}");
        }
    }

    #[test]
    fn a_control_frame_does_not_cut_a_payload_of_its_own_chunk() {
        let long = vec![b'x'; COPIED + 1];
        for written in [1, 4, 5, 100, COPIED] {
            let mut queue = Queue::default();
            frame(&mut queue, &long);
            frame(&mut queue, b"y");
            queue.advance(written);
            ping(&mut queue, b"1");
            ping(&mut queue, b"2");
            let out = drain(&mut queue, 1000);
            let tail = b"x\x89\x011\x89\x012\x82\x01y";
            assert!(out.ends_with(tail), "{written}");
        }
    }

    #[test]
    fn control_frames_keep_their_order() {
        let mut queue = Queue::default();
        frame(&mut queue, b"a");
        ping(&mut queue, b"1");
        ping(&mut queue, b"2");
        queue.advance(1);
        ping(&mut queue, b"3");
        assert_eq!(drain(&mut queue, 3), b"\x01\x31\x89\x01\x32\x89\x01\x33\x82\x01a");
    }

    #[test]
    fn only_control_bytes_that_wait_are_counted_as_urgent() {
        let mut queue = Queue::default();
        frame(&mut queue, b"ab");
        ping(&mut queue, b"1");
        queue.advance(1);
        assert_eq!(queue.urgent_len(), 2);
        ping(&mut queue, b"22");
        assert_eq!(queue.urgent_len(), 6);
        queue.advance(4);
        assert_eq!(queue.urgent_len(), 2);
        queue.advance(2);
        assert_eq!((queue.urgent_len(), queue.len()), (0, 4));
    }

    #[test]
    fn clearing_data_keeps_the_frame_that_has_begun() {
        let mut queue = Queue::default();
        frame(&mut queue, b"ab");
        frame(&mut queue, b"cd");
        queue.advance(1);
        ping(&mut queue, b"!");
        queue.clear_data();
        assert_eq!(queue.len(), 6);
        assert_eq!(drain(&mut queue, 9), b"\x02ab\x89\x01!");
    }
}
