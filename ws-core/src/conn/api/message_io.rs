//! How does one receive or send a message piece by piece?

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conn::Conn;
use crate::conn::driver::reader::{CHUNK, Got, Reader};
use crate::conn::driver::wait_queue::Ticket;
use crate::proto::{Mode, PieceKind};
use crate::utf8::Utf8;
use crate::{Error, MessageType, SendError};

/// How much of a message is gathered before it leaves as a fragment.
const FRAGMENT: usize = 16 * 1024;

/// An incoming message, as it arrives. Made by [`Conn::reader`].
///
/// It reads the message and nothing else: the end of the message is the end of the
/// file. Text is checked as it comes, but a piece may end within a character. All
/// limits hold, and compressed messages are inflated on the way.
///
/// Other reads wait until the message has arrived whole. Dropped early, the rest of the message is
/// dropped as it arrives.
pub struct MessageReader {
    conn: Conn,
    kind: MessageType,
    ticket: Ticket,
    piece: Bytes,
    /// Has the end of the message been seen?
    ended: bool,
    failed: Option<Error>,
}

impl MessageReader {
    const fn new(conn: Conn, kind: MessageType) -> Self {
        let ticket = Ticket::NONE;
        Self { conn, kind, ticket, piece: Bytes::new(), ended: false, failed: None }
    }

    const fn of_whole(conn: Conn, kind: MessageType, piece: Bytes) -> Self {
        Self { conn, kind, ticket: Ticket::NONE, piece, ended: true, failed: None }
    }

    /// The message that begins with this, which is all of it or nothing.
    pub(crate) fn begin(conn: Conn, kind: MessageType, whole: Option<Bytes>) -> Self {
        match whole {
            Some(payload) => Self::of_whole(conn, kind, payload),
            None => Self::new(conn, kind),
        }
    }

    /// Is the message text or binary?
    pub const fn kind(&self) -> MessageType {
        self.kind
    }

    /// The next piece of the message, uncopied; `None` at its end.
    ///
    /// # Errors
    ///
    /// When the connection ends before the message does, with the error that reading
    /// the connection gives from then on.
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

    /// Waits until there is a piece, or the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone()));
        }
        if self.ended || !self.piece.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let conn = self.conn.clone();
        let mut reader = conn.shared().reader.lock();
        let filled = self.poll_fill_from(&mut reader, cx);
        conn.shared().give_back(reader);
        filled
    }

    fn poll_fill_from(
        &mut self,
        reader: &mut Reader,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let shared = self.conn.shared();
        if let Some(message) = reader.unpark() {
            // Somebody else came upon the end of this message.
            self.piece = message.into_bytes();
            self.ended = true;
        } else if reader.inbound.has_piece() && !reader.closing {
            self.piece = reader.inbound.take_piece();
        } else {
            let mode = Mode::Pieces(CHUNK);
            match ready!(reader.poll_next(shared, &mut self.ticket, true, cx, mode)) {
                Ok(Got::Piece | Got::Frame) => self.piece = reader.inbound.take_piece(),
                Ok(Got::Message(message)) => {
                    self.piece = message.into_bytes();
                    self.ended = true;
                }
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Poll::Ready(Err(error));
                }
            }
        }
        reader.leave(&mut self.ticket);
        if self.ended {
            reader.streaming = false;
        }
        // Those that could not go on while a piece waited.
        reader.waiters.wake();
        Poll::Ready(Ok(()))
    }
}

impl MessageReader {
    /// Is something of the message here?
    pub(crate) const fn has_piece(&self) -> bool {
        !self.piece.is_empty()
    }

    /// Reads what is here.
    pub(crate) fn read_piece(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.piece.len().min(buf.remaining());
        buf.put_slice(self.piece.get(..count).unwrap_or_default());
        self.piece.advance(count);
        if self.piece.is_empty() {
            // What is read up need not be held while more is waited for.
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
        let mut reader = self.conn.shared().reader.lock();
        reader.leave(&mut self.ticket);
        if self.ended {
            return;
        }
        reader.streaming = false;
        if reader.unpark().is_none() {
            reader.inbound.discard();
        }
        reader.waiters.wake();
    }
}

impl fmt::Debug for MessageReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// An outgoing message, written piece by piece. Made by [`Conn::writer`].
///
/// What is written is gathered into fragments of up to 16 KiB; `flush` sends what has
/// been gathered so far. While it is open, other writes wait; control frames pass.
///
/// It has to be finished, by [`finish`](Self::finish) or `shutdown`. Dropped early, it
/// closes the connection with 1011: a message that has begun cannot be taken back.
pub struct MessageWriter {
    conn: Conn,
    kind: MessageType,
    ticket: Ticket,
    gathered: Vec<u8>,
    utf8: Utf8,
    /// Has any of it been handed over to be sent?
    begun: bool,
    finished: bool,
}

impl MessageWriter {
    pub(crate) const fn new(conn: Conn, kind: MessageType) -> Self {
        Self {
            conn,
            kind,
            ticket: Ticket::NONE,
            gathered: Vec::new(),
            utf8: Utf8::new(),
            begun: false,
            finished: false,
        }
    }

    /// Is the message text or binary?
    pub const fn kind(&self) -> MessageType {
        self.kind
    }

    /// Makes this message leave without compression, whatever the connection agreed, as
    /// [`Message::uncompressed`](crate::Message::uncompressed) does. To be called before
    /// anything is written; later, it changes nothing.
    #[must_use]
    pub fn uncompressed(self) -> Self {
        if !self.begun {
            self.conn.shared().writer.lock().outbound.begin_uncompressed();
        }
        self
    }

    /// Makes this message leave compressed at this level, from 0 (stored) to 9 (small), where
    /// compression was agreed on, as
    /// [`Message::compression_level`](crate::Message::compression_level) does; values above 9
    /// are taken as 9. To be called before anything is written; later, it changes nothing.
    #[must_use]
    pub fn compression_level(self, level: u8) -> Self {
        if !self.begun && self.gathered.is_empty() {
            self.conn.shared().writer.lock().outbound.begin_at_level(level);
        }
        self
    }

    /// Ends the message, and sends the rest of it.
    ///
    /// # Errors
    ///
    /// When the connection has ended or is closing, or when the text is not complete
    /// UTF-8.
    ///
    /// # Cancel safety
    ///
    /// It does its work when it is first polled, and never waits. Dropped before that,
    /// the writer is dropped unfinished.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.end()
    }

    /// Sends what has been gathered, and the end of the message.
    fn end(&mut self) -> Result<(), Error> {
        if self.finished {
            return Ok(());
        }
        // A copy: half a character may still be completed by those who ask too early.
        let mut utf8 = self.utf8;
        if self.kind == MessageType::Text && utf8.finish().is_err() {
            return Err(SendError::NotUtf8.into());
        }
        self.finished = true;
        self.send(PieceKind::End)
    }

    /// Sends what has been gathered as a frame.
    fn send(&mut self, then: PieceKind) -> Result<(), Error> {
        let shared = self.conn.shared();
        let mut writer = shared.writer.lock();
        writer.waiters.leave(&mut self.ticket);
        self.begun = true;
        let open = writer.check_open(shared);
        let sent = writer.outbound.piece(&self.gathered, then);
        self.gathered.clear();
        writer.flush_now(shared);
        if then == PieceKind::End {
            writer.messages += 1;
            writer.waiters.wake();
        }
        drop(writer);
        if sent.is_err() {
            self.finished = true;
            shared.abandon_message();
        }
        open
    }

    /// Waits until there is room for another fragment.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.gathered.len() < FRAGMENT {
            return Poll::Ready(Ok(()));
        }
        let shared = self.conn.shared();
        ready!(shared.writer.lock().poll_below_mark(shared, &mut self.ticket, cx))?;
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
            // A copy: what is refused is not part of the text, nor of what was checked.
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
        let this = &mut *self;
        let shared = this.conn.shared();
        ready!(shared.writer.lock().poll_flushed(shared, &mut this.ticket, cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end()?;
        self.poll_flush(cx)
    }
}

impl Drop for MessageWriter {
    fn drop(&mut self) {
        let shared = self.conn.shared();
        shared.writer.lock().waiters.leave(&mut self.ticket);
        if !self.finished {
            shared.abandon_message();
        }
    }
}

impl fmt::Debug for MessageWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").field("kind", &self.kind).finish_non_exhaustive()
    }
}
