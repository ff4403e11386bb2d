//! How is a connection a `Stream` and a `Sink`?

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::conn::Conn;
use crate::conn::driver::connection::Shared;
use crate::conn::driver::wait_queue::Ticket;
use crate::conn::driver::writer::Writer;
use crate::proto::CloseFrame;
use crate::{Error, Message, StatusCode};

/// A connection as a `Stream` and a `Sink` of messages. Made by [`Conn::messages`].
pub struct MessageStream {
    conn: Conn,
    reads: Ticket,
    writes: Ticket,
    /// A message that waits for room.
    next: Option<Message>,
    ended: bool,
}

impl Conn {
    /// The messages as a `Stream`, and a `Sink` of messages, for the combinators of `futures`.
    ///
    /// The stream ends when the connection has been closed with 1000 or 1001, or without a
    /// code, as browsers do; [`ending`](Self::ending) tells which. Every other end is an
    /// error, and then the end of the stream. To close the sink is to close the connection,
    /// with 1000.
    ///
    /// What the sink is fed leaves together, with a flush or on the next turn of the
    /// scheduler. `send` waits until the transport has the message, but leaves answers for a
    /// moment while further messages wait to be read, as [`write`](Self::write) does.
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
    pub fn messages(&self) -> MessageStream {
        let (reads, writes) = (Ticket::NONE, Ticket::NONE);
        MessageStream { conn: self.clone(), reads, writes, next: None, ended: false }
    }
}

impl MessageStream {
    /// The connection below.
    pub const fn conn(&self) -> &Conn {
        &self.conn
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        self.conn.shared().poll_read(&mut self.reads, cx)
    }

    /// Keeps a message until there is room for it.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn set_next(&mut self, message: Message) {
        self.next = Some(message);
    }

    /// Hands over a frame.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn poll_frame_sent(
        &mut self,
        frame: &crate::frame::Frame,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_next_sent(cx))?;
        let shared = self.conn.shared();
        if frame.opcode() == crate::frame::OpCode::CLOSE {
            return Poll::Ready(shared.write_half_close(frame));
        }
        shared.poll_writing(&mut self.writes, |writer, ticket| {
            writer.poll_write_frame(shared, frame, ticket, cx)
        })
    }

    /// Hands over the message that waits for room, for it to leave with what follows.
    fn poll_next_fed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_none() {
            return Poll::Ready(Ok(()));
        }
        let Self { conn, writes, next, .. } = self;
        let shared = conn.shared();
        shared.poll_writing(writes, |writer, ticket| writer.poll_feed(shared, next, ticket, cx))
    }

    /// Hands over the message that waits for room.
    pub(crate) fn poll_next_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_none() {
            return Poll::Ready(Ok(()));
        }
        self.conn.shared().poll_write(&mut self.next, &mut self.writes, cx)
    }
}

impl Writer {
    /// As [`poll_write`](Self::poll_write), for a message that others follow, or a flush:
    /// they leave together.
    fn poll_feed(
        &mut self,
        shared: &Shared,
        message: &mut Option<Message>,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_room(shared, ticket, cx))?;
        if let Some(message) = message.take() {
            self.messages += 1;
            self.outbound.message(message);
            self.send(shared, true);
        }
        Poll::Ready(self.outcome())
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
        Poll::Ready(Some(read.clone()).filter(|_| !is_wanted(error)))
    }
}

impl FusedStream for MessageStream {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// Is this an end as one would want it?
fn is_wanted(error: &Error) -> bool {
    const WANTED: &[StatusCode] =
        &[StatusCode::NORMAL_CLOSURE, StatusCode::GOING_AWAY, StatusCode::NO_STATUS_RECEIVED];
    matches!(error, Error::Closed(close) if WANTED.contains(&close.code))
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
            if self.conn.shared().deferred.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let Self { conn, writes, .. } = &mut *self;
        let shared = conn.shared();
        shared.poll_writing(writes, |writer, ticket| writer.poll_flushed(shared, ticket, cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_some() && self.conn.close_info().is_none() {
            ready!(self.poll_next_sent(cx))?;
        }
        let Self { conn, reads, .. } = &mut *self;
        let shared = conn.shared();
        shared.close(CloseFrame::of(StatusCode::NORMAL_CLOSURE, ""));
        let ending = ready!(
            shared.poll_reading(reads, |reader, ticket| reader.poll_end(shared, ticket, cx))
        );
        Poll::Ready(if ending.is_clean() { Ok(()) } else { Err(ending.error) })
    }
}

impl Drop for MessageStream {
    fn drop(&mut self) {
        let shared = self.conn.shared();
        shared.leave_reading(&mut self.reads);
        shared.leave_writing(&mut self.writes);
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").field("conn", &self.conn).finish_non_exhaustive()
    }
}
