//! Is every input of a client answered?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::server;

fuzz_target!(|data: &[u8]| server::check(data));
