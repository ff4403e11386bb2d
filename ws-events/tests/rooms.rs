//! Do rooms hold whom a naive set would, when their segments fill, empty and are reused?
#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "a part of the hub, looked at by itself")]

#[path = "../src/registry/rooms.rs"]
mod rooms;
#[path = "../src/registry/sharded_map.rs"]
mod sharded_map;

mod registry {
    pub(crate) use crate::sharded_map;
}

mod sync {
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};

    pub(crate) use parking_lot::{Mutex, RwLock};

    /// Of so few that there are many.
    pub(crate) const SEGMENT: usize = 2;
}

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use rooms::{Place, Rooms};

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn rooms_hold_whom_a_set_would(
        // Each enters a room, or leaves it if it is there.
        steps in proptest::collection::vec((0..24_u32, 0..3_u8), 1..200),
    ) {
        let rooms = Rooms::new(2);
        let members: Vec<_> = (0..24_u32).collect();
        let mut naive: BTreeMap<u8, BTreeMap<u32, Place<u32>>> = BTreeMap::new();
        for (who, room) in steps {
            let member = &members[who as usize];
            let inside = naive.entry(room).or_default();
            match inside.remove(&who) {
                Some(place) => rooms.leave(&place, member),
                None => _ = inside.insert(who, rooms.enter(&room.to_string(), member)),
            }
            naive.retain(|_, inside| !inside.is_empty());
            let names: BTreeSet<_> = rooms.names().into_iter().collect();
            prop_assert!(names.iter().map(|name| &**name).eq(naive.keys().map(u8::to_string)));
            prop_assert_eq!(rooms.len(), naive.len());
            for (name, inside) in &naive {
                let room = rooms.find(&name.to_string()).unwrap();
                let mut met: Vec<_> = room.members();
                met.sort_unstable();
                prop_assert!(met.iter().eq(inside.keys()), "{:?}", met);
                prop_assert_eq!(room.len(), inside.len());
            }
        }
    }
}
