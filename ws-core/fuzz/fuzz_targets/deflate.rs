//! Is anything inflated within its bound, and anything deflated inflated again?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::deflate;

fuzz_target!(|data: &[u8]| deflate::check(data));
