//! Does a forged token or offset never give a client anything of another client's session?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::recovery;

fuzz_target!(|data: &[u8]| recovery::check(data));
