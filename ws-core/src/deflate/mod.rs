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

#[cfg(feature = "deflate")]
mod compress;
#[cfg(feature = "deflate")]
mod inflate;
mod params;
#[cfg(feature = "deflate")]
mod pool;
mod result;
#[cfg(not(feature = "deflate"))]
mod without;

#[cfg(test)]
#[cfg(feature = "deflate")]
mod oracle;

#[cfg(feature = "deflate")]
pub use compress::Deflater;
#[cfg(feature = "deflate")]
pub use inflate::Inflater;
pub use params::Params;
pub use result::{Corrupt, DeflateError, Inflated};
#[cfg(not(feature = "deflate"))]
pub use without::{Deflater, Inflater};

/// The end of a flush, which is removed from a compressed message (§7.2.1).
#[cfg(feature = "deflate")]
pub(crate) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
