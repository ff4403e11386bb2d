//! What does the task of one socket do?

pub(crate) mod lifecycle;
pub(crate) mod ready_flag;
pub(crate) mod task;
