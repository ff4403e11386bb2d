//! How are messages read as one stream of payload bytes?

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::codec::CodecError;
use crate::conn::driver::wait_queue::WaiterId;
use crate::conn::{Conn, MessageReader, MessageStream};
use crate::{Error, MessageType};

/// All messages as one stream of bytes. Returned by [`MessageStream::joined`].
pub struct JoinedMessages {
    conn: Conn,
    /// The slot of a read that waits for a message.
    id: WaiterId,
    message: Option<MessageReader>,
    /// The only type of message that is accepted, if there is one.
    kind: Option<MessageType>,
    terminator: Bytes,
    /// The part of the terminator that is not read yet.
    left: Bytes,
}

impl MessageStream {
    /// Reads all messages, text and binary, as one stream of bytes, with a terminator after each
    /// message. The terminator may be empty. A [normal](crate::StatusCode::is_normal) close is the
    /// end of the file, unless a message has begun and not ended; every other end is an error.
    ///
    /// ```
    /// use tokio::io::{AsyncBufReadExt as _, BufReader};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let (here, there) = ws_core::pair();
    /// here.write("one").await?;
    /// here.write("two").await?;
    /// let mut lines = BufReader::new(there.messages().joined("\n")).lines();
    /// assert_eq!(lines.next_line().await?.as_deref(), Some("one"));
    /// assert_eq!(lines.next_line().await?.as_deref(), Some("two"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Messages are read in pieces and never held whole. The message size limit applies.
    #[doc(alias = "JoinMessages")]
    pub fn joined(self, terminator: impl Into<Bytes>) -> JoinedMessages {
        JoinedMessages::new(self.conn().clone(), None, terminator.into())
    }
}

impl JoinedMessages {
    pub(crate) const fn new(conn: Conn, kind: Option<MessageType>, terminator: Bytes) -> Self {
        let id = WaiterId::NONE_HELD;
        Self { conn, id, message: None, kind, terminator, left: Bytes::new() }
    }

    pub(crate) const fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Opens the next message, waits for its payload, or ends it.
    fn poll_advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(message) = &mut self.message else {
            self.message = Some(ready!(self.poll_begin(cx))?);
            return Poll::Ready(Ok(()));
        };
        ready!(message.poll_fill(cx))?;
        if !message.has_piece() {
            self.message = None;
            self.left = self.terminator.clone();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<MessageReader, Error>> {
        let connection = self.conn.connection();
        let opened = connection
            .poll_reading(&mut self.id, cx, |reader, op| connection.poll_open(reader, op));
        let (kind, whole) = ready!(opened)?;
        let message = MessageReader::begin(self.conn.clone(), kind, whole);
        if self.kind.is_some_and(|accepted| accepted != kind) {
            return Poll::Ready(Err(self.conn.refuse(CodecError::Type(kind))));
        }
        Poll::Ready(Ok(message))
    }
}

impl AsyncRead for JoinedMessages {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while buf.remaining() > 0 {
            if !this.left.is_empty() {
                buf.put_slice(&this.left.split_to(this.left.len().min(buf.remaining())));
                break;
            }
            if let Some(message) = this.message.as_mut().filter(|message| message.has_piece()) {
                message.read_piece(buf);
                break;
            }
            match ready!(this.poll_advance(cx)) {
                Ok(()) => {}
                Err(error) if error.is_normal_close() && this.message.is_none() => break,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for JoinedMessages {
    fn drop(&mut self) {
        self.conn.connection().leave_reading(&mut self.id);
    }
}

impl_debug!(JoinedMessages, this => { conn: this.conn, terminator: this.terminator });
