//! How is a connection used as an `AsyncRead` and `AsyncWrite`?

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conn::driver::state::ReadMode;
use crate::conn::driver::wait_queue::WaiterId;
use crate::conn::{Conn, JoinedMessages};
use crate::proto::CloseFrame;
use crate::{Message, MessageType, StatusCode};

/// The longest message that is written. Longer writes are split.
const LONGEST: usize = 64 * 1024;

/// A connection as a byte stream. Made by [`Conn::into_byte_stream`].
pub struct ByteStream {
    payload: JoinedMessages,
    kind: MessageType,
    /// The slot of a write or a flush that waits.
    id: WaiterId,
}

impl Conn {
    /// Uses the connection as a byte stream, to tunnel another protocol through it.
    ///
    /// Each write is sent as a message of this type, of up to 64 KiB; text has to be UTF-8. Reads
    /// return the payload of messages, without their boundaries. No message is held in memory. So
    /// the [`Limits`](crate::Limits) on the size of messages and frames and on the number of
    /// fragments do not apply from the next message on; rate limits still apply. A message of the
    /// other type closes the connection with 1003. A [normal](crate::StatusCode::is_normal) close
    /// is the end of the file, unless a message has begun and not ended; every other end is an error.
    ///
    /// `shutdown` sends a close frame with 1000 after the written data. Reads still return data of
    /// the peer. If the other end is a `ByteStream` too, it sends its remaining data and then its
    /// own close frame, so a tunnel carries the half-close of TCP. Other peers answer with a close
    /// frame at once. After `shutdown`, there is no [`Keepalive`](crate::Keepalive), since no ping may
    /// follow a close frame; [`max_age`](crate::Config::max_age) and
    /// [`idle_timeout`](crate::Config::idle_timeout) still hold. Dropping the stream closes it as
    /// dropping a connection does.
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
        let mut reader = self.connection().reader.lock();
        if reader.mode != ReadMode::Discarding {
            reader.inbound.disable_size_limits();
        }
        drop(reader);
        self.connection().allow_half_close();
        ByteStream {
            payload: JoinedMessages::new(self, Some(kind), Bytes::new()),
            kind,
            id: WaiterId::NONE,
        }
    }
}

impl ByteStream {
    /// The connection, for pings and statistics.
    pub const fn conn(&self) -> &Conn {
        self.payload.conn()
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.payload).poll_read(cx, buf)
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        // The peer would read nothing from an empty message.
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Self { payload, kind, id } = &mut *self;
        let connection = payload.conn().connection();
        let written = connection.poll_writing(id, cx, |writer, op| {
            ready!(connection.poll_room(writer, op))?;
            let piece = buf.get(..end_of_piece(*kind, buf)).unwrap_or(buf);
            let message = Message::try_new(*kind, Bytes::copy_from_slice(piece))
                .ok_or(crate::SendError::NotUtf8)?;
            writer.queue(message);
            connection.send(writer, connection.more.load(Relaxed));
            Poll::Ready(writer.result().map(|()| piece.len()))
        });
        written.map_err(io::Error::from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { payload, id, .. } = &mut *self;
        let connection = payload.conn().connection();
        let flushed =
            connection.poll_writing(id, cx, |writer, op| connection.poll_flushed(writer, op));
        flushed.map_err(io::Error::from)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.conn().close_info().is_none() {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        self.conn().connection().close_half(CloseFrame::of(StatusCode::NORMAL_CLOSURE, ""));
        match self.conn().close_info() {
            // The lingering close sends the rest.
            Some(ending) if ending.is_clean() => Poll::Ready(Ok(())),
            _ => self.poll_flush(cx),
        }
    }
}

/// Where a long write is split: never within a character.
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
        let Self { payload, id, .. } = self;
        payload.conn().connection().leave_writing(id);
    }
}

impl_debug!(ByteStream, this => { conn: this.conn(), kind: this.kind });
