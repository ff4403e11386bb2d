//! Does a room have the members that a set would have, when its segments fill, empty and are reused?
#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "a part of the hub, without the code that uses it")]

#[path = "../src/registry/mod.rs"]
mod registry;

mod sync {
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};

    pub(crate) use parking_lot::{Mutex, RwLock};

    /// Small, so that a room has many segments.
    pub(crate) const SEGMENT: usize = 2;
}

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use registry::rooms::{MemberSlot, RoomRegistry};

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn a_room_has_the_members_that_a_set_would_have(
        // Each member joins a room, or leaves it if it is in it.
        steps in proptest::collection::vec((0..24_u32, 0..3_u8), 1..200),
    ) {
        let rooms = RoomRegistry::new(2, None);
        let members: Vec<_> = (0..24_u32).collect();
        let mut naive: BTreeMap<u8, BTreeMap<u32, MemberSlot<u32>>> = BTreeMap::new();
        for (n, room) in steps {
            let member = &members[n as usize];
            let inside = naive.entry(room).or_default();
            match inside.remove(&n) {
                Some(slot) => rooms.leave(&slot, member),
                None => _ = inside.insert(n, rooms.join(&room.to_string(), member)),
            }
            naive.retain(|_, inside| !inside.is_empty());
            let names: BTreeSet<_> = rooms.names().into_iter().collect();
            prop_assert!(names.iter().map(|name| &**name).eq(naive.keys().map(u8::to_string)));
            prop_assert_eq!(rooms.len(), naive.len());
            for (name, inside) in &naive {
                let room = rooms.find(&name.to_string()).unwrap();
                let mut found: Vec<_> = room.members();
                found.sort_unstable();
                prop_assert!(found.iter().eq(inside.keys()), "{:?}", found);
                prop_assert_eq!(room.len(), inside.len());
            }
        }
    }
}
