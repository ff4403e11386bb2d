//! Which names does an application use?
//!
//! The adapters and the client re-export exactly this list, so that an application depends on one
//! crate.
//!
//! ```
//! use ws_core::prelude::*;
//!
//! let config = Config::new().limits(Limits::new().message_size(64 * 1024));
//! # let _ = config;
//! ```

#[cfg(feature = "json")]
pub use crate::codec::JsonCodec;
#[cfg(feature = "proto")]
pub use crate::codec::ProtobufCodec;
pub use crate::codec::{Codec, CodecError, Decode, Encode};
#[cfg(feature = "conn")]
pub use crate::conn::{Direction, JoinedMessages, Tapped};
pub use crate::frame::Frame;
#[cfg(feature = "conn")]
pub use crate::handler::{
    ConnectionLimits, ConnectionTracker, DrainConfig, DrainCounts, HandlerOutput, HandlerPanic,
};
pub use crate::handshake::{
    Encrypted, HandshakeError, HandshakeRequest, InvalidNetwork, Negotiated, SubprotocolOrder,
    TrustedProxies,
};
#[cfg(feature = "conn")]
pub use crate::{
    AcceptError, Attributes, ByteStream, CloseRead, Conn, ConnStats, MessageReader, MessageStream,
    MessageWriter, PathParams, PeerAddr, RequestInfo, pair, pair_with,
};
pub use crate::{
    AcceptOptions, Acceptor, BufferPool, CloseError, CloseInfo, CloseInitiator, Compression,
    Config, Deadline, Error, Escaped, InvalidStatusCode, Keepalive, Limit, Limits, Message,
    MessageType, Origin, PreparedMessage, ProtocolError, Rate, Rejection, Role, SendError,
    StatusCode, TryWriteError,
};
