//! How are single frames read and written?

use std::future::Future;

use crate::Error;
use crate::conn::Conn;
use crate::conn::driver::connection::Connection;
use crate::frame::{Frame, OpCode};

impl Conn {
    /// Reads the next frame, data or control, as it came: unmasked, and still compressed.
    ///
    /// The frame is validated, control frames are answered, and the limits of a message apply
    /// to each frame. Text is not checked for UTF-8, and the size after decompression is not
    /// limited. The peer's close frame is the last frame.
    ///
    /// Once a frame of a message is read this way, read its other frames this way too:
    /// [`read`](Self::read) and [`reader`](Self::reader) drop the rest of the message. A
    /// message that they have begun to receive is returned as one frame, whole and inflated.
    /// Control frames that arrive while only other operations wait, such as
    /// [`ping`](Self::ping), are not returned; [`tap`](Self::tap) shows all frames.
    ///
    /// # Errors
    ///
    /// As `read`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn read_frame(&self) -> Result<Frame, Error> {
        self.0.wait_reading(Connection::poll_frame).await
    }

    /// Writes a frame if the peer may receive it now. Waits for room as
    /// [`write`](Self::write) does.
    ///
    /// The frame is masked as the role requires, unless it sets a mask of its own, and is not
    /// compressed. From the first frame of a message to its last, other writes wait and
    /// [`try_write`](Self::try_write) returns `Busy`; control frames pass. A close frame begins
    /// the closing handshake, without waiting for its end as [`close`](Self::close) does.
    ///
    /// # Errors
    ///
    /// [`Error::SendError`] when the peer would have to refuse the frame; nothing is sent
    /// then. Otherwise as `write`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the frame is queued whole or not at all.
    pub fn write_frame(&self, frame: Frame) -> impl Future<Output = Result<(), Error>> + Send {
        self.write_any_frame(frame)
    }

    /// Writes a frame exactly as it is, without checks: for tests of other implementations.
    /// The connection does not track what the frame does.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// As `write`.
    pub fn write_frame_unchecked(
        &self,
        frame: Frame,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.wait_writing(move |connection, writer, op| {
            connection.poll_write_unchecked(writer, &frame, op)
        })
    }

    async fn write_any_frame(&self, frame: Frame) -> Result<(), Error> {
        if frame.opcode() == OpCode::CLOSE {
            self.0.close(self.0.check_close(&frame)?);
            return Ok(());
        }
        self.0
            .wait_writing(|connection, writer, op| connection.poll_write_frame(writer, &frame, op))
            .await
    }
}
