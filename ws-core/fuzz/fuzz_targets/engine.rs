//! Is every body of Engine.IO its packets, or malformed?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::engine;

fuzz_target!(|data: &[u8]| engine::check(data));
