//! How is a message taken frame by frame, rather than whole?

use super::Inbound;
use crate::frame::Frame;

/// How messages are taken that begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Whole, or in pieces of payload.
    Whole,
    /// Frame by frame.
    ByFrame,
    /// Not at all: they are dropped.
    Dropped,
    /// There are none any more.
    Closed,
}

impl Inbound {
    /// Whether messages that begin from now on are taken frame by frame: by
    /// [`take_frame`](Self::take_frame), whenever [`has_frame`](Self::has_frame).
    pub fn set_frame_mode(&mut self, on: bool) {
        self.taken = match self.taken {
            Taken::Whole | Taken::ByFrame if on => Taken::ByFrame,
            Taken::Whole | Taken::ByFrame => Taken::Whole,
            other @ (Taken::Dropped | Taken::Closed) => other,
        };
    }

    /// Are messages that begin now taken frame by frame?
    pub fn is_frame_mode(&self) -> bool {
        self.taken == Taken::ByFrame
    }

    /// Has a whole frame of a message arrived that is taken frame by frame? Nothing more is
    /// looked at until it is taken.
    #[inline]
    pub fn has_frame(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.has_frame())
    }

    /// Is it the last of its message?
    pub fn has_last_frame(&self) -> bool {
        let header = self.message.as_ref().and_then(|message| message.header);
        self.has_frame() && header.is_some_and(|header| header.fin)
    }

    /// Is a message arriving that is taken frame by frame?
    pub fn is_message_in_frames(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.header.is_some())
    }

    /// Takes a frame of a message that is taken frame by frame. It is unmasked, and as
    /// compressed as it came.
    pub fn take_frame(&mut self) -> Option<Frame> {
        let message = self.message.as_mut().filter(|message| message.has_frame())?;
        let header = message.header?;
        let payload = message.take().into();
        message.frame = None;
        if header.fin {
            self.message = None;
        }
        Some(Frame::received(header, payload))
    }
}
