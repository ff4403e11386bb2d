//! Which sockets are in which rooms, and have which ids?

pub(crate) mod id;
pub(crate) mod ids;
pub(crate) mod rooms;
pub(crate) mod sharded_map;
