//! What can an application do with a connection?
//!
//! `api` is what an application calls, `info` is what is known about a connection, `driver`
//! moves its bytes, and `runtime` is what all connections of a thread share. `api` uses all
//! others, `driver` uses `info` and `runtime`.

mod api;
mod driver;
mod info;
mod runtime;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(feature = "server")]
pub use self::api::accept::AcceptError;
#[cfg(feature = "server")]
pub(crate) use self::api::accept::{Answered, receive};
pub(crate) use self::api::adapter;
pub use self::api::byte_stream::ByteStream;
pub use self::api::close_read::CloseRead;
pub use self::api::frames::Frames;
pub use self::api::message_io::{MessageReader, MessageWriter};
pub use self::api::pair::{pair, pair_with};
pub use self::api::payload_stream::JoinedMessages;
#[cfg(feature = "server")]
pub(crate) use self::api::server_adapter;
pub use self::api::stream_sink::MessageStream;
pub use self::api::tap::{Direction, Tapped};
pub use self::info::attributes::Attributes;
pub use self::info::request::{PathParams, RequestInfo};
pub use self::info::stats::ConnStats;
pub use crate::close_info::{CloseInfo, CloseInitiator};
pub use crate::handshake::PeerAddr;

use self::driver::connection::Connection;
use self::driver::state::ReadMode;
use self::driver::transport;
use self::info::ConnInfo;
use crate::frame::MAX_CONTROL_PAYLOAD;
use crate::handshake::Negotiated;
use crate::proto::{CloseFrame, Role};
use crate::{Config, Error, Message, SendError, StatusCode};

/// A WebSocket connection.
///
/// A `Conn` is a handle, and a clone is a handle of the same connection. Cloning is cheap. Every
/// method takes `&self`: one task can read while others write, ping or close, without a lock or a
/// split. If several tasks read at the same time, each message goes to one of them.
///
/// # What drives the connection
///
/// [`read`](Self::read), [`reader`](Self::reader) and [`close_read`](Self::close_read) read, and so
/// do [`ping`](Self::ping), [`close`](Self::close) and [`closed`](Self::closed) while they wait.
/// Each of them answers pings and handles the peer's close frame.
///
/// While none of them waits, or their task waits in a `write`, a background task looks at the
/// connection once per second, and reads if the application has not read since its last look. It
/// answers pings, detects the end, and checks the deadlines, except
/// [`idle_timeout`](Config::idle_timeout). One task per thread does this for all its connections.
/// It needs a tokio runtime with time enabled. Without one, nothing is read until an operation
/// reads.
///
/// Messages that arrive without a `read` are read ahead, up to 64 KiB. Each counts as its payload
/// and 128 bytes. The last message may exceed this bound, up to its size limit; without a size
/// limit, at most 64 KiB of it are read. The rest stays in the socket, so that flow control stops
/// the peer. Pings and pongs behind it are not seen. Unread bytes behind the bound count as an
/// answer for [`Keepalive`](crate::Keepalive), for at most 60 s.
///
/// On a TCP stream, an operation that waits still detects that the peer has closed the stream. TLS,
/// HTTP/2 and other streams show only to a write that the peer has gone. So if nothing behind the
/// bound was read for 60 s and an operation waits, an empty pong is sent every 10 s, which no peer
/// answers ([RFC 6455 §5.5.3]). If the stream does not take it, the connection ends. A peer that has
/// closed only its own direction takes it: there, the end is seen when the application reads up to
/// it, or by [`Keepalive`](crate::Keepalive).
///
/// After the end, `read` returns the messages that arrived before it, and then the error.
///
/// [RFC 6455 §5.5.3]: https://www.rfc-editor.org/rfc/rfc6455#section-5.5.3
///
/// # Cancel safety
///
/// Any future of a connection can be dropped at any point. Nothing that was received is lost,
/// and a message whose `write` is dropped is queued whole or not at all.
///
/// # Drop
///
/// When the last handle is dropped without `close`, the connection sends the queued messages and a
/// close frame with 1001, and closes the transport. The drop does not wait for this.
///
/// ```
/// use ws_core::{Conn, Error};
///
/// async fn echo(conn: Conn) -> Result<(), Error> {
///     loop {
///         let message = conn.read().await?;
///         conn.write(message).await?;
///     }
/// }
/// ```
#[doc(alias("WebSocket", "split", "channel"))]
#[derive(Clone)]
pub struct Conn(Arc<Connection>);

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// What is known about the peer of a transport before there is a connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Peer {
    /// Its address. `None`: unknown.
    pub(crate) transport: Option<SocketAddr>,
    /// The address of the client, if it differs.
    pub(crate) client: Option<SocketAddr>,
}

impl Conn {
    /// Makes a connection over a byte stream on which the opening handshake is complete.
    ///
    /// `leftover` holds the bytes after the handshake that were read together with it. A
    /// `TcpStream` is recognised: it needs no lock, unlike other streams.
    pub fn from_stream<T>(
        io: T,
        role: Role,
        negotiated: Negotiated,
        leftover: Bytes,
        config: impl Into<Arc<Config>>,
    ) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::of_client(io, role, negotiated, leftover, config.into(), Peer::default())
    }

    /// A connection with this peer.
    pub(crate) fn of_client<T>(
        io: T,
        role: Role,
        negotiated: Negotiated,
        leftover: Bytes,
        config: Arc<Config>,
        peer: Peer,
    ) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (read, write, addresses) = transport::split(io, config.nodelay, peer.transport);
        let info = ConnInfo {
            id: LAST_ID.fetch_add(1, Relaxed) + 1,
            subprotocol: negotiated.subprotocol.map(Box::new),
            addresses,
            attributes: Attributes::default(),
            config,
        };
        let compression = negotiated.compression;
        Self(Connection::new((read, write), role, compression, &leftover, info, peer.client))
    }

    /// Reads the next message.
    ///
    /// # Errors
    ///
    /// When the connection has ended. All later reads return the same error, usually
    /// [`Error::Closed`] with the peer's close frame.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: use it in a `select!` or with a timeout.
    #[doc(alias("recv", "next", "receive"))]
    #[inline]
    pub fn read(&self) -> impl Future<Output = Result<Message, Error>> + Send {
        self.0.read()
    }

    /// Sends a ping, waits for its pong, and returns the round-trip time.
    ///
    /// The ping is sent ahead of queued data. Messages that arrive before the pong are [read
    /// ahead](Self#what-drives-the-connection). If they exceed the bound of reading ahead, the call
    /// returns only after the application has read them. The call has no timeout of its own.
    ///
    /// # Errors
    ///
    /// When the connection ends first, or is closing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; the pong is then ignored.
    pub async fn ping(&self) -> Result<Duration, Error> {
        self.0.ping(None).await
    }

    /// As [`ping`](Self::ping), with a payload of up to 125 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::SendError`] when the payload is longer, and as `ping`.
    ///
    /// # Cancel safety
    ///
    /// As `ping`.
    pub async fn ping_with(&self, payload: impl Into<Bytes>) -> Result<Duration, Error> {
        let payload = payload.into();
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(SendError::Control(payload.len()).into());
        }
        self.0.ping(Some(payload)).await
    }

    /// Sends an unsolicited pong with up to 125 bytes, as a one-way heartbeat
    /// ([RFC 6455 §5.5.3]). Pings are answered without this.
    ///
    /// # Errors
    ///
    /// [`Error::SendError`] when the payload is longer. Otherwise when the connection has ended or
    /// is closing.
    ///
    /// [RFC 6455 §5.5.3]: https://www.rfc-editor.org/rfc/rfc6455#section-5.5.3
    pub fn pong(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        self.0.pong(payload.into())
    }

    /// Closes the connection: sends a close frame, and waits for the peer's.
    ///
    /// Messages that were written before are sent first. If the peer has not taken them after half
    /// of [`close_timeout`](Config::close_timeout), they are dropped and the close frame is sent.
    /// Received data is dropped, and every other operation on the connection ends. `close` takes at
    /// most `close_timeout` in total. Another call waits for the same end and returns the same
    /// result.
    ///
    /// The code [`NO_STATUS_RECEIVED`](StatusCode::NO_STATUS_RECEIVED) without a reason sends
    /// an empty close frame.
    ///
    /// To close without waiting, spawn the call, or send the close frame by [`Frames::write`].
    ///
    /// # Errors
    ///
    /// [`Error::SendError`] when the code must not be sent ([`StatusCode::is_sendable`]), or the
    /// reason has more than 123 bytes. Nothing is sent then, and the connection stays open: if a
    /// handler ignores the error and returns, the peer gets 1000. If the connection ended without both close frames: [`Error::Timeout`]
    /// when the peer sent no close frame in time, [`Error::Closed`] with 1006 when the transport
    /// ended first.
    ///
    /// # Cancel safety
    ///
    /// After the first poll, the connection is closing even if the future is dropped. Another call
    /// can wait for the end.
    pub async fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        self.0.close(CloseFrame::new(code, reason)?);
        let ending = self.0.wait_for_end().await;
        if ending.is_clean() { Ok(()) } else { Err(ending.error) }
    }

    /// Drops the transport and all queued messages, without a close frame. The peer reports 1006.
    pub fn close_now(&self) {
        self.0.abort();
    }

    /// Waits until the connection has ended, and returns how. The application need not read
    /// messages for this; later, [`read`](Self::read) returns those that arrived before the end.
    ///
    /// A close frame behind more than what is [read ahead](Self#what-drives-the-connection) is not
    /// seen. If the stream ends in this state, the result is 1006 instead of the code in the close
    /// frame. TCP shows this within a second. Over TLS, HTTP/2 and other streams, it takes 60 to
    /// 90 s from the last read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn closed(&self) -> CloseInfo {
        self.0.wait_for_end().await
    }

    /// How the connection ended; `None` while it is open.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.0.close_info.get().cloned()
    }

    /// Sets the longest message to accept, in bytes after decompression, from the next message on.
    /// `None` accepts any length. The initial value is
    /// [`Limits::message_size`](crate::Limits::message_size).
    pub fn set_read_limit(&self, bytes: Option<usize>) {
        let mut reader = self.0.reader.lock();
        if reader.mode != ReadMode::Discarding {
            reader.inbound.set_message_size(bytes);
            // More may be read ahead of a message with a limit.
            reader.waiters.wake();
        }
    }

    /// Whether the connection has ended.
    #[cfg(feature = "server")]
    pub(crate) fn has_ended(&self) -> bool {
        self.0.close_info.get().is_some()
    }

    /// Begins the closing handshake, without waiting.
    #[cfg(feature = "server")]
    pub(crate) fn begin_close(&self, code: StatusCode) {
        self.0.close(CloseFrame::of(code, ""));
    }

    /// Keeps a value until the last handle is dropped.
    #[cfg(feature = "server")]
    pub(crate) fn hold(&self, value: impl Send + Sync + 'static) {
        self.attributes().change_own(|own| own.held.push(Box::new(value)));
    }

    /// Sends a ping, without waiting.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn send_ping(&self, payload: &[u8]) -> Result<(), Error> {
        let mut writer = self.0.writer.lock();
        self.0.check_open(&writer)?;
        writer.outbound.ping(payload)?;
        self.0.flush_now(&mut writer);
        Ok(())
    }

    /// Sends a close frame, and leaves reading to the application.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn begin_half_close(&self, frame: CloseFrame) -> Result<(), Error> {
        self.0.check_open(&self.0.writer.lock())?;
        self.0.close_half(frame);
        Ok(())
    }

    /// A handle that does not keep the connection open.
    pub(crate) fn downgrade(&self) -> WeakConn {
        WeakConn(Arc::downgrade(&self.0))
    }

    fn connection(&self) -> &Connection {
        &self.0
    }
}

/// A handle that does not keep the connection open.
#[derive(Clone)]
pub(crate) struct WeakConn(Weak<Connection>);

impl WeakConn {
    /// The connection, if it still has a handle.
    pub(crate) fn upgrade(&self) -> Option<Conn> {
        self.0.upgrade().map(Conn)
    }
}

impl_debug!(Conn, this => {
   id: this.id(),
   role: this.role(),
   peer_addr: this.0.info.addresses.peer(),
   ended: this.0.close_info.get().is_some(),
});
