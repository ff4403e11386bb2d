//! Which sockets are in which rooms, which ids do they have, and which namespaces are there?
//!
//! Concurrent indexes that know nothing of sockets: a member of a room and the owner of an id
//! are type parameters. They take their locks from [`sync`](crate::sync), so that
//! `tests/model.rs` can check them under every interleaving of threads.

pub(crate) mod id;
pub(crate) mod ids;
pub(crate) mod namespaces;
pub(crate) mod rooms;
pub(crate) mod sharded_map;
