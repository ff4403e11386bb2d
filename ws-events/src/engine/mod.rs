//! How does an Engine.IO v4 session carry messages over HTTP long-polling and WebSockets?
//!
//! Engine.IO is the transport of Socket.IO. A client begins with GET and POST (HTTP long-polling)
//! or with a WebSocket, and may change from the first to the second. This module has no HTTP: an
//! adapter, such as `ws-events-socketio`, passes it bodies and connections.
//!
//! [`EngineSessions`] opens sessions and finds them by their id. An [`EngineSession`] is used in
//! the same way with every transport.
//!
//! # What a client may do, and what happens otherwise
//!
//! | input | result |
//! | --- | --- |
//! | a packet without a type, or of an unknown type | the session ends, `parse error` |
//! | `open`, `ping` or `upgrade` in a session | the session ends, `parse error` |
//! | `close`, `upgrade` or `noop` with data | the session ends, `parse error` |
//! | base64 or UTF-8 that is not valid | the session ends, `parse error` |
//! | one malformed packet in a payload | no packet of the payload is used, the session ends |
//! | `noop`, or `pong` without a ping | ignored |
//! | a second GET, or a second POST, before the first is answered | the session ends; the first GET is answered with `close` |
//! | a GET or a POST that is cancelled | the session ends, since messages may be lost |
//! | a WebSocket while another is tested, or after an upgrade | the new WebSocket is closed |
//! | a GET behind the `upgrade` packet, which may be served before that is read | refused, as any GET after an upgrade |
//! | a WebSocket that sends anything but `2probe` and then `5` | the WebSocket is closed, the session continues to poll |
//! | no `pong` and nothing else within `ping_timeout` of a ping | the session ends, `ping timeout` |

mod config;
mod end;
mod inbox;
mod packet;
mod payload;
mod requests;
mod serve;
mod session;
mod session_id;
mod sessions;
mod state;
mod turn;

pub(crate) use state::after;

pub use config::EngineConfig;
pub use end::{EngineEnd, EngineEndKind};
pub use packet::{EnginePacket, EnginePacketError};
pub use payload::EnginePayload;
pub use requests::{EnginePost, EngineUpgrade};
pub use session::EngineSession;
pub use sessions::{EngineError, EngineSessions};
