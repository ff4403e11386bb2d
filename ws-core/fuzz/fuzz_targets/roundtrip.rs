//! Does one end hear what the other says, whatever it says?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::roundtrip;

fuzz_target!(|data: &[u8]| roundtrip::check(data));
