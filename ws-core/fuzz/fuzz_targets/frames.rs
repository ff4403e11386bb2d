//! Are raw frames read as encoded, and sent exactly when the other end accepts them?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::frames;

fuzz_target!(|data: &[u8]| frames::check(data));
