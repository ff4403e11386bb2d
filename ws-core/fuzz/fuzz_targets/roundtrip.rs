//! Does the receiving half decode exactly what the sending half encoded?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::roundtrip;

fuzz_target!(|data: &[u8]| roundtrip::check(data));
