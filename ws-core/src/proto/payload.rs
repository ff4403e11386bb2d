//! How does a payload become part of a message?

use super::{Failure, Mode};
use crate::deflate::Inflater;
use crate::frame::{Header, Mask, mask};
use crate::utf8::Utf8;
use crate::{Limit, MessageType, ProtocolError};

/// Room that is made for a payload, in multiples of what has arrived of it: a
/// header alone must not make us reserve what it claims.
const GROWTH: usize = 16;

/// Room behind the end of a payload that is read straight to where it stays: a read that
/// fills all of its room does not show that the transport has no more, and would be
/// followed by one in vain.
pub(super) const SLACK: usize = 512;

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
#[derive(Debug)]
pub(super) struct OpenMessage {
    pub(super) kind: MessageType,
    pub(super) compressed: bool,
    pub(super) discard: bool,
    /// The header of the frame that is arriving, if the message is taken frame by frame.
    pub(super) header: Option<Header>,
    /// Is it inflated only so that the next message can be?
    pub(super) follows: bool,
    /// The limit that held when it began.
    pub(super) limit: usize,
    pub(super) fragments: usize,
    /// The frame that is arriving.
    pub(super) frame: Option<OpenFrame>,
    /// What has arrived and was not taken yet: plain, and text so far.
    pub(super) partial: Vec<u8>,
    /// How much was taken already.
    pub(super) taken: usize,
    pub(super) utf8: Utf8,
}

impl OpenMessage {
    /// Takes what has arrived.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.taken += self.partial.len();
        std::mem::take(&mut self.partial)
    }

    /// Is a whole frame here, of a message that is taken frame by frame?
    pub(super) fn has_frame(&self) -> bool {
        self.header.is_some() && self.frame.is_some_and(|frame| frame.missing == 0)
    }

    /// It is taken frame by frame no longer.
    pub(super) fn whole_again(&mut self) {
        if self.header.take().is_some() {
            self.compressed = std::mem::take(&mut self.follows);
        }
    }

    /// Checks what has been added behind `start`: its text, and its size.
    pub(super) fn check_fresh(&mut self, start: usize) -> Result<(), Failure> {
        if self.kind == MessageType::Text {
            let fresh = self.partial.get(start..).unwrap_or_default();
            self.utf8.push(fresh).map_err(|_| ProtocolError::TextNotUtf8)?;
        }
        let size = self.taken.saturating_add(self.partial.len());
        if self.discard {
            self.taken = size;
            self.partial.clear();
        }
        check_size(self.limit, size as u64)
    }

    /// How long `partial` may become by inflating: one byte past the limit, which shows
    /// that it was crossed.
    pub(super) fn most_inflated(&self, mode: Mode) -> usize {
        let left = self.limit.saturating_sub(self.taken).saturating_add(1);
        match mode {
            Mode::Pieces(most) => left.min(most),
            Mode::Whole => left,
        }
    }

    /// How long `partial` may become by copying the payload of a frame, and by what
    /// comes behind it.
    pub(super) fn most_copied(&self, frame: &OpenFrame, mode: Mode) -> usize {
        match mode {
            Mode::Pieces(most) => most,
            Mode::Whole if frame.fin => self.partial.len().saturating_add(frame.missing()),
            Mode::Whole => self.limit,
        }
    }

    /// Unmasks a payload and adds it to `partial`, with how much of it was used and
    /// whether the room is full.
    pub(super) fn copy(
        &mut self,
        frame: &OpenFrame,
        payload: &mut [u8],
        mode: Mode,
    ) -> (usize, bool) {
        let room = match mode {
            Mode::Whole => payload.len(),
            Mode::Pieces(most) => most.saturating_sub(self.partial.len()),
        };
        let full = room < payload.len();
        let payload = payload.get_mut(..room.min(payload.len())).unwrap_or_default();
        if let Some(key) = frame.mask {
            mask(payload, key);
        }
        let most = self.most_copied(frame, mode);
        // The rest of it is likely to be read straight to here.
        let slack = if payload.len() < frame.missing() { SLACK } else { 0 };
        let missing = frame.missing().saturating_add(slack);
        grow(&mut self.partial, payload.len(), missing, most.saturating_add(slack));
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

/// Unmasks a payload and inflates it to `partial`, which may become `most` bytes
/// long, with how much of it was used and whether the room is full.
pub(super) fn inflate(
    inflater: Option<&mut Inflater>,
    frame: &OpenFrame,
    payload: &mut [u8],
    partial: &mut Vec<u8>,
    most: usize,
) -> Result<(usize, bool), Failure> {
    let Some(inflater) = inflater else { return Ok((0, false)) };
    let mut used = 0;
    loop {
        let rest = payload.get_mut(used..).unwrap_or_default();
        let step = rest.len().min(STEP);
        let part = rest.get_mut(..step).unwrap_or_default();
        let key = frame.mask.map(|key| key.skip(used));
        if let Some(key) = key {
            mask(part, key);
        }
        let done = inflater.inflate(part, partial, most).map_err(|_| ProtocolError::Deflate)?;
        // What was not used comes again, and will be unmasked again.
        if let (Some(key), Some(unused)) = (key, part.get_mut(done.consumed..)) {
            mask(unused, key.skip(done.consumed));
        }
        used += done.consumed;
        if done.full || done.consumed < step || used == payload.len() {
            return Ok((used, done.full));
        }
    }
}

/// How much is unmasked at a time to be inflated: a little of it may fill the room, many
/// times over, and each time the rest would be unmasked in vain.
const STEP: usize = 16 * 1024;

/// Inflates what is taken as it came, for the sake of later messages that refer to it, and
/// drops what that gives.
pub(super) fn follow(inflater: Option<&mut Inflater>, payload: &[u8]) -> Result<(), Failure> {
    let Some(inflater) = inflater else { return Ok(()) };
    let (mut rest, mut dropped) = (payload, Vec::new());
    loop {
        dropped.clear();
        let done =
            inflater.inflate(rest, &mut dropped, FOLLOWED).map_err(|_| ProtocolError::Deflate)?;
        rest = rest.get(done.consumed..).unwrap_or_default();
        if !done.full {
            return Ok(());
        }
    }
}

/// Ends a message that was followed.
pub(super) fn follow_end(inflater: Option<&mut Inflater>) -> Result<(), Failure> {
    let Some(inflater) = inflater else { return Ok(()) };
    let mut dropped = Vec::new();
    while inflater.finish(&mut dropped, FOLLOWED).map_err(|_| ProtocolError::Deflate)? {
        dropped.clear();
    }
    Ok(())
}

/// How much is inflated at a time where nobody wants it.
const FOLLOWED: usize = 64 * 1024;
