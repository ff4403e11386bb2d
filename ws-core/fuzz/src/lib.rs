//! Does ws-core hold its guarantees for arbitrary bytes?
//!
//! Each module has a `check` for one part, which panics when a guarantee is violated. The targets
//! in `fuzz_targets` call one each. The first bytes of an input are settings, which [`Input`]
//! reads. Where possible, all inputs of a target have the same number of them, so that a mutation
//! of one does not change the rest.
//!
//! `seeds` has some inputs for each target. To run one by hand, in this folder:
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . TARGET corpus/TARGET seeds/TARGET -- -max_total_time=60
//! ```

pub mod cluster;
pub mod conns;
pub mod deflate;
pub mod engine;
pub mod envelope;
pub mod extensions;
pub mod frames;
pub mod handshake;
pub mod inbound;
pub mod msgpack;
pub mod origins;
pub mod recovery;
pub mod roundtrip;
pub mod server;
pub mod socketio;
pub mod utf8;

mod input;
#[path = "../../src/deflate/oracle.rs"]
mod oracle;

pub use input::{Cuts, Input};

/// Runs a future with a clock that is paused while any task can run.
fn paused<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(future)
}
