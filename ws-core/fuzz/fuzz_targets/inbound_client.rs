//! Do the same bytes give a client the same events, however they are split?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core::proto::Role;
use ws_core_fuzz::inbound;

fuzz_target!(|data: &[u8]| inbound::check(Role::Client, data));
