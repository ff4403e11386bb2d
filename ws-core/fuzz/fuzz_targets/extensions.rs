//! Is any `Sec-WebSocket-Extensions` judged, and agreed on by both sides?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::extensions;

fuzz_target!(|data: &[u8]| extensions::check(data));
