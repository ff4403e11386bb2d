//! Do two connections keep their guarantees, whatever the network and the applications do?
//!
//! The scripts are random bytes, the same in each run. `cargo xtask fuzz conns` searches for others,
//! and a failing one that it finds becomes a row here.
#![cfg(test)]

#[path = "support/model.rs"]
mod model;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(500) })]

    #[test]
    fn what_is_received_was_written_and_nothing_hangs(
        script in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        model::check(&script);
    }
}
