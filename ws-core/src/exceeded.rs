//! Which limit did the peer exceed, and which timeout expired?

/// A size limit, named by its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::message_size`](crate::Limits::message_size), counted after decompression.
    MessageSize,
    /// [`Limits::frame_size`](crate::Limits::frame_size).
    FrameSize,
    /// [`Limits::fragments`](crate::Limits::fragments).
    Fragments,
}

impl Limit {
    pub(crate) const fn bounds(self) -> &'static str {
        match self {
            Self::MessageSize => "bytes in a message (`Limits::message_size`)",
            Self::FrameSize => "bytes in a frame (`Limits::frame_size`)",
            Self::Fragments => "fragments in a message (`Limits::fragments`)",
        }
    }
}

/// A rate limit, named by its setting.
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

/// A timeout, named by its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deadline {
    /// [`Config::close_timeout`](crate::Config::close_timeout).
    Close,
    /// [`Keepalive`](crate::Keepalive): the peer did not answer a ping.
    Keepalive,
    /// [`Config::idle_timeout`](crate::Config::idle_timeout).
    Idle,
    /// [`Config::write_timeout`](crate::Config::write_timeout).
    Write,
    /// [`Config::max_age`](crate::Config::max_age).
    Age,
}

impl_error!(Deadline {
    Self::Close => "the closing handshake took longer than `Config::close_timeout`";
    Self::Keepalive => "the peer sent nothing within `Config::keepalive`";
    Self::Idle => "no message was received within `Config::idle_timeout`";
    Self::Write => "the peer took no bytes within `Config::write_timeout`";
    Self::Age => "the connection is older than `Config::max_age`";
});
