//! How does a payload become part of a message?

use super::{Fault, Mode};
use crate::deflate::Inflater;
use crate::frame::{Mask, mask};
use crate::utf8::Utf8;
use crate::{Limit, MessageType, ProtocolError};

/// Room that is made for a payload, in multiples of what has arrived of it: a
/// header alone must not make us reserve what it claims.
const GROWTH: usize = 16;

/// A data frame whose payload is arriving.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFrame {
    pub(super) fin: bool,
    pub(super) mask: Option<Mask>,
    pub(super) missing: u64,
}

impl OpenFrame {
    /// How many bytes are missing, as far as a length in memory can tell.
    pub(super) fn missing(&self) -> usize {
        usize::try_from(self.missing).unwrap_or(usize::MAX)
    }
}

/// A message whose end has not come yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenMessage {
    pub(super) kind: MessageType,
    pub(super) compressed: bool,
    pub(super) discard: bool,
    /// The limit that held when it began.
    pub(super) limit: Option<usize>,
    pub(super) fragments: usize,
    /// What has left `partial` already.
    pub(super) taken: usize,
    pub(super) utf8: Utf8,
}

/// How long `partial` may become by inflating: one byte past the limit, which shows
/// that it was crossed.
pub(super) fn most_inflated(message: &OpenMessage, mode: Mode) -> usize {
    let limit = message.limit.unwrap_or(usize::MAX);
    let left = limit.saturating_sub(message.taken).saturating_add(1);
    match mode {
        Mode::Pieces(most) => left.min(most),
        Mode::Whole => left,
    }
}

#[inline]
pub(super) fn check_size(limit: Option<usize>, size: u64) -> Result<(), Fault> {
    match limit {
        Some(limit) if size > limit as u64 => {
            Err(Fault::TooBig { limit, setting: Limit::MessageSize })
        }
        _ => Ok(()),
    }
}

pub(super) fn check_text(message: &mut Option<OpenMessage>, fresh: &[u8]) -> Result<(), Fault> {
    match message {
        Some(message) if message.kind == MessageType::Text => {
            message.utf8.push(fresh).map_err(|_| ProtocolError::TextNotUtf8.into())
        }
        _ => Ok(()),
    }
}

/// How long `partial` may become by copying the payload of a frame, and by what comes
/// behind it.
pub(super) fn most_copied(
    frame: &OpenFrame,
    message: &OpenMessage,
    mode: Mode,
    partial: &[u8],
) -> usize {
    match mode {
        Mode::Pieces(most) => most,
        Mode::Whole if frame.fin => partial.len().saturating_add(frame.missing()),
        Mode::Whole => message.limit.unwrap_or(usize::MAX),
    }
}

/// Makes room for `here` bytes of a payload of which `missing` are to come, so that
/// `partial` need not hold more than `most`.
pub(super) fn grow(partial: &mut Vec<u8>, here: usize, missing: usize, most: usize) {
    let arrived = partial.len().saturating_add(here).max(4 * 1024);
    let room = most.saturating_sub(partial.len());
    let missing = missing.min(room);
    if partial.capacity() - partial.len() < missing.min(arrived) {
        // At least as much again: small fragments must not move what is there each time.
        let again = partial.len().min(room);
        partial.reserve_exact(missing.min(arrived.saturating_mul(GROWTH)).max(again));
    }
}

/// Unmasks a payload and adds it to `partial`, with how much of it was used and
/// whether the room is full.
pub(super) fn copy(
    frame: &OpenFrame,
    message: &OpenMessage,
    payload: &mut [u8],
    partial: &mut Vec<u8>,
    mode: Mode,
) -> (usize, bool) {
    let room = match mode {
        Mode::Whole => payload.len(),
        Mode::Pieces(most) => most.saturating_sub(partial.len()),
    };
    let full = room < payload.len();
    let payload = payload.get_mut(..room.min(payload.len())).unwrap_or_default();
    if let Some(key) = frame.mask {
        mask(payload, key);
    }
    let most = most_copied(frame, message, mode, partial);
    grow(partial, payload.len(), frame.missing(), most);
    partial.extend_from_slice(payload);
    (payload.len(), full)
}

/// Unmasks a payload and inflates it to `partial`, which may become `most` bytes
/// long, with how much of it was used and whether the room is full.
pub(super) fn inflate(
    inflater: Option<&mut Inflater>,
    frame: &OpenFrame,
    payload: &mut [u8],
    partial: &mut Vec<u8>,
    most: usize,
) -> Result<(usize, bool), Fault> {
    let Some(inflater) = inflater else { return Ok((0, false)) };
    if let Some(key) = frame.mask {
        mask(payload, key);
    }
    let done = inflater.inflate(payload, partial, most).map_err(|_| ProtocolError::Deflate)?;
    // What was not used comes again, and will be unmasked again.
    if let (Some(key), Some(unused)) = (frame.mask, payload.get_mut(done.consumed..)) {
        mask(unused, key.skip(done.consumed));
    }
    Ok((done.consumed, done.full))
}
