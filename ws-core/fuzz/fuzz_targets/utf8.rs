//! Is any text judged as the standard library does, however it is cut?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::utf8;

fuzz_target!(|data: &[u8]| utf8::check(data));
