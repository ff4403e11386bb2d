//! What can be tuned, and what does each setting bound?

mod compression;
mod keepalive;
mod pool;

use std::time::Duration;

pub use compression::Compression;
pub(crate) use compression::CompressionMode;
pub use keepalive::Keepalive;
use keepalive::KeepaliveChoice;
pub use pool::BufferPool;

/// The settings of a connection. They chain by value.
///
/// Memory that one connection can hold is at most
/// [`Limits::message_size`] and 512 bytes + one read (64 KiB) + the high mark of
/// [`write_buffer`](Self::write_buffer) + the message last written (once more if it was
/// compressed) + what [`Compression`] holds with context takeover (47 KiB to decompress,
/// up to 370 KiB to compress).
///
/// ```
/// use std::time::Duration;
/// use ws_core::{Compression, Config, Keepalive, Limits};
///
/// let config = Config::new()
///     .limits(Limits::new().message_size(64 * 1024))
///     .compression(Compression::no_context_takeover())
///     .keepalive(Keepalive::every(Duration::from_secs(20)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Config {
    pub(crate) limits: Limits,
    pub(crate) compression: Compression,
    pub(crate) keepalive: KeepaliveChoice,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) low_mark: usize,
    pub(crate) high_mark: usize,
    pub(crate) read_buffer: usize,
    pub(crate) write_batch: usize,
    pub(crate) buffer_pool: Option<BufferPool>,
    pub(crate) fragment_size: Option<usize>,
    pub(crate) nodelay: bool,
}

impl Config {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            limits: Limits::new(),
            compression: Compression::off(),
            keepalive: KeepaliveChoice::Unset,
            idle_timeout: None,
            write_timeout: None,
            max_age: None,
            close_timeout: Duration::from_secs(5),
            low_mark: 16 * 1024,
            high_mark: 64 * 1024,
            read_buffer: Self::MAX_READ_BUFFER,
            write_batch: 16 * 1024,
            buffer_pool: None,
            fragment_size: None,
            nodelay: true,
        }
    }

    /// What the peer may send. Default: [`Limits::new`].
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The longest message to accept, in bytes, after decompression. Default:
    /// 1 MiB. Short for [`Limits::message_size`].
    pub const fn read_limit(mut self, bytes: usize) -> Self {
        self.limits = self.limits.message_size(bytes);
        self
    }

    /// Whether to agree to compression, and how to compress. Default: off.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// What was said about the peer, for those who change a part of it.
    pub const fn limits_setting(&self) -> Limits {
        self.limits
    }

    /// What was said about compression, for those who make an offer of it.
    pub const fn compression_setting(&self) -> Compression {
        self.compression
    }

    /// Pings that find a dead peer. Default: [`Keepalive::default`] on servers, which are
    /// made with [`AcceptOptions`](crate::AcceptOptions); none elsewhere.
    pub const fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = KeepaliveChoice::On(keepalive);
        self
    }

    /// As [`keepalive`](Self::keepalive), unless something was said about it before: for
    /// those who have another default.
    pub const fn default_keepalive(mut self, keepalive: Keepalive) -> Self {
        if matches!(self.keepalive, KeepaliveChoice::Unset) {
            self.keepalive = KeepaliveChoice::On(keepalive);
        }
        self
    }

    /// No pings that find a dead peer, on servers neither.
    pub const fn no_keepalive(mut self) -> Self {
        self.keepalive = KeepaliveChoice::Off;
        self
    }

    /// How long the peer may go without a message before the connection is closed
    /// with [`GOING_AWAY`](crate::StatusCode::GOING_AWAY). Pings and pongs do not
    /// count. Default: for ever.
    ///
    /// A read that runs into it returns [`Error::Timeout`](crate::Error::Timeout),
    /// and the connection is over. To give up one `read` and keep the connection,
    /// wrap that call in a timeout instead.
    pub const fn idle_timeout(mut self, after: Duration) -> Self {
        self.idle_timeout = Some(after);
        self
    }

    /// How long bytes that wait to be written may make no progress before the
    /// connection is cut. Default: for ever.
    pub const fn write_timeout(mut self, after: Duration) -> Self {
        self.write_timeout = Some(after);
        self
    }

    /// How old a connection may become before it is closed with
    /// [`GOING_AWAY`](crate::StatusCode::GOING_AWAY). Default: any age.
    pub const fn max_age(mut self, after: Duration) -> Self {
        self.max_age = Some(after);
        self
    }

    /// How long the closing handshake may take, from the first close frame, sent
    /// or received, to the end of the transport. Default: 5 s.
    ///
    /// One deadline for all its steps: a peer that sends a byte now and then does
    /// not extend it.
    pub const fn close_timeout(mut self, after: Duration) -> Self {
        self.close_timeout = after;
        self
    }

    /// How many written bytes may wait for the transport. Default: 16 and 64 KiB.
    ///
    /// When more than `high` bytes wait, a `write` waits too, until no more than
    /// `low` do. A message is never refused for its size: one that is written while
    /// less than `high` waits is taken whole.
    pub const fn write_buffer(mut self, low: usize, high: usize) -> Self {
        self.low_mark = if low < high { low } else { high };
        self.high_mark = high;
        self
    }

    /// How many bytes are read at once, from 512 bytes to 65 KiB. Default: 65 KiB.
    ///
    /// The buffer belongs to the thread, so a smaller one saves no memory: it makes a busy
    /// connection leave the processor sooner. A long payload is read straight to its place.
    pub const fn read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = match bytes {
            0..512 => 512,
            512..=Self::MAX_READ_BUFFER => bytes,
            _ => Self::MAX_READ_BUFFER,
        };
        self
    }

    /// At how many bytes the answers to a burst leave, rather than wait for each other until
    /// the burst is over. Default: 16 KiB. Zero lets each message leave by itself.
    pub const fn write_batch(mut self, bytes: usize) -> Self {
        self.write_batch = bytes;
        self
    }

    /// Where the buffers come from in which bytes wait to be written, and where they go when
    /// they are empty. Default: the thread's own, of which it keeps up to 1 MiB.
    ///
    /// To be shared: every connection with this configuration uses the same pool, and so does
    /// every other configuration that names it. Payloads of more than 4 KiB are not copied, and
    /// need no buffer.
    pub fn buffer_pool(mut self, pool: &BufferPool) -> Self {
        self.buffer_pool = Some(pool.clone());
        self
    }

    /// Cut messages that are longer into fragments of this many payload bytes, so
    /// that control frames can pass between them. Default: one frame a message.
    ///
    /// Zero is taken as one.
    pub const fn fragment_size(mut self, bytes: usize) -> Self {
        self.fragment_size = Some(if bytes == 0 { 1 } else { bytes });
        self
    }

    /// Whether to set `TCP_NODELAY` on the TCP streams that the library gets hold
    /// of. Default: yes, since messages are batched here with more knowledge than
    /// the kernel has.
    pub const fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    pub(crate) const MAX_READ_BUFFER: usize = 65 * 1024;

    /// The same, with what a server has by default.
    pub(crate) const fn for_server(self) -> Self {
        self.default_keepalive(Keepalive::every(Duration::from_secs(30)))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// What a peer may send. Crossing a limit on size closes the connection with
/// [`MESSAGE_TOO_BIG`](crate::StatusCode::MESSAGE_TOO_BIG), one on a rate with
/// [`POLICY_VIOLATION`](crate::StatusCode::POLICY_VIOLATION).
///
/// A rate allows as much at once as it does in a second, and from then on as much as the
/// time allows. It is judged by when bytes could have come: what piles up while nobody reads
/// is not held against the peer. There is none by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    // Where there is no limit, it is `usize::MAX`: nothing in memory crosses that.
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
    pub const fn message_size(mut self, bytes: usize) -> Self {
        self.message_size = bytes;
        self
    }

    /// Messages of any length. Their size is then up to the peer, so read them
    /// piece by piece with `Conn::reader`.
    pub const fn no_message_size(mut self) -> Self {
        self.message_size = usize::MAX;
        self
    }

    /// The longest frame to accept, in payload bytes as they arrive (compressed, if
    /// they are). Default: as long as the message in it may be; a compressed frame may
    /// then have any length, since what counts is what it inflates to.
    pub const fn frame_size(mut self, bytes: usize) -> Self {
        self.frame_size = bytes;
        self
    }

    /// How many frames one message may be cut into, empty ones included.
    /// Default: 131,072.
    ///
    /// Zero is taken as one.
    pub const fn fragments(mut self, frames: usize) -> Self {
        self.fragments = if frames == 0 { 1 } else { frames };
        self
    }

    /// How many messages may come in a second. Default: any number.
    pub const fn messages_per_second(mut self, messages: usize) -> Self {
        self.messages_per_second = messages;
        self
    }

    /// How many bytes may come in a second, as they are on the wire. Default: any number.
    ///
    /// No less than the longest message, with its header: a peer sends that at once.
    pub const fn bytes_per_second(mut self, bytes: usize) -> Self {
        self.bytes_per_second = bytes;
        self
    }

    /// How many pings and pongs may come in a second, whoever asked for them. Default: any
    /// number.
    pub const fn control_frames_per_second(mut self, frames: usize) -> Self {
        self.control_frames_per_second = frames;
        self
    }

    /// Is there a limit on a rate?
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

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
