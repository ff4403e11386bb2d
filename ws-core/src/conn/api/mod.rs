//! What can an application do with a connection, beside `read` and `close`?

#[cfg(feature = "server")]
pub(crate) mod accept;
pub(crate) mod adapter;
pub(crate) mod byte_stream;
pub(crate) mod close_read;
pub(crate) mod codec;
pub(crate) mod control_hooks;
pub(crate) mod frames;
pub(crate) mod info;
pub(crate) mod message_io;
pub(crate) mod pair;
pub(crate) mod payload_stream;
#[cfg(feature = "server")]
pub(crate) mod server_adapter;
pub(crate) mod stream_sink;
pub(crate) mod tap;
pub(crate) mod write;
