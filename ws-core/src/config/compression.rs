//! Is `permessage-deflate` used, and with which mode, level and window?

/// Whether to negotiate `permessage-deflate` (RFC 7692), and how to compress.
///
/// Without context takeover, each message is compressed on its own, and a connection holds no
/// memory between messages. With context takeover, a message may refer to earlier ones. Similar
/// small messages then shrink much further, but each connection that uses it holds up to 372 KiB to
/// compress (about 245 KiB with 9 window bits) and 47 KiB to decompress, until the connection ends.
///
/// It needs the feature `deflate` of this crate, which is on by default.
///
/// Compression can reveal a secret that shares a window with text that an attacker controls. See
/// [`Message::uncompressed`](crate::Message::uncompressed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Compression {
    pub(crate) mode: CompressionMode,
    pub(crate) threshold: usize,
    pub(crate) level: u8,
    pub(crate) window_bits: u8,
    pub(crate) peer_window_bits: u8,
}

/// Which messages a compressed message may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompressionMode {
    Off,
    NoContextTakeover,
    ContextTakeover,
}

impl Compression {
    /// No compression. It is not offered, and offers are declined.
    pub const fn off() -> Self {
        Self {
            mode: CompressionMode::Off,
            threshold: 0,
            level: 2,
            window_bits: 15,
            peer_window_bits: 15,
        }
    }

    /// Compresses each message of 512 bytes or more on its own.
    pub const fn no_context_takeover() -> Self {
        Self { mode: CompressionMode::NoContextTakeover, threshold: 512, ..Self::off() }
    }

    /// Compresses messages of 128 bytes or more. They may refer to earlier ones if the peer agrees.
    pub const fn context_takeover() -> Self {
        Self { mode: CompressionMode::ContextTakeover, threshold: 128, ..Self::off() }
    }

    /// The shortest message to compress, in bytes. Default: 512 without context
    /// takeover, 128 with.
    pub const fn threshold(self, bytes: usize) -> Self {
        Self { threshold: bytes, ..self }
    }

    /// The level from 1 (fastest) to 9 (smallest). 0 stores without compressing; higher values mean
    /// 9. Default: 2. Level 2 makes JSON a fifth to a quarter smaller than level 1, and takes up to
    /// twice as long. Level 6 makes it at most another sixth smaller, and takes up to five times as
    /// long as level 2.
    pub const fn level(self, level: u8) -> Self {
        Self { level: if level > 9 { 9 } else { level }, ..self }
    }

    /// The largest window to compress with, as a power of two from 8 (256 bytes) to 15 (32 KiB).
    /// Other values are clamped. Default: 15.
    pub const fn window_bits(self, bits: u8) -> Self {
        Self { window_bits: clamp_bits(bits), ..self }
    }

    /// The largest window that the peer may compress with, from 8 to 15. Other values are clamped.
    /// Default: 15. A smaller window saves memory of the peer, but not of this side.
    ///
    /// A server can restrict only clients that offer `client_max_window_bits`.
    pub const fn peer_window_bits(self, bits: u8) -> Self {
        Self { peer_window_bits: clamp_bits(bits), ..self }
    }

    /// Whether compression is on.
    pub const fn is_on(&self) -> bool {
        !matches!(self.mode, CompressionMode::Off)
    }
}

impl_default!(Compression, Self::off());

const fn clamp_bits(bits: u8) -> u8 {
    match bits {
        0..8 => 8,
        8..=15 => bits,
        16.. => 15,
    }
}
