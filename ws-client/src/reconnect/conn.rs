//! How does an application read and write a connection that reconnects?

use std::fmt;
use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "json")]
use serde::{Serialize, de::DeserializeOwned};

use super::driver::{self, TaskGuard};
use super::events::{ReconnectEvents, ReconnectState};
use super::failure::ReconnectError;
use super::lifecycle::LifecycleEvent;
use super::settings::Reconnect;
use super::shared::{NextRead, Shared, SharedState};
#[cfg(feature = "json")]
use crate::JsonCodec;
use crate::{Conn, Decode, Encode, Error, Message, StatusCode, runtime};

/// A connection that reconnects whenever it is lost. Made by [`Reconnect`].
///
/// It is a handle that can be cloned and shared, like [`Conn`]. Every method takes `&self`, and
/// every future may be dropped at any point.
///
/// A task of the runtime dials and sends. It stops after [`close`](Self::close), when it gives up,
/// or when the last handle is dropped. Dropping the last handle closes the connection with 1001.
#[derive(Clone)]
pub struct ReconnectingConn(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.apply(LifecycleEvent::CloseRequested(None));
    }
}

impl Reconnect {
    /// Connects, with as many attempts as needed. The first attempt is retried as all others are, so
    /// a program may start before its server: this waits until the server is there, without a limit
    /// of time.
    ///
    /// To limit the time, use `tokio::time::timeout`. To return the error of the first attempt, end
    /// the attempts in [`classify`](Self::classify) while [`on_connect`](Self::on_connect) was not
    /// called: the book has the code. [`start`](Self::start) does not wait.
    ///
    /// # Errors
    ///
    /// [`ReconnectError::GaveUp`] after a failure that is not [retried](super), such as a response
    /// with 403, or after [`max_attempts`](Self::max_attempts).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the attempts.
    pub async fn connect(self) -> Result<ReconnectingConn, ReconnectError> {
        let conn = self.start();
        conn.connected().await?;
        Ok(conn)
    }

    /// Starts to connect, and returns at once. Messages that are written before the first
    /// connection are queued.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as `tokio::spawn` does. Never in a browser.
    pub fn start(self) -> ReconnectingConn {
        let (shared, action) = Shared::new(self.send_queue, self.session);
        let shared = Arc::new(shared);
        runtime::spawn(driver::run(TaskGuard(Arc::clone(&shared)), self, action));
        ReconnectingConn(Arc::new(Handle(shared)))
    }
}

impl ReconnectingConn {
    /// Reads the next message, of the current connection or a later one.
    ///
    /// # Errors
    ///
    /// [`ReconnectError::Closed`], [`ReconnectError::GaveUp`] or [`ReconnectError::Stopped`], after
    /// all received messages were read. All later calls return the same error.
    /// [`ReconnectError::SessionLost`] once for each session that was lost, with
    /// `Reconnect::resumable`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no message.
    #[doc(alias = "recv")]
    #[doc(alias = "next")]
    pub async fn read(&self) -> Result<Message, ReconnectError> {
        let _turn = self.shared().begin_reading().await;
        loop {
            let conn = match self.shared().state.wait(SharedState::next_read).await? {
                NextRead::From(conn) => conn,
                NextRead::Message(message) => return Ok(message),
            };
            match conn.read().await {
                Ok(message) => {
                    if let Some(message) = self.shared().received(&conn, message) {
                        return Ok(message);
                    }
                }
                // `events` reports the error.
                Err(_) => self.shared().state.change(|inner| inner.remove_unread(&conn)),
            }
        }
    }

    /// Queues a message. It is sent as soon as a connection takes it.
    ///
    /// [`SendQueueConfig`](super::SendQueueConfig) defines what happens to the message if the
    /// connection is lost, and if the queue is full. To send a
    /// [`PreparedMessage`](crate::PreparedMessage), write its
    /// [`message`](crate::PreparedMessage::message).
    ///
    /// # Errors
    ///
    /// When the connection was closed or given up. [`ReconnectError::SendQueueFull`] with
    /// [`WhenFull::Refuse`](super::WhenFull::Refuse).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while the queue is full, the message is not queued.
    #[doc(alias = "send")]
    pub fn write(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), ReconnectError>> + Send {
        let message = message.into();
        async move {
            let pushed = self.shared().state.wait(|inner| inner.push(&message)).await;
            // Wakes the task, which sends.
            self.shared().state.change(|_| ());
            pushed
        }
    }

    /// Queues a message without waiting.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write). [`ReconnectError::SendQueueFull`] if `write` would wait.
    #[doc(alias = "try_send")]
    pub fn try_write(&self, message: impl Into<Message>) -> Result<(), ReconnectError> {
        let message = message.into();
        let pushed = self.shared().state.change(|inner| inner.push(&message));
        pushed.unwrap_or(Err(ReconnectError::SendQueueFull))
    }

    /// Reads the next message, and decodes it with a [`Codec`](crate::Codec).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). [`ReconnectError::Codec`] if the message cannot be decoded; the
    /// next call reads the next message. Unlike [`Conn::read_as`], this does not close the
    /// connection: after reconnecting, the server might send the same message again.
    ///
    /// # Cancel safety
    ///
    /// As `read`.
    pub async fn read_as<C, T>(&self) -> Result<T, ReconnectError>
    where
        C: Decode<T>,
    {
        Ok(self.read().await?.decode::<C, T>()?)
    }

    /// Encodes a value with a [`Codec`](crate::Codec), and queues it.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write). [`ReconnectError::Codec`] if the value cannot be encoded; then
    /// nothing is queued.
    ///
    /// # Cancel safety
    ///
    /// As `write`.
    pub fn write_as<C, T>(
        &self,
        value: &T,
    ) -> impl Future<Output = Result<(), ReconnectError>> + Send
    where
        C: Encode<T>,
        T: ?Sized,
    {
        // Encodes now, so that the future does not use the value.
        let message = Message::encode::<C, T>(value);
        async move { self.write(message?).await }
    }

    /// Reads the next message, text or binary, and decodes it as JSON.
    ///
    /// # Errors
    ///
    /// As [`read_as`](Self::read_as).
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "json")]
    pub async fn read_json<T: DeserializeOwned>(&self) -> Result<T, ReconnectError> {
        self.read_as::<JsonCodec, T>().await
    }

    /// Queues a value as JSON, in a text message.
    ///
    /// # Errors
    ///
    /// As [`write_as`](Self::write_as).
    ///
    /// # Cancel safety
    ///
    /// As [`write`](Self::write).
    #[cfg(feature = "json")]
    pub fn write_json<T: Serialize + ?Sized>(
        &self,
        value: &T,
    ) -> impl Future<Output = Result<(), ReconnectError>> + Send {
        self.write_as::<JsonCodec, T>(value)
    }

    /// Waits until all messages written before have left the send queue.
    ///
    /// With [`at_least_once`](super::SendQueueConfig::at_least_once), the peer has then received
    /// these messages, except those that a full queue [dropped](super::WhenFull::DropOldest).
    ///
    /// With [`at_most_once`](super::SendQueueConfig::at_most_once), a connection has taken each of
    /// them, and the current connection has written its messages to the transport. If an earlier
    /// connection was lost before it had written its messages, these are lost, and `flush` returns
    /// no error. [`events`](Self::events) reports lost connections.
    ///
    /// # Errors
    ///
    /// When the connection is closed or given up before that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn flush(&self) -> Result<(), ReconnectError> {
        let end = self.shared().state.look(|inner| inner.queue.end());
        let has_left = |inner: &mut SharedState| {
            inner.or_end((inner.queue.first() >= end).then(|| inner.life.conn().cloned()))
        };
        if let Some(conn) = self.shared().state.wait(has_left).await? {
            // An error means that the connection is lost, which `events` reports.
            let _ = conn.flush().await;
        }
        Ok(())
    }

    /// Closes the connection as [`Conn::close`] does, and does not reconnect.
    ///
    /// Queued messages are sent first, as far as the connection takes them without waiting. Call
    /// [`flush`](Self::flush) first to send all of them. [`undelivered`](Self::undelivered) returns
    /// the messages that were not sent. If there is no connection now, nothing is sent.
    ///
    /// # Errors
    ///
    /// As `Conn::close`. If there is no connection now, only for an invalid code or reason.
    ///
    /// # Cancel safety
    ///
    /// After the first poll, the connection is closing. Another call can wait for the end.
    pub async fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        // Before the close is requested, so that an invalid one changes nothing.
        runtime::check_close(code, reason)?;
        let close = Some((code, reason.to_owned()));
        self.shared().apply(LifecycleEvent::CloseRequested(close));
        self.shared().state.wait(|inner| inner.life.close_result()).await
    }

    /// Waits for a connection, and returns it: for pings, streams, and information about it.
    ///
    /// Messages that are written to it directly bypass the send queue. A connection that has ended
    /// is not returned again.
    ///
    /// # Errors
    ///
    /// [`ReconnectError::Closed`] after [`close`](Self::close) was called, also while it waits for the
    /// server. The error of the end if there are no more attempts.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn connected(&self) -> Result<Conn, ReconnectError> {
        // The caller may repeat an operation that fails at once, such as a ping behind a close frame.
        runtime::yield_in_turn().await;
        self.shared().state.wait(|inner| inner.open_conn()).await
    }

    /// The current state.
    pub fn state(&self) -> ReconnectState {
        self.shared().state.look(|inner| inner.life.state())
    }

    /// The current state, and all later ones.
    #[doc(alias = "subscribe")]
    pub fn events(&self) -> ReconnectEvents {
        self.shared().events()
    }

    /// Whether the last connection continues the session of the one before: see
    /// `Reconnect::resumable`. False without it, and for the first connection.
    pub fn recovered(&self) -> bool {
        self.shared().state.look(SharedState::recovered)
    }

    /// The messages in the send queue, which are not sent or not confirmed.
    pub fn undelivered(&self) -> Vec<Message> {
        self.shared().state.look(|inner| inner.queue.messages())
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl fmt::Debug for ReconnectingConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared().fmt(f)
    }
}
