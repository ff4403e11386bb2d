//! Does every body decode to packets of Engine.IO, or to an error?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::engine;

fuzz_target!(|data: &[u8]| engine::check(data));
