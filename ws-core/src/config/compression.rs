//! Is anything compressed, and how hard?

/// Whether to agree to `permessage-deflate` (RFC 7692), and how to compress.
///
/// Without context takeover every message is compressed by itself, and nothing is
/// held between messages. With it, a message may refer to those before: similar
/// small messages shrink much further, and each connection that uses it holds about
/// 370 KiB to compress (245 KiB with 9 window bits) and 47 KiB to decompress, for as
/// long as it lives.
///
/// Compression can reveal a secret that shares a window with text that an attacker
/// chooses; see [`Message::uncompressed`](crate::Message::uncompressed).
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
    /// No compression: nothing is offered, and offers are declined.
    pub const fn off() -> Self {
        Self {
            mode: CompressionMode::Off,
            threshold: 0,
            level: 2,
            window_bits: 15,
            peer_window_bits: 15,
        }
    }

    /// Every message by itself; from 512 bytes on.
    pub const fn no_context_takeover() -> Self {
        Self { mode: CompressionMode::NoContextTakeover, threshold: 512, ..Self::off() }
    }

    /// Messages may refer to earlier ones, where the peer agrees; from 128 bytes on.
    pub const fn context_takeover() -> Self {
        Self { mode: CompressionMode::ContextTakeover, threshold: 128, ..Self::off() }
    }

    /// The shortest message to compress, in bytes. Default: 512 without context
    /// takeover, 128 with.
    pub const fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// How hard to try, from 1 (fast) to 9 (small); 0 stores without compressing.
    /// Values above 9 are taken as 9. Default: 2, which makes JSON a fifth to a quarter
    /// smaller than 1 does and takes up to twice as long; 6 makes it
    /// smaller by another sixth at most, and takes up to five times as long as 2.
    pub const fn level(mut self, level: u8) -> Self {
        self.level = if level > 9 { 9 } else { level };
        self
    }

    /// The largest window to compress with, as a power of two from 8 (256 bytes) to
    /// 15 (32 KiB); values outside are moved to the nearest. Default: 15.
    pub const fn window_bits(mut self, bits: u8) -> Self {
        self.window_bits = clamp_bits(bits);
        self
    }

    /// The largest window that the peer is asked to compress with, for the sake of its
    /// memory: what is held here to decompress stays the same. From 8 to 15; values
    /// outside are moved to the nearest. Default: 15.
    ///
    /// A server can only ask clients that offer `client_max_window_bits`.
    pub const fn peer_window_bits(mut self, bits: u8) -> Self {
        self.peer_window_bits = clamp_bits(bits);
        self
    }

    /// Is it switched on?
    pub const fn is_on(&self) -> bool {
        !matches!(self.mode, CompressionMode::Off)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::off()
    }
}

const fn clamp_bits(bits: u8) -> u8 {
    match bits {
        0..8 => 8,
        8..=15 => bits,
        16.. => 15,
    }
}
