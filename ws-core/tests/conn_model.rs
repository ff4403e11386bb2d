//! Do two connections keep their promises, whatever the network and the applications do?
//!
//! The scripts are random bytes. `cargo xtask fuzz conns` runs more of them, and a failing one that
//! it finds becomes a row here.
#![cfg(test)]

#[path = "support/model.rs"]
mod model;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_received_was_written_and_nothing_hangs(
        script in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        model::check(&script);
    }
}
