//! Does any head of a request or a response get a valid answer, or an error?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::handshake;

fuzz_target!(|data: &[u8]| handshake::check(data));
