//! Who is present in a room, with which metadata, on this node and on others?
//!
//! [`PresenceTable`](table::PresenceTable) has one lock. Behind it are the devices of each room
//! ([`rooms`]), as an application sees them, and the entries of the sockets of this node ([`own`]),
//! for which it is the authority, and those of other nodes ([`remote`]). It knows no hub: a socket is a
//! number.

pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod own;
pub(crate) mod remote;
pub(crate) mod rooms;
pub(crate) mod table;
