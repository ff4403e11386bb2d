//! How are messages compressed and decompressed (permessage-deflate, RFC 7692)?
//!
//! The opening handshake negotiates the [`Params`]. Then either side may compress any data
//! message, and sets RSV1 on its first frame. Control frames are never compressed. The message is
//! compressed, independent of its frames: raw deflate (RFC 1951), flushed to a byte boundary,
//! without the four bytes `00 00 ff ff` at the end of each flush.
//!
//! With context takeover, a message may refer to earlier ones, so both sides keep a window between
//! messages. Without, each message is independent, and its state is borrowed from a pool of the
//! thread.

mod compress;
mod inflate;
mod params;
mod pool;

#[cfg(test)]
mod oracle;

pub use compress::{DeflateError, Deflater};
pub use inflate::{Corrupt, Inflated, Inflater};
pub use params::Params;

/// The end of a flush, which is removed from a compressed message (§7.2.1).
pub(crate) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
