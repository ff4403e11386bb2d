//! How does a client that lost its connection come back to its session, and what has it missed?
//!
//! A [`SentLog`](sent_log::SentLog) knows what was sent to a socket, and in which order. When the
//! connection is lost, the session waits in a [`RecoveryTable`](table::RecoveryTable), under a
//! [`SessionToken`](token::SessionToken). A client that comes back in time shows the token and the
//! [`SentOffset`](offset::SentOffset) of the last message that it has. A
//! [`SessionRecord`](record::SessionRecord) tells other nodes of it, by a
//! [`SessionStore`](store::SessionStore). Nothing here knows a hub or does I/O, and only the store in
//! [`memory`] reads a clock.

pub(crate) mod fate;
pub(crate) mod generation;
pub(crate) mod held;
pub(crate) mod memory;
pub(crate) mod offset;
pub(crate) mod record;
pub(crate) mod sent_log;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod token;
