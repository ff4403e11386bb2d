//! Is any input inflated within its bound, and does each compressed message inflate to the original?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::deflate;

fuzz_target!(|data: &[u8]| deflate::check(data));
