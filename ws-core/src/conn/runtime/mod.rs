//! What do all connections of a thread share?

pub(crate) mod deferred_flush;
pub(crate) mod per_runtime;
pub(crate) mod timer;
pub(crate) mod turn_queue;
pub(crate) mod watch_list;
