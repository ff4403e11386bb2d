//! How is one message read or written in pieces?

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conn::Conn;
use crate::conn::driver::connection::Connection;
use crate::conn::driver::reader::ReadItem;
use crate::conn::driver::receive::CHUNK;
use crate::conn::driver::wait_queue::{Operation, WaiterId};
use crate::proto::{Mode, PieceKind};
use crate::utf8::Utf8;
use crate::{Error, MessageType, SendError};

/// How many bytes are gathered before they are sent as a fragment.
const FRAGMENT: usize = 16 * 1024;

/// An incoming message, read in pieces as it arrives. Made by [`Conn::reader`].
///
/// The end of the message is the end of the file. Text is validated as it arrives, but a
/// piece may end within a character. All limits apply, and compressed messages are inflated.
///
/// Other reads wait until the message has been read. If the reader is dropped early, the rest
/// of the message is dropped as it arrives.
pub struct MessageReader {
    conn: Conn,
    kind: MessageType,
    id: WaiterId,
    piece: Bytes,
    /// Whether the end of the message has arrived.
    ended: bool,
    failed: Option<Error>,
}

impl Conn {
    /// Reads the next message in pieces: for messages that are too long to hold in memory, or to
    /// process the start of a message before its end has arrived.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn reader(&self) -> Result<MessageReader, Error> {
        let (kind, whole) = self.0.wait_reading(Connection::poll_open).await?;
        Ok(MessageReader::begin(self.clone(), kind, whole))
    }

    /// Opens a message that is written in pieces.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing. The [`MessageWriter`] has to be finished.
    pub async fn writer(&self, kind: MessageType) -> Result<MessageWriter, Error> {
        self.0
            .wait_writing(|connection, writer, op| {
                ready!(connection.poll_room(writer, op))?;
                writer.outbound.begin(kind, true);
                Poll::Ready(Ok::<_, Error>(()))
            })
            .await?;
        Ok(MessageWriter::new(self.clone(), kind))
    }
}

impl MessageReader {
    /// A message of which all of the payload has arrived, or none.
    pub(crate) fn begin(conn: Conn, kind: MessageType, whole: Option<Bytes>) -> Self {
        let (id, ended) = (WaiterId::NONE_HELD, whole.is_some());
        Self { conn, kind, id, piece: whole.unwrap_or_default(), ended, failed: None }
    }

    /// Whether the message is text or binary.
    pub const fn kind(&self) -> MessageType {
        self.kind
    }

    /// Reads the next piece of the message without a copy; `None` at its end.
    ///
    /// # Errors
    ///
    /// When the connection ends before the message, with the error that reading the
    /// connection returns from then on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        ready!(self.poll_fill(cx))?;
        let piece = std::mem::take(&mut self.piece);
        Poll::Ready(Ok((!piece.is_empty()).then_some(piece)))
    }

    /// Waits for a piece, or for the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone()));
        }
        if self.ended || !self.piece.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Self { conn, id, .. } = self;
        let connection = conn.connection();
        let filled = connection.poll_reading(id, cx, |reader, op| {
            let filled = loop {
                let item = if let Some(message) = reader.take_end_ahead(op.id) {
                    // Another operation has read the end of this message.
                    ReadItem::Message(message)
                } else if reader.inbound.has_piece() && reader.mode.is_streaming() {
                    ReadItem::Piece
                } else {
                    ready!(connection.poll_next(reader, op, Mode::Pieces(CHUNK)))?
                };
                match item {
                    ReadItem::Piece => break (reader.inbound.take_piece(), false),
                    // A control frame between the fragments, for the next read of frames.
                    ReadItem::Frame => {}
                    ReadItem::Message(message) => {
                        reader.mode = reader.mode.stream_closed();
                        break (message.into_bytes(), true);
                    }
                }
            };
            // Other operations could not go on while a piece was undelivered.
            reader.waiters.wake_others(op.id);
            Poll::Ready(Ok(filled))
        });
        let filled: Result<_, Error> = ready!(filled);
        self.failed = filled.as_ref().err().cloned();
        (self.piece, self.ended) = filled?;
        Poll::Ready(Ok(()))
    }

    /// Whether a piece of the message is available.
    pub(crate) const fn has_piece(&self) -> bool {
        !self.piece.is_empty()
    }

    /// Reads from the piece that is available.
    pub(crate) fn read_piece(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.piece.len().min(buf.remaining());
        buf.put_slice(self.piece.get(..count).unwrap_or_default());
        self.piece.advance(count);
        if self.piece.is_empty() {
            // Free it before waiting for more.
            self.piece = Bytes::new();
        }
    }
}

impl AsyncRead for MessageReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0 {
            ready!(self.poll_fill(cx))?;
            self.read_piece(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for MessageReader {
    fn drop(&mut self) {
        let connection = self.conn.connection();
        let mut reader = connection.reader.lock();
        connection.leave(&mut reader, &mut self.id);
        if self.ended {
            return;
        }
        reader.mode = reader.mode.stream_closed();
        if reader.take_end_ahead(&self.id).is_none() {
            reader.inbound.discard();
        }
        reader.waiters.wake();
    }
}

impl_debug!(MessageReader, this => { kind: this.kind });

/// An outgoing message, written in pieces. Made by [`Conn::writer`].
///
/// Written bytes are gathered into fragments of up to 16 KiB; `flush` sends the bytes gathered so
/// far. While the writer is open, other writes wait; control frames are still sent.
///
/// Finish it by [`finish`](Self::finish) or `shutdown`. If it is dropped before that, it closes the
/// connection with 1011: a message that has begun cannot be cancelled.
pub struct MessageWriter {
    conn: Conn,
    kind: MessageType,
    id: WaiterId,
    gathered: Vec<u8>,
    utf8: Utf8,
    /// Whether a part of it has been queued.
    begun: bool,
    finished: bool,
}

impl MessageWriter {
    pub(crate) const fn new(conn: Conn, kind: MessageType) -> Self {
        Self {
            conn,
            kind,
            id: WaiterId::NONE,
            gathered: Vec::new(),
            utf8: Utf8::new(),
            begun: false,
            finished: false,
        }
    }

    /// Whether the message is text or binary.
    pub const fn kind(&self) -> MessageType {
        self.kind
    }

    /// Sends this message without compression, as
    /// [`Message::uncompressed`](crate::Message::uncompressed) does. Call it before anything is
    /// written; later, it changes nothing.
    #[must_use]
    pub fn uncompressed(self) -> Self {
        if !self.begun {
            self.conn.connection().writer.lock().outbound.begin_uncompressed();
        }
        self
    }

    /// Compresses this message at this level, from 0 (stored) to 9 (small), if compression was
    /// negotiated, as [`Message::compression_level`](crate::Message::compression_level) does.
    /// Values above 9 count as 9. Call it before anything is written; later, it changes
    /// nothing.
    #[must_use]
    pub fn compression_level(self, level: u8) -> Self {
        if !self.begun && self.gathered.is_empty() {
            self.conn.connection().writer.lock().outbound.begin_at_level(level);
        }
        self
    }

    /// Sends the rest of the message, and ends it.
    ///
    /// # Errors
    ///
    /// When the connection has ended or is closing, or when the text ends within a character.
    ///
    /// # Cancel safety
    ///
    /// The first poll completes the call. If the future is dropped before that, the writer is
    /// dropped unfinished.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.end()
    }

    /// Sends the gathered bytes as the last frame.
    fn end(&mut self) -> Result<(), Error> {
        if self.finished {
            return Ok(());
        }
        // A copy: after an error, the application may still complete the character.
        let mut utf8 = self.utf8;
        if self.kind == MessageType::Text && utf8.finish().is_err() {
            return Err(SendError::NotUtf8.into());
        }
        self.finished = true;
        self.send(PieceKind::End)
    }

    /// Sends the gathered bytes as a frame.
    fn send(&mut self, then: PieceKind) -> Result<(), Error> {
        let connection = self.conn.connection();
        let mut writer = connection.writer.lock();
        writer.waiters.leave(&mut self.id);
        self.begun = true;
        let open = connection.check_open(&writer);
        let sent = writer.outbound.piece(&self.gathered, then);
        self.gathered.clear();
        connection.flush_now(&mut writer);
        if then == PieceKind::End {
            writer.messages += u64::from(open.is_ok());
            writer.waiters.wake();
        }
        drop(writer);
        if sent.is_err() {
            self.finished = true;
            connection.abandon_message();
        }
        open
    }

    /// Waits for room for another fragment.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.gathered.len() < FRAGMENT {
            return Poll::Ready(Ok(()));
        }
        let connection = self.conn.connection();
        let op = &mut Operation::new(&mut self.id, cx);
        ready!(connection.poll_below_watermark(&mut connection.writer.lock(), op))?;
        Poll::Ready(self.send(PieceKind::More))
    }
}

impl AsyncWrite for MessageWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_room(cx))?;
        let count = buf.len().min(FRAGMENT - self.gathered.len());
        let piece = buf.get(..count).unwrap_or_default();
        if self.kind == MessageType::Text {
            // A copy: bytes that are refused must not change the state of the validation.
            let mut utf8 = self.utf8;
            if utf8.push(piece).is_err() {
                return Poll::Ready(Err(Error::from(SendError::NotUtf8).into()));
            }
            self.utf8 = utf8;
        }
        self.gathered.extend_from_slice(piece);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            self.send(PieceKind::Flush)?;
        }
        let Self { conn, id, .. } = &mut *self;
        let connection = conn.connection();
        let flushed =
            connection.poll_writing(id, cx, |writer, op| connection.poll_flushed(writer, op));
        flushed.map_err(io::Error::from)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end()?;
        self.poll_flush(cx)
    }
}

impl Drop for MessageWriter {
    fn drop(&mut self) {
        let connection = self.conn.connection();
        connection.writer.lock().waiters.leave(&mut self.id);
        if !self.finished {
            connection.abandon_message();
        }
    }
}

impl_debug!(MessageWriter, this => { kind: this.kind });
