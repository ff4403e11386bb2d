//! How are messages and prepared messages written?

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;

use crate::conn::Conn;
use crate::conn::driver::connection::Connection;
use crate::{Error, Message, PreparedMessage, TryWriteError};

impl Conn {
    /// Writes a message.
    ///
    /// Queues the message, tries the transport once, and returns. If the send buffer is above the
    /// high watermark of [`write_buffer`](crate::Config::write_buffer), the call waits for room
    /// first.
    ///
    /// The call sends the bytes at once, with two exceptions:
    ///
    /// * While further whole messages are buffered for reading, it defers the bytes. They are sent
    ///   when no message is buffered, when [`write_batch`](crate::Config::write_batch) bytes are
    ///   queued, and at the latest on the next turn of the scheduler. Before long synchronous work,
    ///   call [`flush`](Self::flush).
    /// * While other threads wait in `write` for this one, it leaves the bytes to them. The last of
    ///   them sends the bytes of all, or the one that reaches `write_batch`.
    ///
    /// # Errors
    ///
    /// [`Error::CloseSent`] after [`close`](Self::close). Otherwise the error of a connection
    /// that has ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message is queued whole or not at all.
    #[doc(alias = "send")]
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
    /// Returns when the message is queued, after waiting for room as [`write`](Self::write) does.
    /// The bytes are sent on the next turn of the scheduler, together with other messages that are
    /// written before it; [`flush`](Self::flush) sends them at once.
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
    /// [`TryWriteError::Full`] when the send buffer is above the high watermark of
    /// [`write_buffer`](crate::Config::write_buffer), [`TryWriteError::Busy`] while a message is
    /// being sent in pieces or in raw frames, and [`TryWriteError::Conn`] with the error that
    /// [`write`](Self::write) would return. Nothing is queued then.
    #[doc(alias = "try_send")]
    pub fn try_write(&self, message: impl Into<Message>) -> Result<(), TryWriteError> {
        let message = message.into();
        self.0.try_write(self.0.more.load(Relaxed), |writer| writer.queue(message))
    }

    /// As [`try_write`](Self::try_write), for a message that goes to many connections. As with
    /// [`write_prepared`](Self::write_prepared), it is sent on the next turn of the scheduler.
    ///
    /// # Errors
    ///
    /// As `try_write`.
    pub fn try_write_prepared(&self, message: &PreparedMessage) -> Result<(), TryWriteError> {
        self.0.try_write(true, |writer| writer.queue_prepared(message))
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
