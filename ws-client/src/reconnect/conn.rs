//! How does one use a connection that may be lost and made again?

use std::fmt;
use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "json")]
use serde::{Serialize, de::DeserializeOwned};
use ws_core::proto::CloseFrame;

use super::shared::{Full, Inner, Leaving, Shared};
use super::{Events, ReconnectError, State};
#[cfg(feature = "json")]
use crate::JsonCodec;
#[cfg(feature = "proto")]
use crate::ProtobufCodec;
use crate::{CodecError, Conn, Decode, Encode, Error, Message, StatusCode};

/// A connection that is made again whenever it is lost: what
/// [`Reconnect`](crate::Reconnect) makes.
///
/// A cheap handle, as [`Conn`] is: clone it, share it. Every method takes `&self`, and any
/// future may be dropped at any point.
///
/// A task of the runtime keeps the connection. It ends after [`close`](Self::close), when it
/// gives up, or when the last handle is dropped: then the connection ends with 1001, if there
/// is one.
#[derive(Clone)]
pub struct ReconnectingConn(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.change(|inner| {
            inner.leaving.get_or_insert(Leaving::Gone);
        });
    }
}

impl ReconnectingConn {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Handle(shared)))
    }

    /// The next message, of this connection or of one to come.
    ///
    /// # Errors
    ///
    /// When the connection was closed or given up, and all that had arrived was read: the
    /// same error from then on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn read(&self) -> Result<Message, ReconnectError> {
        loop {
            let conn = self.shared().wait(|inner| inner.unread()).await?;
            match conn.read().await {
                Ok(message) => return Ok(message),
                // Why it ended is told by `events`.
                Err(_) => self.shared().change(|inner| inner.has_read(&conn)),
            }
        }
    }

    /// Puts a message into the outbox, from where it is sent at once if there is a connection
    /// that takes it.
    ///
    /// What becomes of it when the connection is lost, and what happens when the outbox is
    /// full, is up to the [`Outbox`](super::Outbox). A [`PreparedMessage`](crate::PreparedMessage) message
    /// saves nothing here, where there is one connection: write its
    /// [`message`](crate::PreparedMessage::message).
    ///
    /// # Errors
    ///
    /// When the connection was closed or given up, or the outbox is full and refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the message has been taken or not.
    pub fn write(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), ReconnectError>> + Send {
        let message = message.into();
        async move {
            let taken = self.shared().wait(|inner| inner.push(&message).ok()).await;
            // The task that sends waits too.
            self.shared().change(|_| ());
            taken
        }
    }

    /// As [`write`](Self::write), but never waits.
    ///
    /// # Errors
    ///
    /// As `write`, and [`ReconnectError::OutboxFull`] where that would wait.
    pub fn try_write(&self, message: impl Into<Message>) -> Result<(), ReconnectError> {
        let message = message.into();
        let pushed = self.shared().change(|inner| inner.push(&message));
        pushed.unwrap_or_else(|Full| Err(ReconnectError::OutboxFull))
    }

    /// The value in the next message, in a format of your own; see [`Codec`](crate::Codec).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). [`ReconnectError::Codec`] when the next message holds no such
    /// value. Unlike [`Conn::read_as`], this does not close the connection: it would be made
    /// again, the same server would send the same message, and so on. The message is gone; the
    /// next call reads the next one.
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

    /// Writes a value, in a format of your own; see [`Codec`](crate::Codec).
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write). [`ReconnectError::Codec`] when the format has no way to say
    /// it, and then nothing was written.
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
        // The value is in the message by now, so the future holds no more than that.
        self.write_encoded(Message::encode::<C, T>(value))
    }

    async fn write_encoded(
        &self,
        message: Result<Message, CodecError>,
    ) -> Result<(), ReconnectError> {
        self.write(message?).await
    }

    /// The value that the next message holds as JSON, text or binary.
    ///
    /// # Errors
    ///
    /// As [`read_as`](Self::read_as): a message that is no such JSON closes nothing.
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "json")]
    pub async fn read_json<T: DeserializeOwned>(&self) -> Result<T, ReconnectError> {
        self.read_as::<JsonCodec, T>().await
    }

    /// Writes a value as JSON, in a text message.
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

    /// The value that the next message holds as a protocol buffer.
    ///
    /// # Errors
    ///
    /// As [`read_as`](Self::read_as): neither a text message nor one that is no such protocol
    /// buffer closes anything.
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "proto")]
    pub async fn read_proto<T: prost::Message + Default>(&self) -> Result<T, ReconnectError> {
        self.read_as::<ProtobufCodec, T>().await
    }

    /// Writes a value as a protocol buffer, in a binary message.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// As `write`.
    #[cfg(feature = "proto")]
    pub fn write_proto<T: prost::Message>(
        &self,
        value: &T,
    ) -> impl Future<Output = Result<(), ReconnectError>> + Send {
        self.write_as::<ProtobufCodec, T>(value)
    }

    /// Waits until everything written has left the outbox.
    ///
    /// With [`at_least_once`](super::Outbox::at_least_once) the peer has it then, but for what
    /// a full outbox [dropped](super::WhenFull::DropOldest). With
    /// [`at_most_once`](super::Outbox::at_most_once) each message was given to a connection,
    /// and the transport of the present one has taken those that were given to it. What an
    /// earlier one had not sent when it was lost is lost, and this does not tell: that is what
    /// at most once means. A loss as such is told by [`events`](Self::events).
    ///
    /// # Errors
    ///
    /// When the connection is closed or given up before. Never for a message that is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn flush(&self) -> Result<(), ReconnectError> {
        let end = self.shared().look(|inner| inner.queue.end());
        let left = |inner: &mut Inner| match inner.queue.first() >= end {
            true => Some(Ok(inner.current.clone())),
            false => inner.ended().map(Err),
        };
        if let Some(conn) = self.shared().wait(left).await? {
            // When it fails, the connection is lost, and what it had not sent with it.
            let _ = conn.flush().await;
        }
        Ok(())
    }

    /// Closes the connection as [`Conn::close`] does, and makes no other.
    ///
    /// What is in the outbox is sent first, as far as the connection takes it without
    /// waiting; [`flush`](Self::flush) before, to be sure. What is left there then,
    /// [`undelivered`](Self::undelivered) tells. Without a connection just now, nothing is
    /// sent.
    ///
    /// # Errors
    ///
    /// As `Conn::close`. Without a connection just now, only for a code or a reason that
    /// cannot be sent.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the connection is closing, and another call can wait for the end.
    pub async fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        CloseFrame::new(code, reason)?;
        self.shared().change(|inner| {
            inner.leaving.get_or_insert_with(|| Leaving::Close(code, reason.to_owned()));
        });
        self.shared().wait(|inner| inner.ended().map(|_| inner.closed.clone())).await
    }

    /// The connection that there is, for what only a [`Conn`] can do: pings, streams, facts.
    ///
    /// What is written to it directly goes around the outbox.
    ///
    /// # Errors
    ///
    /// When the connection is closed or given up before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn connected(&self) -> Result<Conn, ReconnectError> {
        let shared = self.shared();
        shared.wait(|inner| inner.current.clone().map(Ok).or_else(|| inner.ended().map(Err))).await
    }

    /// Is there a connection just now?
    pub fn state(&self) -> State {
        self.shared().look(|inner| inner.state().clone())
    }

    /// The present state, and those to come.
    pub fn events(&self) -> Events {
        self.shared().events()
    }

    /// What is in the outbox: not sent, or not known to have arrived.
    pub fn undelivered(&self) -> Vec<Message> {
        self.shared().look(|inner| inner.queue.messages())
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
