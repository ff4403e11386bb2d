//! What do the bits of a frame say? Every pattern of bits decodes; whether it may
//! stand there is judged in [`proto`](crate::proto).

mod header;
mod mask;
mod whole;

pub use header::{EncodedHeader, Header, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode};
pub(crate) use mask::mask_short;
pub use mask::{Mask, mask};
pub use whole::Frame;
