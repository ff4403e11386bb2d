//! Does every packet of Socket.IO in MessagePack decode within its bounds, and is it encoded as it was?
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_core_fuzz::msgpack;

fuzz_target!(|data: &[u8]| msgpack::check(data));
