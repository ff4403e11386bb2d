//! How do messages get from a sender to the connections of many sockets?

pub(crate) mod backpressure;
pub(crate) mod batch_writer;
pub(crate) mod enqueue;
pub(crate) mod limits;
pub(crate) mod queue_pool;
pub(crate) mod queue_types;
pub(crate) mod ring;
pub(crate) mod send_queue;
pub(crate) mod stats;
pub(crate) mod timeout;
pub(crate) mod waiters;
pub(crate) mod writer;
