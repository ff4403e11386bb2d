//! How are the frames of a message reassembled, unmasked and decompressed?

use super::payload_buffer::PayloadBuffer;
use super::{Failure, Mode};
use crate::deflate::Inflater;
use crate::frame::{Header, Mask, mask};
use crate::utf8::Utf8;
use crate::{Limit, MessageType, ProtocolError};

/// How many times the received bytes may be reserved for a payload. A header alone must not
/// allocate the length that it declares.
const MAX_GROWTH: usize = 16;

/// Room behind the end of a payload that is read straight into the message. A read that fills its
/// buffer does not show that the socket is empty; a read with room to spare saves another one.
pub(super) const READ_SLACK: usize = 512;

/// A data frame whose payload is arriving.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartialFrame {
    pub(super) fin: bool,
    pub(super) mask: Option<Mask>,
    /// The number of payload bytes to come.
    pub(super) outstanding: u64,
}

impl PartialFrame {
    /// The number of payload bytes to come, capped at `usize::MAX`.
    pub(super) fn outstanding(&self) -> usize {
        usize::try_from(self.outstanding).unwrap_or(usize::MAX)
    }
}

/// How a message is delivered to the application.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    /// As a message, whole or in pieces.
    Message,
    /// As raw frames. Holds the header of the current frame.
    Frames(Header),
    /// Not at all. It is still checked, and inflated so that later messages can refer to it.
    Discard,
}

/// A message whose end has not arrived.
#[derive(Debug)]
pub(super) struct PartialMessage {
    pub(super) kind: MessageType,
    /// RSV1 was set on its first frame (RFC 7692 §6).
    pub(super) compressed: bool,
    pub(super) delivery: Delivery,
    /// The message size limit that applied when it began.
    pub(super) limit: usize,
    pub(super) fragments: usize,
    /// The frame that is arriving.
    pub(super) frame: Option<PartialFrame>,
    /// The part that has arrived and was not taken: inflated, and valid UTF-8 so far in a text
    /// message.
    pub(super) partial: PayloadBuffer,
    /// The number of bytes taken so far.
    pub(super) delivered: usize,
    pub(super) utf8: Utf8,
}

impl PartialMessage {
    /// Takes the part that has arrived.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.delivered += self.partial.len();
        std::mem::take(&mut self.partial).into_vec()
    }

    /// Whether a raw frame is complete.
    pub(super) fn has_frame(&self) -> bool {
        matches!(self.delivery, Delivery::Frames(_))
            && self.frame.is_some_and(|frame| frame.outstanding == 0)
    }

    pub(super) const fn is_discarded(&self) -> bool {
        matches!(self.delivery, Delivery::Discard)
    }

    /// Whether the payload is inflated into `partial`.
    pub(super) const fn is_inflated(&self) -> bool {
        self.compressed && !matches!(self.delivery, Delivery::Frames(_))
    }

    /// Whether the payload is delivered compressed, and inflated for the window alone.
    pub(super) const fn updates_window(&self) -> bool {
        self.compressed && matches!(self.delivery, Delivery::Frames(_))
    }

    /// Checks the bytes of `partial` from `start` on: UTF-8 and the size limit.
    pub(super) fn check_from(&mut self, start: usize) -> Result<(), Failure> {
        if self.kind == MessageType::Text {
            let fresh = self.partial.get(start..).unwrap_or_default();
            self.utf8.push(fresh).map_err(|_| ProtocolError::TextNotUtf8)?;
        }
        let size = self.delivered.saturating_add(self.partial.len());
        if self.is_discarded() {
            self.delivered = size;
            self.partial.clear();
        }
        check_size(self.limit, size as u64)
    }

    /// The maximum length of `partial` when inflating in one step: at most one byte past the
    /// limit, which shows that the limit was exceeded.
    pub(super) fn begin_inflating(&mut self, mode: Mode) -> usize {
        let left = self.limit.saturating_sub(self.delivered).saturating_add(1);
        match mode {
            Mode::Pieces(max) => left.min(max),
            Mode::Whole => {
                let (len, capacity) = (self.partial.len(), self.partial.capacity());
                let max = left.min(len.saturating_add(INFLATE_CHUNK));
                // At least doubles, so that the steps do not move a long message each time.
                if len >= INFLATE_CHUNK && capacity < max {
                    let larger = capacity.saturating_mul(2).clamp(max, left);
                    self.partial.end().reserve_exact(larger - len);
                }
                max
            }
        }
    }

    /// The maximum length of `partial` when copying the payload of `frame` and those behind it.
    pub(super) fn max_copied(&self, frame: &PartialFrame, mode: Mode) -> usize {
        match mode {
            Mode::Pieces(max) => max,
            Mode::Whole if frame.fin => self.partial.len().saturating_add(frame.outstanding()),
            Mode::Whole => self.limit,
        }
    }

    /// Unmasks a payload and appends it to `partial`. Returns the number of bytes used, and
    /// whether `partial` is full.
    pub(super) fn copy(
        &mut self,
        frame: &PartialFrame,
        payload: &mut [u8],
        mode: Mode,
    ) -> (usize, bool) {
        let room = match mode {
            Mode::Whole => payload.len(),
            Mode::Pieces(max) => max.saturating_sub(self.partial.len()),
        };
        let full = room < payload.len();
        let payload = payload.get_mut(..room.min(payload.len())).unwrap_or_default();
        if let Some(key) = frame.mask {
            mask(payload, key);
        }
        let max = self.max_copied(frame, mode);
        // The rest of the payload is likely to be read straight into `partial`.
        let slack = if payload.len() < frame.outstanding() { READ_SLACK } else { 0 };
        let outstanding = frame.outstanding().saturating_add(slack);
        reserve(&mut self.partial, payload.len(), outstanding, max.saturating_add(slack));
        self.partial.extend_from_slice(payload);
        (payload.len(), full)
    }
}

#[inline]
pub(super) const fn check_size(limit: usize, size: u64) -> Result<(), Failure> {
    if size > limit as u64 {
        return Err(Failure::TooBig { limit, setting: Limit::MessageSize });
    }
    Ok(())
}

/// Reserves room for a payload with `outstanding` bytes to come, of which `available` have
/// arrived. `partial` grows to `max` bytes at most.
pub(super) fn reserve(
    partial: &mut PayloadBuffer,
    available: usize,
    outstanding: usize,
    max: usize,
) {
    let arrived = partial.len().saturating_add(available).max(4 * 1024);
    let room = max.saturating_sub(partial.len());
    let outstanding = outstanding.min(room);
    if partial.capacity() - partial.len() < outstanding.min(arrived) {
        // At least doubles, so that small fragments do not move the message each time.
        let double = partial.len().min(room);
        let additional = outstanding.min(arrived.saturating_mul(MAX_GROWTH)).max(double);
        partial.reserve_exact(additional);
    }
}

/// Unmasks a payload and inflates it into `partial`, up to a length of `max`. Returns the number
/// of bytes used, and whether `partial` is full.
pub(super) fn inflate(
    inflater: Option<&mut Inflater>,
    frame: &PartialFrame,
    payload: &mut [u8],
    partial: &mut Vec<u8>,
    max: usize,
) -> Result<(usize, bool), Failure> {
    let Some(inflater) = inflater else { return Ok((0, false)) };
    let mut used = 0;
    loop {
        let rest = payload.get_mut(used..).unwrap_or_default();
        let step = rest.len().min(INFLATE_STEP);
        let part = rest.get_mut(..step).unwrap_or_default();
        let key = frame.mask.map(|key| key.skip(used));
        if let Some(key) = key {
            mask(part, key);
        }
        let done = inflater.inflate(part, partial, max)?;
        // Unused bytes come again and are unmasked again.
        if let (Some(key), Some(unused)) = (key, part.get_mut(done.consumed..)) {
            mask(unused, key.skip(done.consumed));
        }
        used += done.consumed;
        if done.full || done.consumed < step || used == payload.len() {
            return Ok((used, done.full));
        }
    }
}

/// The number of bytes to unmask at a time before inflating. A few bytes can fill `partial`, and
/// the unused rest has to be masked again.
const INFLATE_STEP: usize = 16 * 1024;

/// Inflates a compressed raw frame so that later messages can refer to it, and drops the output.
/// Returns how many bytes that were.
pub(super) fn update_window(
    inflater: Option<&mut Inflater>,
    payload: &[u8],
) -> Result<usize, Failure> {
    let Some(inflater) = inflater else { return Ok(0) };
    let (mut rest, mut output, mut count) = (payload, Vec::new(), 0);
    loop {
        output.clear();
        let done = inflater.inflate(rest, &mut output, INFLATE_CHUNK)?;
        rest = rest.get(done.consumed..).unwrap_or_default();
        count += output.len();
        if !done.full {
            return Ok(count);
        }
    }
}

/// Ends a message that updated the window.
pub(super) fn end_window(inflater: Option<&mut Inflater>) -> Result<(), Failure> {
    let Some(inflater) = inflater else { return Ok(()) };
    let mut output = Vec::new();
    while inflater.finish(&mut output, INFLATE_CHUNK)? {
        output.clear();
    }
    Ok(())
}

/// The number of bytes of a compressed raw frame to inflate in one step. They may inflate to a
/// thousand times as many.
pub(super) const WINDOW_STEP: usize = 64;

/// The number of bytes that are inflated in one step.
const INFLATE_CHUNK: usize = 64 * 1024;
