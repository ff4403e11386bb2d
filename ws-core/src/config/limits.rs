//! How much may a peer send, by size and by rate, and what are the defaults?

/// The limits on what a peer may send. Exceeding a size limit closes the connection with
/// [`MESSAGE_TOO_BIG`](crate::StatusCode::MESSAGE_TOO_BIG), exceeding a rate limit with
/// [`POLICY_VIOLATION`](crate::StatusCode::POLICY_VIOLATION).
///
/// A rate limit is a token bucket. It holds the tokens of one second. While the application does
/// not read, more tokens accumulate, so that the messages which arrive in the meantime do not
/// exceed the limit. Default: no rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    // `usize::MAX` means no limit: nothing in memory exceeds it.
    pub(crate) message_size: usize,
    pub(crate) frame_size: usize,
    pub(crate) fragments: usize,
    pub(crate) messages_per_second: usize,
    pub(crate) bytes_per_second: usize,
    pub(crate) control_frames_per_second: usize,
}

impl Limits {
    /// The defaults.
    pub const fn new() -> Self {
        Self { message_size: 1024 * 1024, fragments: 128 * 1024, ..Self::NONE }
    }

    /// The longest message to accept, in bytes, after decompression. Default: 1 MiB.
    ///
    /// Each thread also keeps up to 8 MiB of freed buffers of 128 KiB or more, for later messages.
    /// The bound of [`Config`](crate::Config) does not include them.
    pub const fn message_size(self, bytes: usize) -> Self {
        Self { message_size: bytes, ..self }
    }

    /// Accepts messages of any length. The peer then determines how much memory a message takes.
    /// Read the messages in pieces instead, with `Conn::reader`.
    pub const fn no_message_size(self) -> Self {
        Self { message_size: usize::MAX, ..self }
    }

    /// The longest frame to accept, in payload bytes before decompression. Default:
    /// [`message_size`](Self::message_size) for an uncompressed frame. A compressed frame has no
    /// limit by default: its decompressed size counts towards the message size.
    pub const fn frame_size(self, bytes: usize) -> Self {
        Self { frame_size: bytes, ..self }
    }

    /// The maximum number of frames per message, including empty ones. Default: 131,072.
    ///
    /// Zero means one.
    pub const fn fragments(self, frames: usize) -> Self {
        Self { fragments: if frames == 0 { 1 } else { frames }, ..self }
    }

    /// The maximum number of messages per second. Default: no limit.
    pub const fn messages_per_second(self, messages: usize) -> Self {
        Self { messages_per_second: messages, ..self }
    }

    /// The maximum number of bytes per second on the wire. Default: no limit.
    ///
    /// Set at least the size of the longest message and its header, because a peer may send all of
    /// it in one second.
    pub const fn bytes_per_second(self, bytes: usize) -> Self {
        Self { bytes_per_second: bytes, ..self }
    }

    /// The maximum number of pings and pongs per second, solicited or not. Default: no limit.
    pub const fn control_frames_per_second(self, frames: usize) -> Self {
        Self { control_frames_per_second: frames, ..self }
    }

    /// Whether a rate limit is set.
    #[cfg(feature = "conn")]
    pub(crate) const fn has_rates(&self) -> bool {
        self.messages_per_second != usize::MAX
            || self.bytes_per_second != usize::MAX
            || self.control_frames_per_second != usize::MAX
    }
}

impl Limits {
    /// No limits at all.
    pub(crate) const NONE: Self = Self {
        message_size: usize::MAX,
        frame_size: usize::MAX,
        fragments: usize::MAX,
        messages_per_second: usize::MAX,
        bytes_per_second: usize::MAX,
        control_frames_per_second: usize::MAX,
    };
}

impl_default!(Limits, Self::new());
