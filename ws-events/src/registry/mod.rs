//! Which sockets are in which rooms, and which ids do they have?
//!
//! Concurrent indexes that know nothing of sockets: a member of a room and the owner of an id
//! are type parameters. They take their locks from [`sync`](crate::sync), so that
//! `tests/model.rs` can check them under every interleaving of threads.

pub(crate) mod id;
pub(crate) mod ids;
pub(crate) mod rooms;
pub(crate) mod sharded_map;
