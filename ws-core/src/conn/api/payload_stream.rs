//! How are messages read as one stream of payload bytes?

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::conn::driver::wait_queue::WaiterId;
use crate::conn::{Conn, MessageReader, MessageStream};
use crate::{Error, MessageType};

/// Reads the payload of messages in pieces, one message after the other.
pub(crate) struct Pieces {
    conn: Conn,
    id: WaiterId,
    message: Option<MessageReader>,
}

/// What [`Pieces`] has read.
pub(crate) enum Piece {
    Begin(MessageType),
    /// A part of the payload is available.
    Payload,
    End,
}

impl Pieces {
    pub(crate) const fn new(conn: Conn) -> Self {
        Self { conn, id: WaiterId::NONE, message: None }
    }

    pub(crate) const fn conn(&self) -> &Conn {
        &self.conn
    }

    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Error>> {
        let Some(message) = &mut self.message else {
            let message = ready!(self.poll_begin(cx))?;
            let kind = message.kind();
            self.message = Some(message);
            return Poll::Ready(Ok(Piece::Begin(kind)));
        };
        ready!(message.poll_fill(cx))?;
        if message.has_piece() {
            return Poll::Ready(Ok(Piece::Payload));
        }
        self.message = None;
        Poll::Ready(Ok(Piece::End))
    }

    /// Reads from the payload that is available.
    pub(crate) fn read(&mut self, buf: &mut ReadBuf<'_>) {
        if let Some(message) = &mut self.message {
            message.read_piece(buf);
        }
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<MessageReader, Error>> {
        let connection = self.conn.connection();
        let opened = connection
            .poll_reading(&mut self.id, cx, |reader, op| connection.poll_open(reader, op));
        opened.map_ok(|(kind, whole)| MessageReader::begin(self.conn.clone(), kind, whole))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.conn.connection().leave_reading(&mut self.id);
    }
}

/// All messages as one stream of bytes. Returned by [`MessageStream::joined`].
pub struct JoinedMessages {
    pieces: Pieces,
    terminator: Bytes,
    /// The part of the terminator that is not read yet.
    left: Bytes,
}

impl MessageStream {
    /// Reads all messages, text and binary, as one stream of bytes, with a terminator behind
    /// each. The terminator may be empty. A [normal](crate::StatusCode::is_normal) close is the end of the file;
    /// every other end is an error.
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
        JoinedMessages {
            pieces: Pieces::new(self.conn().clone()),
            terminator: terminator.into(),
            left: Bytes::new(),
        }
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
                return Poll::Ready(Ok(()));
            }
            match ready!(this.pieces.poll_piece(cx)) {
                Ok(Piece::Begin(_)) => {}
                Ok(Piece::Payload) => {
                    this.pieces.read(buf);
                    return Poll::Ready(Ok(()));
                }
                Ok(Piece::End) => this.left = this.terminator.clone(),
                Err(error) if error.is_normal_close() => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl_debug!(JoinedMessages, this => { conn: this.pieces.conn(), terminator: this.terminator });
