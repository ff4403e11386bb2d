//! How is a connection a stream of bytes?

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::codec::CodecError;
use crate::conn::Conn;
use crate::conn::api::payload_stream::{Piece, Pieces, is_end};
use crate::conn::driver::wait_queue::Ticket;
use crate::proto::CloseFrame;
use crate::{Error, Message, MessageType, StatusCode};

/// The longest message that is written: what is longer is written in several.
const LONGEST: usize = 64 * 1024;

/// A connection as a stream of bytes. Made by [`Conn::into_byte_stream`].
pub struct ByteStream {
    pieces: Pieces,
    kind: MessageType,
    /// The place of a write or a flush that waits.
    ticket: Ticket,
}

impl Conn {
    /// Takes the connection for a stream of bytes, to tunnel another protocol through it.
    ///
    /// What is written at once is a message of this type, of up to 64 KiB; where that is
    /// text, it has to be UTF-8. What is read is the payload of messages, however they are
    /// cut. None is held, so the [`Limits`](crate::Limits) on the length of messages and
    /// frames and on the number of fragments are gone from the next message on; those on
    /// rates stay. A message of the other type closes the connection with 1003. A close with
    /// 1000 or 1001 is the end of the file, and every other end is an error.
    ///
    /// `shutdown` sends a close frame with 1000 behind what was written. The peer can still
    /// be read: while the other end is a `ByteStream` too, what it has to say comes, and then
    /// its own close frame. So a tunnel carries what TCP does when one side has finished and
    /// the other has not. Other peers answer with a close frame at once. Dropped, the stream
    /// is closed as a connection is.
    ///
    /// ```no_run
    /// use tokio::io::copy_bidirectional;
    /// use tokio::net::TcpStream;
    /// use ws_core::{Conn, MessageType};
    ///
    /// async fn tunnel(conn: Conn) -> std::io::Result<()> {
    ///     let mut tcp = TcpStream::connect("127.0.0.1:22").await?;
    ///     let mut conn = conn.into_byte_stream(MessageType::Binary);
    ///     copy_bidirectional(&mut conn, &mut tcp).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn into_byte_stream(self, kind: MessageType) -> ByteStream {
        let mut reader = self.shared().reader.lock();
        if !reader.closing {
            reader.inbound.disable_size_limits();
        }
        reader.half_closes = true;
        drop(reader);
        ByteStream { pieces: Pieces::new(self), kind, ticket: Ticket::NONE }
    }
}

impl ByteStream {
    /// The connection below, for a ping or its statistics.
    pub const fn conn(&self) -> &Conn {
        self.pieces.conn()
    }

    fn refuse(&self, kind: MessageType) -> io::Error {
        let error = Error::Codec(CodecError::Type(kind));
        let frame = CloseFrame::of(StatusCode::UNSUPPORTED_DATA, &error.to_string());
        self.conn().shared().refuse(frame, error.clone());
        error.into()
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 {
            match ready!(self.pieces.poll_piece(cx)) {
                Ok(Piece::Begin(kind)) if kind != self.kind => {
                    return Poll::Ready(Err(self.refuse(kind)));
                }
                Ok(Piece::Begin(_) | Piece::End) => {}
                Ok(Piece::Payload) => {
                    self.pieces.read(buf);
                    break;
                }
                Err(error) if is_end(&error) => break,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        // An empty message would be read as nothing.
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Self { pieces, kind, ticket } = &mut *self;
        let shared = pieces.conn().shared();
        let written = shared.poll_writing(ticket, |writer, ticket| {
            ready!(writer.poll_room(shared, ticket, cx))?;
            let piece = buf.get(..end_of_piece(*kind, buf)).unwrap_or(buf);
            let message = Message::try_new(*kind, Bytes::copy_from_slice(piece))
                .ok_or(crate::SendError::NotUtf8)?;
            writer.write(shared, message);
            Poll::Ready(writer.outcome().map(|()| piece.len()))
        });
        written.map_err(io::Error::from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { pieces, ticket, .. } = &mut *self;
        let shared = pieces.conn().shared();
        let flushed =
            shared.poll_writing(ticket, |writer, ticket| writer.poll_flushed(shared, ticket, cx));
        flushed.map_err(io::Error::from)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.conn().close_info().is_none() {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        self.conn().shared().close_half(CloseFrame::of(StatusCode::NORMAL_CLOSURE, ""));
        match self.conn().close_info() {
            // The last word was said, and leaves by itself.
            Some(ending) if ending.is_clean() => Poll::Ready(Ok(())),
            _ => self.poll_flush(cx),
        }
    }
}

/// Where to cut what is written at once into messages, which is not within a character.
fn end_of_piece(kind: MessageType, bytes: &[u8]) -> usize {
    let begins = |byte: &u8| byte & 0xc0 != 0x80;
    match (kind, bytes.get(..LONGEST), bytes.get(LONGEST)) {
        (MessageType::Text, Some(piece), Some(next)) if !begins(next) => {
            piece.iter().rposition(begins).unwrap_or(LONGEST)
        }
        _ => LONGEST,
    }
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        let Self { pieces, ticket, .. } = self;
        pieces.conn().shared().leave_writing(ticket);
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("conn", self.conn())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
