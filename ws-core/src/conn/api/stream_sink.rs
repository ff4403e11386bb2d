//! How is a connection used as a `Stream` and a `Sink`?

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::conn::Conn;
use crate::conn::driver::wait_queue::WaiterId;
use crate::proto::CloseFrame;
use crate::{Error, Message, StatusCode};

/// A connection as a `Stream` and a `Sink` of messages. Made by [`Conn::messages`].
pub struct MessageStream {
    conn: Conn,
    reads: WaiterId,
    writes: WaiterId,
    /// The message that is sent next.
    next: Option<Message>,
    ended: bool,
}

impl Conn {
    /// The connection as a `Stream` and a `Sink` of messages, for the combinators of `futures`.
    ///
    /// The stream ends after a [normal](StatusCode::is_normal) close;
    /// [`close_info`](Self::close_info) returns its code. Every other end is an error item, and
    /// then the end of the stream. Closing the sink closes the connection with 1000.
    ///
    /// Messages that are fed to the sink are sent together, by a flush or on the next turn of the
    /// scheduler. `send` waits until the transport has the message, but defers answers while
    /// further messages are buffered for reading, as [`write`](Self::write) does.
    ///
    /// ```
    /// use futures::{SinkExt as _, TryStreamExt as _};
    /// use ws_core::{Conn, Error};
    ///
    /// async fn count(conn: Conn) -> Result<usize, Error> {
    ///     let mut messages = conn.messages();
    ///     let mut count = 0;
    ///     while let Some(message) = messages.try_next().await? {
    ///         messages.send(message).await?;
    ///         count += 1;
    ///     }
    ///     Ok(count)
    /// }
    /// ```
    #[doc(alias("split", "stream", "sink"))]
    pub fn messages(&self) -> MessageStream {
        let (reads, writes) = (WaiterId::NONE_HELD, WaiterId::NONE);
        MessageStream { conn: self.clone(), reads, writes, next: None, ended: false }
    }
}

impl MessageStream {
    /// The underlying connection.
    pub const fn conn(&self) -> &Conn {
        &self.conn
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        self.conn.connection().poll_read(&mut self.reads, cx)
    }

    /// Sets the message that is sent next.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn set_next(&mut self, message: Message) {
        self.next = Some(message);
    }

    /// Writes a frame.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn poll_frame_sent(
        &mut self,
        frame: &crate::frame::Frame,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_next_sent(cx))?;
        let connection = self.conn.connection();
        if frame.opcode() == crate::frame::OpCode::CLOSE {
            connection.close_half(connection.check_close(frame)?);
            return Poll::Ready(Ok(()));
        }
        connection.poll_writing(&mut self.writes, cx, |writer, op| {
            connection.poll_write_frame(writer, frame, op)
        })
    }

    /// Queues the next message, to be sent with what follows.
    fn poll_next_fed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_none() {
            return Poll::Ready(Ok(()));
        }
        let Self { conn, writes, next, .. } = self;
        let connection = conn.connection();
        connection.poll_writing(writes, cx, |writer, op| {
            connection.poll_queue(writer, op, true, |writer| writer.queue_next(next))
        })
    }

    /// Sends the next message.
    pub(crate) fn poll_next_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_none() {
            return Poll::Ready(Ok(()));
        }
        self.conn.connection().poll_write(&mut self.next, &mut self.writes, cx)
    }
}

impl Stream for MessageStream {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let read = ready!(self.poll_read(cx));
        let Err(error) = &read else { return Poll::Ready(Some(read)) };
        self.ended = true;
        Poll::Ready(Some(read.clone()).filter(|_| !error.is_normal_close()))
    }
}

impl FusedStream for MessageStream {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl Sink<Message> for MessageStream {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_next_fed(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.next = Some(message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_some() {
            ready!(self.poll_next_sent(cx))?;
            if self.conn.connection().has_deferred() {
                return Poll::Ready(Ok(()));
            }
        }
        let Self { conn, writes, .. } = &mut *self;
        let connection = conn.connection();
        connection.poll_writing(writes, cx, |writer, op| connection.poll_flushed(writer, op))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_some() && self.conn.close_info().is_none() {
            ready!(self.poll_next_sent(cx))?;
        }
        let Self { conn, reads, .. } = &mut *self;
        let connection = conn.connection();
        connection.close(CloseFrame::of(StatusCode::NORMAL_CLOSURE, ""));
        let ending = ready!(
            connection.poll_reading(reads, cx, |reader, op| connection.poll_end(reader, op))
        );
        Poll::Ready(if ending.is_clean() { Ok(()) } else { Err(ending.error) })
    }
}

impl Drop for MessageStream {
    fn drop(&mut self) {
        let connection = self.conn.connection();
        connection.leave_reading(&mut self.reads);
        connection.leave_writing(&mut self.writes);
    }
}

impl_debug!(MessageStream, this => { conn: this.conn });
