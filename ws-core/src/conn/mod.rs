//! The connection, which awaits: only `handler`, above it, does as well.

mod api;
mod driver;
mod info;
mod runtime;

use std::fmt;
use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use once_cell::race::OnceBox;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

pub use self::api::accept::AcceptError;
pub use self::api::byte_stream::ByteStream;
pub use self::api::close_read::CloseRead;
pub use self::api::message_io::{MessageReader, MessageWriter};
pub use self::api::pair::{pair, pair_with};
pub use self::api::payload_stream::JoinedMessages;
pub use self::api::stream_sink::MessageStream;
pub use self::api::tap::{Direction, Tapped};
pub use self::api::write::Batch;
pub use self::info::attributes::Attributes;
pub use self::info::close_info::{CloseInfo, CloseInitiator};
pub use self::info::request::{PathParams, PeerAddr, RequestInfo};
pub use self::info::stats::ConnStats;

use self::driver::connection::Shared;
use self::driver::deadlines::Clock;
use self::driver::reader::Reader;
use self::driver::writer::Writer;
use self::info::Facts;
use crate::frame::MAX_CONTROL_PAYLOAD;
use crate::handshake::Negotiated;
use crate::proto::{CloseFrame, Inbound, Outbound, RateLimiter, Role};
use crate::{Config, Error, Message, SendError, StatusCode};

/// A WebSocket connection.
///
/// A cheap handle: clone it, share it, use it from several tasks at once. Every method
/// takes `&self`; reading in one task while others write, ping or close needs no lock
/// and no split. Two tasks that read take turns by message.
///
/// # Who reads
///
/// Nothing is read in the background. [`read`](Self::read), [`reader`](Self::reader)
/// and [`close_read`](Self::close_read) read, and so do [`ping`](Self::ping),
/// [`close`](Self::close) and [`closed`](Self::closed) while they wait. Whichever is
/// under way answers pings and sees the peer's close frame. A message that `ping` or
/// `closed` meets is kept for the next `read`; they then leave the rest in the socket.
///
/// # Cancel safety
///
/// Any future of a connection can be dropped at any point. Nothing that was received is
/// lost, and a message whose `write` is dropped has been queued whole or not at all.
///
/// # The end
///
/// When the last handle is dropped without `close`, what was written is sent, followed
/// by a close frame with 1001, and the transport goes; nothing waits for that.
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
#[derive(Clone)]
pub struct Conn(Arc<Shared>);

static LAST_ID: AtomicU64 = AtomicU64::new(0);

impl Conn {
    /// A connection over a byte stream on which the opening handshake has been made
    /// elsewhere.
    ///
    /// `leftover` is what was read behind the handshake. A `TcpStream` is recognised,
    /// and is used without the lock that other streams need.
    pub fn from_stream<T>(
        io: T,
        role: Role,
        agreed: Negotiated,
        leftover: Bytes,
        config: impl Into<Arc<Config>>,
    ) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let config = config.into();
        let (read, write, addresses) = driver::transport::split(io, config.nodelay);
        let inbound = Inbound::new(role, Arc::clone(&config), agreed.compression);
        let outbound = Outbound::new(role, &config, agreed.compression);
        let rates = RateLimiter::new(&config.limits, Instant::now().into_std());
        let compressed = agreed.compression.is_some();
        let facts = Facts {
            id: LAST_ID.fetch_add(1, Relaxed) + 1,
            subprotocol: agreed.subprotocol.map(Box::new),
            addresses,
            values: Attributes::default(),
            config: Arc::clone(&config),
        };
        Self(Arc::new_cyclic(|this| Shared {
            this: this.clone(),
            reader: Mutex::new(Reader::new(read, inbound, rates, Clock::new(&config), &leftover)),
            writer: Mutex::new(Writer::new(write, outbound)),
            more: AtomicBool::new(false),
            deferred: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            untold: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            role,
            compressed,
            ending: OnceBox::new(),
            facts,
        }))
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// When the connection has ended: the same error from then on. [`Error::Closed`]
    /// with the peer's close frame is the usual one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing, so it may stand in a `select!` or under a
    /// timeout.
    #[inline]
    pub fn read(&self) -> impl Future<Output = Result<Message, Error>> + Send {
        self.0.read()
    }

    /// The next message, piece by piece: for messages too long to hold, or to begin
    /// with one before it has all arrived.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn reader(&self) -> Result<MessageReader, Error> {
        let (kind, whole) = self.0.wait_reading(Reader::poll_open).await?;
        Ok(MessageReader::begin(self.clone(), kind, whole))
    }

    /// Sends a ping, waits for its pong, and tells the round trip.
    ///
    /// Pings overtake data that waits to be written.
    ///
    /// # Errors
    ///
    /// When the connection ends first, or is closing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; the pong is ignored when it comes.
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

    /// Sends a pong that nobody asked for, with up to 125 bytes: a one-way sign of
    /// life ([RFC 6455 §5.5.3]). Pings are answered without this.
    ///
    /// # Errors
    ///
    /// When the payload is longer, or the connection has ended or is closing.
    ///
    /// [RFC 6455 §5.5.3]: https://www.rfc-editor.org/rfc/rfc6455#section-5.5.3
    pub fn pong(&self, payload: impl Into<Bytes>) -> Result<(), Error> {
        let mut writer = self.0.writer.lock();
        writer.check_open(&self.0)?;
        writer.outbound.pong(payload.into())?;
        writer.flush_now(&self.0);
        Ok(())
    }

    /// Closes the connection: sends a close frame, and waits for the peer's.
    ///
    /// What was written before goes out first, as long as the peer takes it: after half
    /// of [`close_timeout`](Config::close_timeout), the close frame overtakes it. Data
    /// that still arrives is dropped, and every other call on the connection ends.
    /// All of it happens within `close_timeout`. Calling it again waits for the same end
    /// and returns the same result.
    ///
    /// The code [`NO_STATUS_RECEIVED`](StatusCode::NO_STATUS_RECEIVED) without a reason
    /// sends an empty close frame.
    ///
    /// # Errors
    ///
    /// [`Error::SendError`], and nothing is sent, when the code must not be sent or the
    /// reason has more than 123 bytes. Otherwise how the connection ended, if that was
    /// not with both close frames: [`Error::Timeout`] when the peer sent none in time,
    /// [`Error::Closed`] with 1006 when the transport ended first.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the connection is closing, and another call can wait for the end.
    pub async fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        self.0.close(CloseFrame::new(code, reason)?);
        let ending = self.0.wait_for_end().await;
        if ending.is_clean() { Ok(()) } else { Err(ending.error) }
    }

    /// How long the closing handshake may take: the
    /// [setting](Config::close_timeout) of this connection.
    pub fn close_timeout(&self) -> Duration {
        self.0.facts.config.close_timeout
    }

    /// Cuts the transport, without a close frame. The peer sees 1006.
    pub fn close_now(&self) {
        self.0.cut();
    }

    /// Reads in the background, for an application that only writes: pings are
    /// answered, and the end is noticed. A message that arrives is an error, and closes
    /// the connection with 1008.
    ///
    /// The future resolves when the connection has ended. Dropping it changes nothing;
    /// calling this again gives another one. The task that reads ends with the
    /// connection and does not keep it open. Outside of a runtime there is no task, and
    /// the future itself reads while it is polled.
    pub fn close_read(&self) -> CloseRead {
        CloseRead::begin(&self.0)
    }

    /// Waits until the connection has ended, and tells how.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn closed(&self) -> CloseInfo {
        self.0.wait_for_end().await
    }

    /// How the connection ended; `None` while it is open.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.0.ending.get().cloned()
    }

    /// Sets the longest message to accept, after decompression, from the next message
    /// on; `None` for any length.
    pub fn set_read_limit(&self, bytes: Option<usize>) {
        let mut reader = self.0.reader.lock();
        if !reader.closing {
            reader.inbound.set_message_size(bytes);
        }
    }

    /// Begins the closing handshake, and waits for nothing.
    pub(crate) fn begin_close(&self, code: StatusCode) {
        self.0.close(CloseFrame::of(code, ""));
    }

    /// Sends a ping, and waits for nothing.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn send_ping(&self, payload: &[u8]) -> Result<(), Error> {
        let mut writer = self.0.writer.lock();
        writer.check_open(&self.0)?;
        writer.outbound.ping(payload)?;
        writer.flush_now(&self.0);
        Ok(())
    }

    /// Sends a close frame, and leaves what the peer has to say to whoever reads.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn begin_half_close(&self, frame: CloseFrame) -> Result<(), Error> {
        self.0.writer.lock().check_open(&self.0)?;
        self.0.close_half(frame);
        Ok(())
    }

    /// A handle that does not keep the connection open.
    pub(crate) fn downgrade(&self) -> WeakConn {
        WeakConn(Arc::downgrade(&self.0))
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}

/// A handle that does not keep the connection open.
#[derive(Clone)]
pub(crate) struct WeakConn(Weak<Shared>);

impl WeakConn {
    /// The connection, if anybody has it still.
    pub(crate) fn upgrade(&self) -> Option<Conn> {
        self.0.upgrade().map(Conn)
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.id())
            .field("role", &self.role())
            .field("peer_addr", &self.0.facts.addresses.peer())
            .field("ended", &self.0.ending.get().is_some())
            .finish_non_exhaustive()
    }
}
