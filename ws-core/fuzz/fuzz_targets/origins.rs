//! Does a pattern allow exactly the origins that it describes?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::origins;

fuzz_target!(|data: &[u8]| origins::check(data));
