//! Does a server take anything from its peer, and the same however it is cut?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core::proto::Role;
use ws_core_fuzz::inbound;

fuzz_target!(|data: &[u8]| inbound::check(Role::Server, data));
