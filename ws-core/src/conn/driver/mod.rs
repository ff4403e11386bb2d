//! What moves the bytes of a connection?

pub(crate) mod cold_state;
pub(crate) mod connection;
pub(crate) mod control_frames;
pub(crate) mod deadlines;
pub(crate) mod fast_path;
pub(crate) mod linger;
pub(crate) mod operation;
pub(crate) mod pings;
pub(crate) mod rate_limits;
pub(crate) mod read_buffer;
pub(crate) mod reader;
pub(crate) mod transport;
pub(crate) mod wait_queue;
pub(crate) mod writer;
