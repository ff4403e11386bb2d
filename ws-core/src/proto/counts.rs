//! What is counted of what comes and goes?

use super::{Inbound, Outbound};

impl Inbound {
    /// How many frames came beside the first of each message.
    pub const fn extra_frames(&self) -> u32 {
        self.extra_frames
    }

    /// How many bytes of compressed messages came, and how many they became.
    pub fn inflated(&self) -> (u64, u64) {
        self.inflater.as_ref().map_or((0, 0), |inflater| inflater.totals())
    }
}

impl Outbound {
    /// How many bytes are left of a frame that the transport has begun to take.
    pub fn partial_frame_len(&mut self) -> usize {
        self.queue.partial_frame_len()
    }

    /// How many bytes the transport has taken.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// How many frames were queued beside the first of each message.
    pub const fn extra_frames(&self) -> u32 {
        self.extra_frames
    }

    /// How many bytes of messages were compressed, and how many they became.
    pub fn deflated(&self) -> (u64, u64) {
        self.rare
            .as_ref()
            .and_then(|rare| rare.compressor.as_ref())
            .map_or((0, 0), |compressor| (compressor.before, compressor.after))
    }

    pub(super) fn count_extra(&mut self, is_extra: bool) {
        self.extra_frames = self.extra_frames.saturating_add(is_extra.into());
    }
}
