//! Is every series of messages packets of Socket.IO, or the end of the session?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::socketio;

fuzz_target!(|data: &[u8]| socketio::check(data));
