//! Does every message of a peer become an event of a hub, or an error?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::envelope;

fuzz_target!(|data: &[u8]| envelope::check(data));
