//! What does the task of one socket do, from its connection to its end?

pub(crate) mod admission;
pub(crate) mod lifecycle;
pub(crate) mod namespaces;
pub(crate) mod ready_flag;
pub(crate) mod recovery;
pub(crate) mod socketio;
pub(crate) mod task;
