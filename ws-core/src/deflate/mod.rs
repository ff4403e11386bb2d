//! permessage-deflate (RFC 7692): compress and decompress messages.
//!
//! The opening handshake agrees on it ([`Params`]); from then on either side may
//! compress any data message, and marks it with RSV1 on its first frame. Control
//! frames are never compressed. What is compressed is the message, whatever frames
//! it is cut into: raw deflate (RFC 1951) that is flushed to a byte boundary, without
//! the four bytes `00 00 ff ff` that every such flush ends with.
//!
//! With context takeover, a message may refer back to those before it, so both
//! sides keep a window between messages. Without, every message stands by itself,
//! and the state that works on it is borrowed from the thread.

mod compress;
mod inflate;
mod params;
mod pool;

#[cfg(test)]
mod oracle;

pub use compress::{DeflateError, Deflater};
pub use inflate::{Corrupt, Inflated, Inflater};
pub use params::Params;

/// What a flush ends with, and a compressed message goes without (§7.2.1).
pub(crate) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
