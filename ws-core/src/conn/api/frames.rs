//! How does an application read, write and tap raw frames?

use std::future::Future;
use std::task::{Poll, ready};

use crate::conn::Conn;
use crate::conn::api::tap::{self, Tapped};
use crate::conn::driver::connection::Connection;
use crate::frame::{Frame, OpCode};
use crate::{Error, TryWriteError};

/// The raw frames of a connection. Returned by [`Conn::frames`].
///
/// For proxies, tests of other implementations, and protocols that assign meaning to frames.
///
/// ```
/// use ws_core::frame::Frame;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ws_core::Error> {
/// let (client, server) = ws_core::pair();
/// client.frames().write(Frame::text("Hel").fin(false)).await?;
/// let frame = server.frames().read().await?;
/// assert_eq!((frame.is_fin(), &frame.payload()[..]), (false, &b"Hel"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a>(&'a Conn);

impl Conn {
    /// The raw frames of this connection, to read, write or tap.
    pub const fn frames(&self) -> Frames<'_> {
        Frames(self)
    }
}

impl<'a> Frames<'a> {
    /// Reads the next frame, data or control, as it was received, but unmasked. It is still
    /// compressed.
    ///
    /// The frame is validated, control frames are answered, and the limits of a message apply
    /// to each frame. Text is not checked for UTF-8, and the size after decompression is not
    /// limited. The peer's close frame is the last frame.
    ///
    /// Once a frame of a message is read this way, read its other frames this way too:
    /// [`Conn::read`] and [`Conn::reader`] drop the rest of the message. If one of these has begun
    /// to receive a message, this method returns that message as one frame, complete and
    /// decompressed. Control frames that arrive while only other operations wait, such as
    /// [`Conn::ping`], are not returned; [`tap`](Self::tap) shows all frames.
    ///
    /// # Errors
    ///
    /// As `read`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn read(self) -> Result<Frame, Error> {
        self.0.connection().wait_reading(Connection::poll_frame).await
    }

    /// Writes a frame, if the protocol allows it at this point. Waits for room as [`Conn::write`]
    /// does.
    ///
    /// The frame is masked as the role requires, unless it sets a mask of its own, and is not
    /// compressed. From the first frame of a message to its last, other writes wait and
    /// [`Conn::try_write`] returns `Busy`; control frames are still sent.
    ///
    /// A close frame begins the closing handshake, without waiting for its end as [`Conn::close`]
    /// does, and without dropping what still arrives: reading returns it up to the peer's close
    /// frame, for at most [`close_timeout`](crate::Config::close_timeout).
    ///
    /// # Errors
    ///
    /// [`Error::SendError`] when the protocol does not allow the frame; nothing is sent then.
    /// Otherwise as `write`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the frame is queued whole or not at all.
    pub async fn write(self, frame: Frame) -> Result<(), Error> {
        let connection = self.0.connection();
        if frame.opcode() == OpCode::CLOSE {
            connection.close_by_frame(connection.check_close(&frame)?);
            return Ok(());
        }
        connection
            .wait_writing(|connection, writer, op| connection.poll_write_frame(writer, &frame, op))
            .await
    }

    /// As [`write`](Self::write), if there is room for the frame now, without waiting: for pings
    /// and close frames from a hook.
    ///
    /// ```
    /// use ws_core::frame::Frame;
    ///
    /// # let (conn, _peer) = ws_core::pair();
    /// // Passes the pings of the peer back to it, in order.
    /// conn.on_ping(|conn, payload| {
    ///     let _ = conn.frames().try_write(Frame::ping(payload.clone()));
    ///     true
    /// });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Conn::try_write`], and [`Error::SendError`] when the protocol does not allow the
    /// frame. Nothing is sent then.
    pub fn try_write(self, frame: Frame) -> Result<(), TryWriteError> {
        let connection = self.0.connection();
        if frame.opcode() == OpCode::CLOSE {
            connection.close_by_frame(connection.check_close(&frame)?);
            return Ok(());
        }
        connection.try_write_frame(&frame)
    }

    /// Writes a frame exactly as it is, without checks: for tests of other implementations. The
    /// connection does not track the effect of the frame.
    ///
    /// # Errors
    ///
    /// As [`Conn::write`].
    ///
    /// # Cancel safety
    ///
    /// As `write`.
    pub fn write_unchecked(
        self,
        frame: Frame,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<'a> {
        self.0.connection().wait_writing(move |connection, writer, op| {
            ready!(connection.poll_below_watermark(writer, op))?;
            writer.outbound.frame_unchecked(&frame);
            connection.flush_now(writer);
            Poll::Ready(writer.result())
        })
    }

    /// From now on, calls `tell` for every frame that is read from the transport or written to it,
    /// until the transport is closed: for logs and captures.
    ///
    /// A short frame usually comes in one piece. A long frame comes in several pieces, of which the
    /// first may be empty. A tap also shows frames that violate the protocol. Several taps see the
    /// same frames.
    ///
    /// `tell` runs while the connection is locked: it has to be quick, and must not use the
    /// connection, which would deadlock. A tap disables the fast path of a TCP stream.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ws_core::Error> {
    /// let (here, there) = ws_core::pair();
    /// let (seen, frames) = mpsc::channel();
    /// here.frames().tap(move |frame| {
    ///     let _ = seen.send((frame.direction, frame.header.opcode, frame.payload.len()));
    /// });
    /// there.write("hello").await?;
    /// here.read().await?;
    /// # use ws_core::conn::Direction;
    /// # use ws_core::frame::OpCode;
    /// assert_eq!(frames.recv(), Ok((Direction::In, OpCode::TEXT, 5)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn tap(self, tell: impl Fn(Tapped<'_>) + Send + Sync + 'static) {
        tap::begin(self.0.connection(), tell);
    }
}
