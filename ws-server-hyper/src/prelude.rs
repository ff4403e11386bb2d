//! Which names of `ws-core` do all adapters re-export?

#[cfg(feature = "json")]
pub use ws_core::Json;
#[cfg(feature = "proto")]
pub use ws_core::Proto;
pub use ws_core::frame;
pub use ws_core::handshake::Opening;
pub use ws_core::{
    AcceptOptions, Agreed, BufferPool, ByteStream, CloseError, CloseRead, Codec, CodecError,
    Compression, Config, Conn, Counts, Deadline, Decode, Direction, Drain, Encode, EndedBy, Ending,
    Error, Frame, HandshakeError, InvalidStatusCode, JoinedMessages, Keepalive, Limit, Limits,
    Message, MessageReader, MessageType, MessageWriter, Messages, Origin, Outcome, Panicked,
    PathParams, PeerAddr, Prepared, ProtocolError, Rate, Rejection, RequestInfo, Role, Stats,
    StatusCode, SubprotocolOrder, Tapped, Tracker, TryWriteError, Unsendable, Values, close_status,
    format_close_message, is_close, is_unexpected_close, pair, pair_with,
};
