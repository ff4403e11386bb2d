//! Which settings does a connection have, and what does each bound?

mod compression;
mod keepalive;
mod limits;
mod pool;

use std::time::Duration;

pub use compression::Compression;
pub(crate) use compression::CompressionMode;
pub use keepalive::Keepalive;
use keepalive::KeepaliveSetting;
pub use limits::Limits;
pub use pool::BufferPool;

/// The settings of a connection. The setters can be chained.
///
/// The memory of a connection is at most the sum of:
///
/// * [`Limits::message_size`], and 512 bytes
/// * one read: 65 KiB
/// * what is [read ahead](crate::Conn#what-drives-the-connection): 64 KiB
/// * the high watermark of [`write_buffer`](Self::write_buffer)
/// * the message written last, twice if it was compressed
/// * with context takeover of [`Compression`]: 47 KiB to decompress, up to 372 KiB to compress
/// * on a server, the [request](crate::AcceptOptions::keep_request): a head of at most
///   [`AcceptOptions::head_limit`](crate::AcceptOptions::head_limit), 16 KiB by default, and the
///   extensions
/// * over HTTP/2, on the servers of `ws-server-hyper`: up to 240 KiB; and for each HTTP/2 connection
///   up to 24 MiB, if the client sends DATA frames of less than 256 bytes that are not read, or 48 MiB
///   for each WebSocket that is not read, if it also sends long ones that are
/// * over TLS by rustls: 10 KiB, and up to 98 KiB of records, of which 64 KiB wait for the peer
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
    pub(crate) keepalive: KeepaliveSetting,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) low_watermark: usize,
    pub(crate) high_watermark: usize,
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
            keepalive: KeepaliveSetting::Unset,
            idle_timeout: None,
            write_timeout: None,
            max_age: None,
            close_timeout: Duration::from_secs(5),
            low_watermark: 16 * 1024,
            high_watermark: 64 * 1024,
            read_buffer: Self::MAX_READ_BUFFER,
            write_batch: 16 * 1024,
            buffer_pool: None,
            fragment_size: None,
            nodelay: true,
        }
    }

    /// The limits on what the peer may send. Default: [`Limits::new`].
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether to negotiate compression, and how to compress. Default: off.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The limits that are set, for callers that change one of them.
    pub const fn limits_setting(&self) -> Limits {
        self.limits
    }

    /// The compression that is set, for callers that offer it.
    pub const fn compression_setting(&self) -> Compression {
        self.compression
    }

    /// Pings that detect dead peers. Default: [`Keepalive::default`] for servers with
    /// [`AcceptOptions`](crate::AcceptOptions) and for `Reconnect` of `ws-client`, none otherwise.
    pub const fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = KeepaliveSetting::On(keepalive);
        self
    }

    /// Sets [`keepalive`](Self::keepalive) unless it is set already, for callers with another
    /// default.
    pub const fn default_keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = self.keepalive.or(keepalive);
        self
    }

    /// Turns keepalive off, on servers too.
    pub const fn no_keepalive(mut self) -> Self {
        self.keepalive = KeepaliveSetting::Off;
        self
    }

    /// Closes the connection with [`GOING_AWAY`](crate::StatusCode::GOING_AWAY) when no message was
    /// received for this long. Pings and pongs do not count. The time passes only while an
    /// operation waits for input. Default: no timeout.
    ///
    /// The read then returns [`Error::Timeout`](crate::Error::Timeout). To limit one `read` and
    /// keep the connection, wrap that call in a timeout instead.
    pub const fn idle_timeout(mut self, after: Duration) -> Self {
        self.idle_timeout = Some(after);
        self
    }

    /// Aborts the connection when bytes wait to be written and the peer takes none for this long.
    /// Default: 60 s for servers with [`AcceptOptions`](crate::AcceptOptions), no timeout
    /// otherwise. [`Duration::MAX`] means no timeout.
    ///
    /// Bytes that the peer sends, such as pongs, do not count.
    pub const fn write_timeout(mut self, after: Duration) -> Self {
        self.write_timeout = Some(after);
        self
    }

    /// Closes the connection with [`GOING_AWAY`](crate::StatusCode::GOING_AWAY) when it reaches
    /// this age. Default: no limit.
    pub const fn max_age(mut self, after: Duration) -> Self {
        self.max_age = Some(after);
        self
    }

    /// The timeout of the closing handshake, from the first close frame, sent or received, to the
    /// end of the transport. Default: 5 s.
    ///
    /// It is one deadline for all steps. Received bytes do not extend it.
    pub const fn close_timeout(mut self, after: Duration) -> Self {
        self.close_timeout = after;
        self
    }

    /// The low and high watermark of the send buffer in bytes, for backpressure. Default: 16 KiB
    /// and 64 KiB.
    ///
    /// When more than `high` bytes are buffered, `write` waits until at most `low` are. A message
    /// that is written below the high watermark is buffered whole, whatever its size.
    pub const fn write_buffer(mut self, low: usize, high: usize) -> Self {
        self.low_watermark = if low < high { low } else { high };
        self.high_watermark = high;
        self
    }

    /// The number of bytes to read at once, from 512 bytes to 65 KiB. Default: 65 KiB.
    ///
    /// The thread owns the buffer, so a smaller buffer saves no memory, but a busy connection
    /// yields sooner. Long payloads are read straight into their message.
    pub const fn read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = match bytes {
            0..512 => 512,
            512..=Self::MAX_READ_BUFFER => bytes,
            _ => Self::MAX_READ_BUFFER,
        };
        self
    }

    /// The number of queued bytes at which a deferred write is sent. A write is deferred while
    /// further received messages are buffered, so that the answers to a burst are sent together:
    /// see [`Conn::write`](crate::Conn::write). Default: 16 KiB. Zero sends each message at once.
    pub const fn write_batch(mut self, bytes: usize) -> Self {
        self.write_batch = bytes;
        self
    }

    /// The pool of write buffers. Default: a cache per thread, which keeps up to 1 MiB.
    ///
    /// All connections with this configuration share the pool, and other configurations may use it
    /// too. Payloads of more than 4 KiB are not copied and need no buffer.
    pub fn buffer_pool(mut self, pool: &BufferPool) -> Self {
        self.buffer_pool = Some(pool.clone());
        self
    }

    /// Splits longer messages into fragments of this many payload bytes, so that control frames can
    /// be sent between them. Default: one frame per message.
    ///
    /// Zero means one.
    pub const fn fragment_size(mut self, bytes: usize) -> Self {
        self.fragment_size = Some(if bytes == 0 { 1 } else { bytes });
        self
    }

    /// Whether to set `TCP_NODELAY` on TCP streams. Default: yes, since the connection batches
    /// writes itself.
    pub const fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    #[cfg(feature = "server")]
    const SERVER_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

    pub(crate) const MAX_READ_BUFFER: usize = 65 * 1024;

    /// Applies the defaults of a server.
    #[cfg(feature = "server")]
    pub(crate) const fn for_server(mut self) -> Self {
        self.keepalive = self.keepalive.or_server_default();
        if self.write_timeout.is_none() {
            self.write_timeout = Some(Self::SERVER_WRITE_TIMEOUT);
        }
        self
    }
}

impl_default!(Config, Self::new());
