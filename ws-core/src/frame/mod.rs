//! How are frames encoded, decoded and masked?
//!
//! Every bit pattern decodes. [`proto`](crate::proto) validates.

#[expect(clippy::module_inception, reason = "the type `Frame`, beside its header and mask")]
mod frame;
mod header;
mod mask;
mod short_header;

pub use frame::Frame;
pub use header::{EncodedHeader, Header, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode};
pub(crate) use mask::mask_short;
pub use mask::{Mask, mask};
pub(crate) use short_header::ShortHeader;
