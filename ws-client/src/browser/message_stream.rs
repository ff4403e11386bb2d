//! How is a connection in a browser used as a `Stream` and a `Sink`?

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use ws_core::{Error, Message, StatusCode};

use super::conn::Conn;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection as a `Stream` and a `Sink` of messages. Made by [`Conn::messages`].
pub struct MessageStream {
    conn: Conn,
    reading: Option<BoxFuture<Result<Message, Error>>>,
    /// The message that was given to the sink, until it is queued.
    writing: Option<BoxFuture<Result<(), Error>>>,
    flushing: Option<BoxFuture<Result<(), Error>>>,
    /// Not in `flushing`: a flush that was dropped before its end does not replace a close.
    closing: Option<BoxFuture<Result<(), Error>>>,
    ended: bool,
}

impl Conn {
    /// The connection as a `Stream` and a `Sink` of messages, for the combinators of `futures`.
    ///
    /// The stream ends after a [normal](StatusCode::is_normal) close;
    /// [`close_info`](Self::close_info) returns its code. Every other end is an error item, and
    /// then the end of the stream. Closing the sink closes the connection with 1000.
    pub fn messages(&self) -> MessageStream {
        MessageStream {
            conn: self.clone(),
            reading: None,
            writing: None,
            flushing: None,
            closing: None,
            ended: false,
        }
    }
}

impl MessageStream {
    /// The underlying connection.
    pub const fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Runs a future to its end, and starts it first if there is none.
    fn poll_in<T>(
        slot: &mut Option<BoxFuture<T>>,
        cx: &mut Context<'_>,
        start: impl FnOnce() -> BoxFuture<T>,
    ) -> Poll<T> {
        let done = ready!(slot.get_or_insert_with(start).as_mut().poll(cx));
        *slot = None;
        Poll::Ready(done)
    }
}

impl Stream for MessageStream {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let conn = self.conn.clone();
        let start = || -> BoxFuture<_> { Box::pin(async move { conn.read().await }) };
        let read = ready!(Self::poll_in(&mut self.reading, cx, start));
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
        match &mut self.writing {
            None => Poll::Ready(Ok(())),
            Some(writing) => {
                let written = ready!(writing.as_mut().poll(cx));
                self.writing = None;
                Poll::Ready(written)
            }
        }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let conn = self.conn.clone();
        self.writing = Some(Box::pin(async move { conn.write(message).await }));
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.as_mut().poll_ready(cx))?;
        let conn = self.conn.clone();
        let start = || -> BoxFuture<_> { Box::pin(async move { conn.flush().await }) };
        Self::poll_in(&mut self.flushing, cx, start)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.conn.close_info().is_none() {
            ready!(self.as_mut().poll_ready(cx))?;
        }
        let conn = self.conn.clone();
        let start = || -> BoxFuture<_> {
            Box::pin(async move { conn.close(StatusCode::NORMAL_CLOSURE, "").await })
        };
        Self::poll_in(&mut self.closing, cx, start)
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").field("conn", &self.conn).finish_non_exhaustive()
    }
}
