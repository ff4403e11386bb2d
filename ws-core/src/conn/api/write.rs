//! How does one send a message?

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;

use crate::conn::driver::writer::Writer;
use crate::conn::{Conn, MessageWriter};
use crate::{Error, Message, MessageType, PreparedMessage, TryWriteError};

/// What became of several messages: see [`Conn::write_batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// How many were taken.
    pub messages: usize,
    /// Whether the transport has all of them. If not, they wait in the connection, and leave
    /// as it takes more.
    pub flushed: bool,
}

impl Conn {
    /// Sends a message.
    ///
    /// It returns when the message is queued and the transport has been offered it,
    /// which is at once unless more than the high mark of
    /// [`write_buffer`](crate::Config::write_buffer) waits; then it waits for room first.
    ///
    /// Bytes leave in the same call, with one exception: while further whole messages
    /// wait to be read, the answers to them are gathered, until the reader runs dry and
    /// in any case on the next turn of the scheduler. Only before long synchronous work
    /// does that matter: call [`flush`](Self::flush) then.
    ///
    /// # Errors
    ///
    /// [`Error::CloseSent`] after [`close`](Self::close); otherwise when the connection
    /// has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the message has been queued whole or not at all.
    #[inline]
    pub fn write(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.write(message.into())
    }

    /// Sends a message that goes to many connections: it is compressed once for all of
    /// them that agreed to the same.
    ///
    /// It returns when the message is queued, after waiting for room as
    /// [`write`](Self::write) does. The bytes leave on the next turn of the scheduler,
    /// together with what else is written until then; [`flush`](Self::flush) sends
    /// them at once.
    ///
    /// ```
    /// use ws_core::{Conn, PreparedMessage};
    ///
    /// async fn broadcast(conns: &[Conn], news: &str) {
    ///     let news = PreparedMessage::new(news);
    ///     for conn in conns {
    ///         // One that has ended is found out by whoever reads it.
    ///         let _ = conn.write_prepared(&news).await;
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As `write`.
    ///
    /// # Cancel safety
    ///
    /// As `write`.
    #[inline]
    pub fn write_prepared(
        &self,
        message: &PreparedMessage,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.wait_writing(move |writer, shared, ticket, cx| {
            writer.poll_write_prepared(shared, message, ticket, cx)
        })
    }

    /// Sends a message if there is room for it now: for those that must not wait.
    ///
    /// # Errors
    ///
    /// [`TryWriteError::Full`] when more waits than the high mark of
    /// [`write_buffer`](crate::Config::write_buffer), [`TryWriteError::Busy`] while a
    /// [`MessageWriter`] is open, and [`TryWriteError::Conn`] with what
    /// [`write`](Self::write) would return. Nothing has been queued then.
    pub fn try_write(&self, message: impl Into<Message>) -> Result<(), TryWriteError> {
        let message = message.into();
        let mut writer = self.0.writer.lock();
        let later = self.0.more.load(Relaxed);
        let tried = writer.try_write(&self.0, later, |outbound| outbound.message(message));
        self.0.release(writer);
        tried
    }

    /// As [`try_write`](Self::try_write), for a message that goes to many; as with
    /// [`write_prepared`](Self::write_prepared), it leaves on the next turn of the
    /// scheduler.
    ///
    /// # Errors
    ///
    /// As `try_write`.
    pub fn try_write_prepared(&self, message: &PreparedMessage) -> Result<(), TryWriteError> {
        let mut writer = self.0.writer.lock();
        let tried = writer.try_write(&self.0, true, |outbound| outbound.prepared(message));
        self.0.release(writer);
        tried
    }

    /// Sends several messages together: for those that keep a queue of their own, such as
    /// a hub for each of its members.
    ///
    /// It waits for room as [`write`](Self::write) does. Then it asks `take` for messages
    /// of so many bytes, and again, until there are none or more than the high mark of
    /// [`write_buffer`](crate::Config::write_buffer) waits, and offers the transport all
    /// of them at once. What `take` gives is sent, however much it is.
    /// [`flush`](Self::flush) waits for what the transport has left.
    ///
    /// `take` runs under a lock of the connection: it must not use the connection.
    ///
    /// ```
    /// use std::collections::VecDeque;
    /// use ws_core::{Conn, Error, PreparedMessage};
    ///
    /// async fn drain(conn: &Conn, mut waiting: VecDeque<PreparedMessage>) -> Result<(), Error> {
    ///     while !waiting.is_empty() {
    ///         if !conn.write_batch(|_| waiting.pop_front()).await?.flushed {
    ///             conn.flush().await?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As `write`. Nothing has been taken then, unless it is the transport that fails.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing has been taken.
    pub fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I + Send + Unpin,
    ) -> impl Future<Output = Result<Batch, Error>> + Send {
        self.0.wait_writing(move |writer, shared, ticket, cx| {
            writer.poll_write_batch(shared, &mut take, ticket, cx)
        })
    }

    /// As [`write_batch`](Self::write_batch), if there is room now: for those that must not
    /// wait.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write). Nothing has been taken then, unless it is the
    /// transport that fails.
    pub fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I,
    ) -> Result<Batch, TryWriteError> {
        let mut writer = self.0.writer.lock();
        writer.check_room(&self.0)?;
        Ok(writer.write_batch(&self.0, &mut take)?)
    }

    /// Opens a message that is sent piece by piece.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind. The [`MessageWriter`] has to be
    /// finished.
    pub async fn writer(&self, kind: MessageType) -> Result<MessageWriter, Error> {
        self.0
            .wait_writing(|writer, shared, ticket, cx| writer.poll_open(shared, kind, ticket, cx))
            .await?;
        Ok(MessageWriter::new(self.clone(), kind))
    }

    /// Waits until everything written has been handed to the transport.
    ///
    /// # Errors
    ///
    /// When the transport takes nothing any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the bytes leave all the same.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.wait_writing(Writer::poll_flushed)
    }
}
