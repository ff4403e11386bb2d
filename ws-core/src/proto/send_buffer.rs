//! Which bytes wait to be written, and where may a control frame overtake data?

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use super::send_buffer_cache;
use crate::config::BufferPool;
use crate::frame::{Header, MAX_HEADER, Mask, OpCode, ShortHeader, mask};

/// Payloads up to this length are copied into a batch. Longer ones are queued by reference.
pub(super) const MAX_COPIED: usize = 4 * 1024;

/// The maximum length of a batch of copied frames.
pub(super) const BATCH: usize = 16 * 1024;

/// Frames that wait for the transport, in order.
///
/// Bytes are removed by [`advance`](Self::advance) only, when the transport has taken them. An
/// empty buffer holds no memory: its allocations return to the thread's cache or to its pool.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    /// `None` while no bytes wait.
    queued: Option<Box<QueuedBytes>>,
    pool: Option<BufferPool>,
}

/// Chunks, and behind them the batch that is being filled.
#[derive(Debug, Default)]
pub(super) struct QueuedBytes {
    /// The number of bytes, and of those in control frames that have overtaken data.
    len: usize,
    urgent: usize,
    chunks: VecDeque<Chunk>,
    pub(super) batch: Vec<u8>,
    /// The number of bytes of the first chunk, or of the batch, that have been written.
    written: usize,
}

/// Queued bytes. A chunk other than a payload begins at a frame boundary. A chunk ends at one, except
/// a batch whose last header belongs to the payload chunk behind it.
#[derive(Debug)]
enum Chunk {
    /// Headers with copied payloads.
    Batch(Vec<u8>),
    /// A payload by reference.
    Payload(Bytes),
    /// Control frames that have overtaken data.
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

impl SendBuffer {
    /// An empty buffer that allocates from `pool`, or from the thread's cache.
    pub(super) const fn new(pool: Option<BufferPool>) -> Self {
        Self { queued: None, pool }
    }

    /// The number of bytes that wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queued.as_ref().map_or(0, |queued| queued.len)
    }

    /// Whether no bytes wait.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.queued.is_none()
    }

    /// The number of bytes in control frames that have overtaken data.
    #[inline]
    pub(crate) fn urgent_len(&self) -> usize {
        self.queued.as_ref().map_or(0, |queued| queued.urgent)
    }

    /// Appends a frame. The payload is masked with the key in the header.
    #[inline]
    pub(crate) fn push(&mut self, header: &Header, payload: Bytes) {
        if payload.len() <= MAX_COPIED {
            return self.push_copied(header, &payload);
        }
        self.push_uncopied(header, payload);
    }

    /// Appends a single-frame message. Returns `false` if its payload exceeds [`MAX_COPIED`].
    #[inline]
    pub(crate) fn push_short(&mut self, opcode: OpCode, key: Option<Mask>, payload: &[u8]) -> bool {
        if payload.len() > MAX_COPIED {
            return false;
        }
        let body = self.append_short(&ShortHeader::new(opcode, key, payload.len()), payload);
        if let Some(key) = key {
            mask(body, key);
        }
        true
    }

    /// As [`push_short`](Self::push_short), with an encoded header and without masking.
    #[inline]
    pub(super) fn push_ready(&mut self, header: &ShortHeader, payload: &[u8]) -> bool {
        let is_short = payload.len() <= MAX_COPIED;
        if is_short {
            self.append_short(header, payload);
        }
        is_short
    }

    /// Returns the copy of the payload.
    #[inline(always)]
    fn append_short(&mut self, header: &ShortHeader, payload: &[u8]) -> &mut [u8] {
        let queued = self.room(header.bytes.len() + payload.len());
        let start = queued.batch.len() + usize::from(header.len);
        queued.batch.extend_from_slice(&header.bytes);
        queued.batch.truncate(start);
        queued.batch.extend_from_slice(payload);
        queued.len += usize::from(header.len) + payload.len();
        queued.batch.get_mut(start..).unwrap_or_default()
    }

    /// Appends an encoded frame of which `taken` bytes have been written already.
    #[cold]
    pub(crate) fn push_partial(&mut self, frame: &[u8], taken: usize) {
        let queued = self.room(frame.len());
        queued.batch.extend_from_slice(frame);
        queued.len += frame.len();
        self.advance(taken);
    }

    /// Appends encoded bytes, which may be any. Control frames do not split them.
    pub(crate) fn push_encoded(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.push_chunk(Chunk::Payload(bytes));
        }
    }

    /// The number of bytes left of a frame that has been written in part.
    pub(crate) fn partial_frame_len(&mut self) -> usize {
        let Some(queued) = &mut self.queued else { return 0 };
        if queued.written == 0 && !matches!(queued.chunks.front(), Some(Chunk::Payload(_))) {
            return 0;
        }
        let place = queued.frame_boundary();
        let len = queued.chunks.iter().take(place).map(|chunk| chunk.as_slice().len());
        len.sum::<usize>().saturating_sub(queued.written)
    }

    /// As [`push`](Self::push), for a payload that is shared: `share` clones the reference.
    #[inline]
    pub(crate) fn push_shared(
        &mut self,
        header: &Header,
        payload: &[u8],
        share: impl FnOnce() -> Bytes,
    ) {
        if payload.len() <= MAX_COPIED {
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

    /// Appends a frame with a copied payload. The copy is masked with the key in the header.
    #[inline]
    pub(crate) fn push_copied(&mut self, header: &Header, payload: &[u8]) {
        let queued = self.room(MAX_HEADER + payload.len());
        queued.len += append(&mut queued.batch, header, payload);
    }

    /// Inserts a control frame at the first frame boundary, behind earlier control frames.
    pub(crate) fn push_urgent(&mut self, header: &Header, payload: &[u8]) {
        let queued = self.queued.get_or_insert_with(|| send_buffer_cache::take(self.pool.as_ref()));
        let place = queued.frame_boundary();
        if !matches!(queued.chunks.get(place), Some(Chunk::Control(_))) {
            queued.chunks.insert(place, Chunk::Control(Vec::new()));
        }
        if let Some(Chunk::Control(control)) = queued.chunks.get_mut(place) {
            let added = append(control, header, payload);
            queued.len += added;
            queued.urgent += added;
        }
    }

    /// Drops the data, except a partially written frame. Control frames that have overtaken it stay.
    pub(crate) fn clear_data(&mut self) {
        let Some(queued) = &mut self.queued else { return };
        let place = queued.frame_boundary();
        let keep = match queued.chunks.get(place) {
            Some(Chunk::Control(_)) => place + 1,
            _ => place,
        };
        queued.chunks.truncate(keep);
        queued.batch.clear();
        let len = queued.chunks.iter().map(|chunk| chunk.as_slice().len()).sum::<usize>();
        queued.len = len.saturating_sub(queued.written);
        self.advance(0);
    }

    /// Drops all bytes.
    pub(crate) fn clear(&mut self) {
        self.queued = None;
    }

    /// The waiting bytes, if they are contiguous.
    #[cfg(feature = "conn")]
    #[inline]
    pub(crate) fn single(&self) -> Option<&[u8]> {
        let queued = self.queued.as_ref().filter(|queued| queued.chunks.is_empty())?;
        queued.batch.get(queued.written..)
    }

    /// Fills `slices` with the bytes to write next. Returns the number of slices filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(queued) = &self.queued else { return 0 };
        let batch = Some(&*queued.batch).filter(|batch| !batch.is_empty());
        let pieces = queued.chunks.iter().map(Chunk::as_slice).chain(batch);
        let mut skip = queued.written;
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece.get(skip..).unwrap_or_default());
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Removes the first `count` bytes, which have been written.
    #[inline]
    pub(crate) fn advance(&mut self, count: usize) {
        let Some(queued) = &mut self.queued else { return };
        queued.advance(count);
        if queued.len == 0
            && let Some(queued) = self.queued.take()
        {
            send_buffer_cache::give(self.pool.as_ref(), queued);
        }
    }

    /// The queued bytes, with room for `bytes` more in the batch.
    #[inline]
    fn room(&mut self, bytes: usize) -> &mut QueuedBytes {
        let queued = self.queued.get_or_insert_with(|| send_buffer_cache::take(self.pool.as_ref()));
        if queued.batch.len() + bytes > BATCH {
            queued.seal();
        }
        queued.batch.reserve(bytes);
        queued
    }

    fn push_chunk(&mut self, chunk: Chunk) {
        let queued = self.queued.get_or_insert_with(|| send_buffer_cache::take(self.pool.as_ref()));
        queued.len += chunk.as_slice().len();
        queued.seal();
        queued.chunks.push_back(chunk);
    }
}

impl QueuedBytes {
    /// The approximate size of its allocations in bytes.
    pub(super) fn allocated(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>() + self.batch.capacity()
    }

    /// Turns the batch into a chunk.
    #[cold]
    fn seal(&mut self) {
        if !self.batch.is_empty() {
            self.chunks.push_back(Chunk::Batch(std::mem::take(&mut self.batch)));
        }
    }

    /// Removes the first `count` bytes.
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

    /// Removes bytes from the chunks. Returns the number left to remove from the batch.
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

    /// The index of the chunk at the first frame boundary behind the written bytes. Splits a
    /// batch there.
    fn frame_boundary(&mut self) -> usize {
        if self.written == 0 {
            return usize::from(matches!(
                self.chunks.front(),
                Some(Chunk::Payload(_) | Chunk::Control(_))
            ));
        }
        match self.chunks.front_mut() {
            None => {
                let head = self.batch.drain(..end_of_frame(&self.batch, self.written)).collect();
                self.insert_head(head)
            }
            Some(Chunk::Payload(_) | Chunk::Control(_)) => 1,
            Some(Chunk::Batch(batch)) => {
                let end = end_of_frame(batch, self.written);
                // The payload of the last header is the next chunk.
                if end > batch.len() {
                    return 2;
                }
                let head = batch.drain(..end).collect();
                if batch.is_empty() {
                    self.chunks.pop_front();
                }
                self.insert_head(head)
            }
        }
    }

    /// Inserts the head of a split batch. Returns the index of the rest.
    fn insert_head(&mut self, head: Vec<u8>) -> usize {
        if head.len() == self.written {
            // All of it is written. It would be an empty slice.
            self.written = 0;
            return 0;
        }
        self.chunks.push_front(Chunk::Batch(head));
        1
    }
}

/// Appends a frame to `bytes`. Returns its length.
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

/// Masks a payload, in place if the reference is the only one.
fn masked(payload: Bytes, key: Mask) -> Bytes {
    let mut payload = match payload.try_into_mut() {
        Ok(ours) => ours,
        Err(shared) => BytesMut::from(&*shared),
    };
    mask(&mut payload, key);
    payload.freeze()
}

/// The end of the frame that the byte before `written` belongs to. A batch holds well-formed
/// frames only, so their headers can be followed.
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

    fn frame(buffer: &mut SendBuffer, payload: &[u8]) {
        let header = Header::new(true, OpCode::BINARY, payload.len() as u64);
        buffer.push(&header, Bytes::copy_from_slice(payload));
    }

    fn ping(buffer: &mut SendBuffer, payload: &[u8]) {
        let header = Header::new(true, OpCode::PING, payload.len() as u64);
        buffer.push_urgent(&header, payload);
    }

    fn drain(buffer: &mut SendBuffer, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !buffer.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = buffer.slices(&mut slices);
            let taken: Vec<u8> =
                slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
            buffer.advance(taken.len());
            out.extend(taken);
        }
        out
    }

    #[test]
    fn a_control_frame_overtakes_at_the_first_frame_boundary() {
        let frames = b"\x82\x01a\x82\x02bc\x82\x01d";
        for (written, expected) in [
            (0, &b"\x89\x01!\x82\x01a\x82\x02bc\x82\x01d"[..]),
            (1, b"\x82\x01a\x89\x01!\x82\x02bc\x82\x01d"),
            (3, b"\x82\x01a\x89\x01!\x82\x02bc\x82\x01d"),
            (4, b"\x82\x01a\x82\x02bc\x89\x01!\x82\x01d"),
            (9, b"\x82\x01a\x82\x02bc\x82\x01d\x89\x01!"),
        ] {
            let mut buffer = SendBuffer::default();
            for payload in [&b"a"[..], b"bc", b"d"] {
                frame(&mut buffer, payload);
            }
            buffer.advance(written);
            ping(&mut buffer, b"!");
            let mut out = frames[..written].to_vec();
            out.extend(drain(&mut buffer, 2));
            assert_eq!(out, expected, "{written}");
        }
    }

    #[test]
    fn a_control_frame_does_not_split_a_payload_chunk() {
        let long = vec![b'x'; MAX_COPIED + 1];
        for written in [1, 4, 5, 100, MAX_COPIED] {
            let mut buffer = SendBuffer::default();
            frame(&mut buffer, &long);
            frame(&mut buffer, b"y");
            buffer.advance(written);
            ping(&mut buffer, b"1");
            ping(&mut buffer, b"2");
            let out = drain(&mut buffer, 1000);
            let tail = b"x\x89\x011\x89\x012\x82\x01y";
            assert!(out.ends_with(tail), "{written}");
        }
    }

    #[test]
    fn control_frames_keep_their_order() {
        let mut buffer = SendBuffer::default();
        frame(&mut buffer, b"a");
        ping(&mut buffer, b"1");
        ping(&mut buffer, b"2");
        buffer.advance(1);
        ping(&mut buffer, b"3");
        assert_eq!(drain(&mut buffer, 3), b"\x01\x31\x89\x01\x32\x89\x01\x33\x82\x01a");
    }

    #[test]
    fn only_waiting_control_bytes_count_as_urgent() {
        let mut buffer = SendBuffer::default();
        frame(&mut buffer, b"ab");
        ping(&mut buffer, b"1");
        buffer.advance(1);
        assert_eq!(buffer.urgent_len(), 2);
        ping(&mut buffer, b"22");
        assert_eq!(buffer.urgent_len(), 6);
        buffer.advance(4);
        assert_eq!(buffer.urgent_len(), 2);
        buffer.advance(2);
        assert_eq!((buffer.urgent_len(), buffer.len()), (0, 4));
    }

    #[test]
    fn clearing_data_keeps_a_partially_written_frame() {
        let mut buffer = SendBuffer::default();
        frame(&mut buffer, b"ab");
        frame(&mut buffer, b"cd");
        buffer.advance(1);
        ping(&mut buffer, b"!");
        buffer.clear_data();
        assert_eq!(buffer.len(), 6);
        assert_eq!(drain(&mut buffer, 9), b"\x02ab\x89\x01!");
    }
}
