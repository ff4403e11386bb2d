//! How are messages, prepared messages and batches written?

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;

use crate::conn::Conn;
use crate::conn::driver::connection::Connection;
use crate::{Error, Message, PreparedMessage, TryWriteError};

/// The result of [`Conn::write_batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// How many messages were taken.
    pub messages: usize,
    /// Whether the transport has all of them. If not, the rest is queued in the connection, and
    /// is sent as the transport takes more.
    pub flushed: bool,
}

impl Conn {
    /// Writes a message.
    ///
    /// Returns when the message is queued and the transport has been tried. That is at once,
    /// unless the queue is above the high watermark of
    /// [`write_buffer`](crate::Config::write_buffer): then it waits for room first.
    ///
    /// Bytes leave in the same call, with one exception: while further whole messages are
    /// buffered for reading, the answers are deferred until no more are buffered, and at most
    /// to the next turn of the scheduler. Before long synchronous work, call
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::CloseSent`] after [`close`](Self::close). Otherwise the error of a connection
    /// that has ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message is queued whole or not at all.
    #[inline]
    pub fn write(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.write(message.into())
    }

    /// Writes a message that goes to many connections: it is compressed once for all of them
    /// that negotiated the same parameters.
    ///
    /// Returns when the message is queued, after waiting for room as [`write`](Self::write)
    /// does. The bytes leave on the next turn of the scheduler, together with what else is
    /// written until then; [`flush`](Self::flush) sends them at once.
    ///
    /// ```
    /// use ws_core::{Conn, PreparedMessage};
    ///
    /// async fn broadcast(conns: &[Conn], news: &str) {
    ///     let news = PreparedMessage::new(news);
    ///     for conn in conns {
    ///         // The task that reads a connection sees its end.
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
        self.0.wait_writing(move |connection, writer, op| {
            connection.poll_queue(writer, op, true, |writer| writer.queue_prepared(message))
        })
    }

    /// Writes a message if there is room for it now, without waiting.
    ///
    /// # Errors
    ///
    /// [`TryWriteError::Full`] when the queue is above the high watermark of
    /// [`write_buffer`](crate::Config::write_buffer), [`TryWriteError::Busy`] while a
    /// [`MessageWriter`](crate::MessageWriter) is open, and [`TryWriteError::Conn`] with what
    /// [`write`](Self::write) would return. Nothing is queued then.
    pub fn try_write(&self, message: impl Into<Message>) -> Result<(), TryWriteError> {
        let message = message.into();
        self.0.try_write(self.0.more.load(Relaxed), |writer| writer.queue(message))
    }

    /// As [`try_write`](Self::try_write), for a message that goes to many connections. As with
    /// [`write_prepared`](Self::write_prepared), it leaves on the next turn of the scheduler.
    ///
    /// # Errors
    ///
    /// As `try_write`.
    pub fn try_write_prepared(&self, message: &PreparedMessage) -> Result<(), TryWriteError> {
        self.0.try_write(true, |writer| writer.queue_prepared(message))
    }

    /// Writes several messages together, from a send queue of the application.
    ///
    /// Waits for room as [`write`](Self::write) does. Then it calls `take` with the number of
    /// bytes there is room for, until `take` returns none or the queue is above the high
    /// watermark of [`write_buffer`](crate::Config::write_buffer). The transport is tried once
    /// for all of them. Everything that `take` returns is sent, however long it is.
    /// [`flush`](Self::flush) waits for what the transport does not take at once.
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
    /// As `write`. No message is taken then, unless the transport fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no message is taken.
    pub fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I + Send + Unpin,
    ) -> impl Future<Output = Result<Batch, Error>> + Send {
        self.0.wait_writing(move |connection, writer, op| {
            let written = connection.poll_write_batch(writer, &mut take, op)?;
            written.map(|(messages, flushed)| Ok(Batch { messages, flushed }))
        })
    }

    /// As [`write_batch`](Self::write_batch), if there is room now, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write). No message is taken then, unless the transport fails.
    pub fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I,
    ) -> Result<Batch, TryWriteError> {
        let mut writer = self.0.writer.lock();
        self.0.check_room(&mut writer)?;
        let (messages, flushed) = self.0.write_batch(&mut writer, &mut take)?;
        Ok(Batch { messages, flushed })
    }

    /// Waits until the transport has everything that was written.
    ///
    /// # Errors
    ///
    /// When the transport has failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the bytes are still sent.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.wait_writing(Connection::poll_flushed)
    }
}
