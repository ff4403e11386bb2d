//! Does validation in pieces agree with the standard library, however the text is split?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::utf8;

fuzz_target!(|data: &[u8]| utf8::check(data));
