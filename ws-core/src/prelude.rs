//! Which names does an application use?
//!
//! The adapters and the client re-export exactly this list, so that an application depends on one
//! crate. The names that only servers use are here with the feature `server`, which the client does not
//! enable.
//!
//! ```
//! use ws_core::prelude::*;
//!
//! let config = Config::new().limits(Limits::new().message_size(64 * 1024));
//! # let _ = config;
//! ```

#[cfg(all(feature = "conn", feature = "server"))]
pub use crate::AcceptError;
#[cfg(feature = "json")]
pub use crate::codec::JsonCodec;
#[cfg(feature = "proto")]
pub use crate::codec::ProtobufCodec;
pub use crate::codec::{Codec, CodecError, Decode, Encode};
#[cfg(feature = "conn")]
pub use crate::conn::{Direction, JoinedMessages, Tapped};
pub use crate::frame::Frame;
#[cfg(all(feature = "conn", feature = "server"))]
pub use crate::handler::{
    ConnectionLimits, ConnectionTracker, DrainConfig, DrainCounts, HandlerOutput, HandlerPanic,
};
pub use crate::handshake::{Encrypted, HandshakeError, Negotiated};
#[cfg(feature = "server")]
pub use crate::handshake::{HandshakeRequest, InvalidNetwork, SubprotocolOrder, TrustedProxies};
#[cfg(feature = "server")]
pub use crate::{AcceptOptions, Acceptor, Origin, Rejection};
#[cfg(feature = "conn")]
pub use crate::{
    Attributes, ByteStream, CloseRead, Conn, ConnStats, MessageReader, MessageStream,
    MessageWriter, PathParams, PeerAddr, RequestInfo, pair, pair_with,
};
pub use crate::{
    BufferPool, CloseError, CloseInfo, CloseInitiator, Compression, Config, Deadline, Error,
    Escaped, InvalidStatusCode, Keepalive, Limit, Limits, Message, MessageType, PreparedMessage,
    ProtocolError, Rate, Role, SendError, StatusCode, TryWriteError,
};
