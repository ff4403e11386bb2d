//! What moves the bytes of a connection?

pub(crate) mod backpressure;
pub(crate) mod cold_state;
pub(crate) mod connection;
pub(crate) mod deadlines;
pub(crate) mod flush_task;
pub(crate) mod linger;
pub(crate) mod pending_pings;
pub(crate) mod rate_limits;
pub(crate) mod read_ahead;
pub(crate) mod read_buffer;
pub(crate) mod reader;
pub(crate) mod receive;
pub(crate) mod send;
pub(crate) mod state;
pub(crate) mod transport;
pub(crate) mod turn_state;
pub(crate) mod wait_queue;
pub(crate) mod watch;
pub(crate) mod writer;
