//! How are messages and prepared messages written?

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;

use crate::conn::Conn;
use crate::conn::driver::connection::Connection;
use crate::{Error, Message, PreparedMessage, TryWriteError};

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
    #[doc(alias = "try_send")]
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
