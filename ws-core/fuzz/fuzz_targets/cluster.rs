//! Are any bytes on the subjects of a cluster envelopes, or counted and ignored?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::cluster;

fuzz_target!(|data: &[u8]| cluster::check(data));
