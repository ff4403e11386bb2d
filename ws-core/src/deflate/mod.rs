//! permessage-deflate (RFC 7692): compress and decompress messages.

mod params;

pub use params::Params;
