//! Does every series of messages decode to packets of Socket.IO, or end the session?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::socketio;

fuzz_target!(|data: &[u8]| socketio::check(data));
