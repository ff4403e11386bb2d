//! Which settings bound what a peer may send, and how long something may take?

/// The settings that bound what a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::message_size`](crate::Limits::message_size), counted after inflation.
    MessageSize,
    /// [`Limits::frame_size`](crate::Limits::frame_size).
    FrameSize,
    /// [`Limits::fragments`](crate::Limits::fragments).
    Fragments,
}

impl Limit {
    pub(crate) const fn bounds(self) -> &'static str {
        match self {
            Self::MessageSize => "bytes in a message (the read limit, `Limits::message_size`)",
            Self::FrameSize => "bytes in a frame (`Limits::frame_size`)",
            Self::Fragments => "fragments in a message (`Limits::fragments`)",
        }
    }
}

/// The settings that bound what a peer may send in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rate {
    /// [`Limits::messages_per_second`](crate::Limits::messages_per_second).
    Messages,
    /// [`Limits::bytes_per_second`](crate::Limits::bytes_per_second).
    Bytes,
    /// [`Limits::control_frames_per_second`](crate::Limits::control_frames_per_second).
    ControlFrames,
}

impl Rate {
    pub(crate) const fn bounds(self) -> &'static str {
        match self {
            Self::Messages => "messages in a second (`Limits::messages_per_second`)",
            Self::Bytes => "bytes in a second (`Limits::bytes_per_second`)",
            Self::ControlFrames => {
                "control frames in a second (`Limits::control_frames_per_second`)"
            }
        }
    }
}

/// The settings that bound how long something may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Deadline {
    /// [`Config::close_timeout`](crate::Config::close_timeout).
    #[error("the closing handshake took longer than `Config::close_timeout`")]
    Close,
    /// [`Keepalive`](crate::Keepalive): the peer left a ping unanswered.
    #[error("the peer gave no sign of life within `Config::keepalive`")]
    Keepalive,
    /// [`Config::idle_timeout`](crate::Config::idle_timeout).
    #[error("no message arrived within `Config::idle_timeout`")]
    Idle,
    /// [`Config::write_timeout`](crate::Config::write_timeout).
    #[error("the peer took no bytes within `Config::write_timeout`")]
    Write,
    /// [`Config::max_age`](crate::Config::max_age).
    #[error("the connection is older than `Config::max_age`")]
    Age,
}
