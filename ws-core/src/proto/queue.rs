//! Which bytes wait to be written, and where may a control frame pass them?

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use super::{ShortHeader, spare};
use crate::config::BufferPool;
use crate::frame::{Header, MAX_HEADER, Mask, OpCode, mask};

/// Payloads up to this length are copied behind each other; longer ones go as they
/// are.
pub(super) const COPIED: usize = 4 * 1024;

/// How long a run of copied frames may become.
pub(super) const BATCH: usize = 16 * 1024;

/// Frames that wait for the transport, in order.
///
/// Bytes leave only by [`advance`](Self::advance), when the transport has taken them.
/// An empty queue holds no memory: what it used goes back to its thread, or to its pool.
#[derive(Debug, Default)]
pub struct Queue {
    /// Present while anything waits.
    waiting: Option<Box<Waiting>>,
    pool: Option<BufferPool>,
}

/// What waits: some chunks, and behind them the batch that grows.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// How many bytes wait, and how many of them are control frames that overtook.
    len: usize,
    urgent: usize,
    chunks: VecDeque<Chunk>,
    pub(super) batch: Vec<u8>,
    /// How much of the first of them has been written.
    written: usize,
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
    #[inline]
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Batch(bytes) | Self::Control(bytes) => bytes,
            Self::Payload(bytes) => bytes,
        }
    }
}

impl Queue {
    /// An empty queue whose buffers are those of a pool, if there is one.
    pub(super) const fn new(pool: Option<BufferPool>) -> Self {
        Self { waiting: None, pool }
    }

    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.len)
    }

    /// Is there nothing to write?
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    /// How many control bytes wait that overtook.
    #[inline]
    pub fn urgent_len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.urgent)
    }

    /// Adds a frame at the end, masked if its header says so.
    #[inline]
    pub fn push(&mut self, header: &Header, payload: Bytes) {
        if payload.len() <= COPIED {
            return self.push_copied(header, &payload);
        }
        self.push_uncopied(header, payload);
    }

    /// Adds a frame at the end that is a whole message, as it is, unless that is long.
    #[inline]
    pub fn push_short(&mut self, opcode: OpCode, key: Option<Mask>, payload: &[u8]) -> bool {
        if payload.len() > COPIED {
            return false;
        }
        let body = self.append_short(&ShortHeader::new(opcode, key, payload.len()), payload);
        if let Some(key) = key {
            mask(body, key);
        }
        true
    }

    /// The same, of one that many get, unmasked.
    #[inline]
    pub(super) fn push_ready(&mut self, header: &ShortHeader, payload: &[u8]) -> bool {
        let is_short = payload.len() <= COPIED;
        if is_short {
            self.append_short(header, payload);
        }
        is_short
    }

    /// Gives the payload as it is added.
    #[inline(always)]
    fn append_short(&mut self, header: &ShortHeader, payload: &[u8]) -> &mut [u8] {
        let waiting = self.room(header.bytes.len() + payload.len());
        let start = waiting.batch.len() + usize::from(header.len);
        waiting.batch.extend_from_slice(&header.bytes);
        waiting.batch.truncate(start);
        waiting.batch.extend_from_slice(payload);
        waiting.len += usize::from(header.len) + payload.len();
        waiting.batch.get_mut(start..).unwrap_or_default()
    }

    /// Adds a frame as it goes over the wire, of which `taken` bytes have left already.
    #[cold]
    pub fn push_begun(&mut self, frame: &[u8], taken: usize) {
        let waiting = self.room(frame.len());
        waiting.batch.extend_from_slice(frame);
        waiting.len += frame.len();
        self.advance(taken);
    }

    /// Adds bytes at the end, as they are: what they say is up to who made them. No control
    /// frame passes in the middle of them.
    pub fn push_as_is(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.push_chunk(Chunk::Payload(bytes));
        }
    }

    /// How many bytes are left of a frame that the transport has begun to take.
    pub fn partial_frame_len(&mut self) -> usize {
        let Some(waiting) = &mut self.waiting else { return 0 };
        if waiting.written == 0 && !matches!(waiting.chunks.front(), Some(Chunk::Payload(_))) {
            return 0;
        }
        let place = waiting.first_boundary();
        let len = waiting.chunks.iter().take(place).map(|chunk| chunk.as_slice().len());
        len.sum::<usize>().saturating_sub(waiting.written)
    }

    /// As [`push`](Self::push), of a payload that others hold too: `share` gives it to
    /// one more.
    #[inline]
    pub fn push_shared(&mut self, header: &Header, payload: &[u8], share: impl FnOnce() -> Bytes) {
        if payload.len() <= COPIED {
            return self.push_copied(header, payload);
        }
        self.push_uncopied(header, share());
    }

    fn push_uncopied(&mut self, header: &Header, payload: Bytes) {
        let payload = match header.mask {
            None => payload,
            Some(key) => masked(payload, key),
        };
        self.push_copied(header, &[]);
        self.push_chunk(Chunk::Payload(payload));
    }

    /// Adds a frame at the end whose payload is copied, and masked if its header says
    /// so.
    #[inline]
    pub fn push_copied(&mut self, header: &Header, payload: &[u8]) {
        let waiting = self.room(MAX_HEADER + payload.len());
        waiting.len += append(&mut waiting.batch, header, payload);
    }

    /// Adds a control frame at the first place where a frame may begin, behind other
    /// control frames that overtook before.
    pub fn push_urgent(&mut self, header: &Header, payload: &[u8]) {
        let waiting = self.waiting.get_or_insert_with(|| spare::take(self.pool.as_ref()));
        let place = waiting.first_boundary();
        if !matches!(waiting.chunks.get(place), Some(Chunk::Control(_))) {
            waiting.chunks.insert(place, Chunk::Control(Vec::new()));
        }
        if let Some(Chunk::Control(control)) = waiting.chunks.get_mut(place) {
            let added = append(control, header, payload);
            waiting.len += added;
            waiting.urgent += added;
        }
    }

    /// Drops what waits, but for the frame that the transport has begun to take and
    /// the control frames that overtook.
    pub fn clear_data(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        let place = waiting.first_boundary();
        let keep = match waiting.chunks.get(place) {
            Some(Chunk::Control(_)) => place + 1,
            _ => place,
        };
        waiting.chunks.truncate(keep);
        waiting.batch.clear();
        let len = waiting.chunks.iter().map(|chunk| chunk.as_slice().len()).sum::<usize>();
        waiting.len = len.saturating_sub(waiting.written);
        self.advance(0);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.waiting = None;
    }

    /// What waits, if it lies in one piece.
    #[inline]
    pub fn single(&self) -> Option<&[u8]> {
        let waiting = self.waiting.as_ref().filter(|waiting| waiting.chunks.is_empty())?;
        waiting.batch.get(waiting.written..)
    }

    /// Fills `slices` with what comes next, and says how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(waiting) = &self.waiting else { return 0 };
        let batch = Some(&*waiting.batch).filter(|batch| !batch.is_empty());
        let pieces = waiting.chunks.iter().map(Chunk::as_slice).chain(batch);
        let mut skip = waiting.written;
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece.get(skip..).unwrap_or_default());
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Drops the first `count` bytes, which have been written.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        let Some(waiting) = &mut self.waiting else { return };
        waiting.advance(count);
        if waiting.len == 0
            && let Some(waiting) = self.waiting.take()
        {
            spare::give(self.pool.as_ref(), waiting);
        }
    }

    /// What waits, with room in the batch that grows for so many more bytes.
    #[inline]
    fn room(&mut self, bytes: usize) -> &mut Waiting {
        let waiting = self.waiting.get_or_insert_with(|| spare::take(self.pool.as_ref()));
        if waiting.batch.len() + bytes > BATCH {
            waiting.seal();
        }
        waiting.batch.reserve(bytes);
        waiting
    }

    fn push_chunk(&mut self, chunk: Chunk) {
        let waiting = self.waiting.get_or_insert_with(|| spare::take(self.pool.as_ref()));
        waiting.len += chunk.as_slice().len();
        waiting.seal();
        waiting.chunks.push_back(chunk);
    }
}

impl Waiting {
    /// About how much memory it holds.
    pub(super) fn weight(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>() + self.batch.capacity()
    }

    /// Makes a chunk of the batch, which grows no more.
    #[cold]
    fn seal(&mut self) {
        if !self.batch.is_empty() {
            self.chunks.push_back(Chunk::Batch(std::mem::take(&mut self.batch)));
        }
    }

    /// Drops the first `count` bytes.
    #[inline]
    fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
        let count = if self.chunks.is_empty() { count } else { self.advance_chunks(count) };
        if self.chunks.is_empty() {
            self.written += count;
            if self.written >= self.batch.len() {
                self.batch.clear();
                self.written = 0;
            }
        }
    }

    /// Goes through the chunks, and says what is left to drop behind them.
    fn advance_chunks(&mut self, mut count: usize) -> usize {
        while let Some(first) = self.chunks.front() {
            let left = first.as_slice().len() - self.written;
            let taken = count.min(left);
            if let Chunk::Control(_) = first {
                self.urgent -= taken;
            }
            if taken < left {
                self.written += taken;
                return 0;
            }
            count -= taken;
            self.written = 0;
            self.chunks.pop_front();
        }
        count
    }

    /// The chunk before which the first frame begins of which nothing was written;
    /// a batch is cut there.
    fn first_boundary(&mut self) -> usize {
        if self.written == 0 {
            return usize::from(matches!(
                self.chunks.front(),
                Some(Chunk::Payload(_) | Chunk::Control(_))
            ));
        }
        match self.chunks.front_mut() {
            None => {
                let head = self.batch.drain(..end_of_frame(&self.batch, self.written)).collect();
                self.place_cut(head)
            }
            Some(Chunk::Payload(_) | Chunk::Control(_)) => 1,
            Some(Chunk::Batch(batch)) => {
                let end = end_of_frame(batch, self.written);
                // The last header is followed by a payload of its own chunk.
                if end > batch.len() {
                    return 2;
                }
                let head = batch.drain(..end).collect();
                if batch.is_empty() {
                    self.chunks.pop_front();
                }
                self.place_cut(head)
            }
        }
    }

    /// Puts what was cut off before the rest, and says which chunk the rest is.
    fn place_cut(&mut self, head: Vec<u8>) -> usize {
        if head.len() == self.written {
            // Nothing of it waits: it would be an empty slice.
            self.written = 0;
            return 0;
        }
        self.chunks.push_front(Chunk::Batch(head));
        1
    }
}

/// Adds a frame to `bytes`, and says how long it is.
#[inline]
fn append(bytes: &mut Vec<u8>, header: &Header, payload: &[u8]) -> usize {
    let start = bytes.len();
    header.encode().append_to(bytes);
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
