//! Do two connections keep their guarantees over any network?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::conns;

fuzz_target!(|data: &[u8]| conns::check(data));
