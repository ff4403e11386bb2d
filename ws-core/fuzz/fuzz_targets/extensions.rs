//! Do both sides agree on the result of any `Sec-WebSocket-Extensions`?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::extensions;

fuzz_target!(|data: &[u8]| extensions::check(data));
