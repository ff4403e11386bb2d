//! Does ws-core keep its promises, whatever the bytes are?
//!
//! Each module holds the promises of one part, and a `check` that panics when one is
//! broken. The targets in `fuzz_targets` only choose one. The first bytes of an input
//! are settings, which [`Input`] reads; where they can, they are as many for every input
//! of a target, so that a mutation of one leaves the rest what it was.
//!
//! `seeds` has a few inputs for each target to begin with. By hand, in this folder:
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . TARGET corpus/TARGET seeds/TARGET -- -max_total_time=60
//! ```

pub mod deflate;
pub mod extensions;
pub mod frames;
pub mod handshake;
pub mod inbound;
pub mod roundtrip;
pub mod utf8;

mod input;
#[path = "../../src/deflate/oracle.rs"]
mod oracle;

pub use input::{Cuts, Input};
