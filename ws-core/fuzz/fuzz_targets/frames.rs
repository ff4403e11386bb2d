//! Are frames what the bytes say, and is a crafted one sent when the other end would take it?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::frames;

fuzz_target!(|data: &[u8]| frames::check(data));
