//! How does one receive and send single frames?

use std::future::Future;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::conn::Conn;
use crate::conn::driver::connection::Shared;
use crate::conn::driver::reader::{Got, Reader};
use crate::conn::driver::wait_queue::Ticket;
use crate::conn::driver::writer::Writer;
use crate::frame::{Frame, OpCode};
use crate::proto::{CloseFrame, Mode};
use crate::{Error, SendError};

impl Conn {
    /// The next frame, of data or control, as it came: unmasked, and as compressed as it was.
    ///
    /// It is judged like any other, control frames are answered as always, and a frame may
    /// be as long as a message. Whether the text of a message is UTF-8 is not looked at, nor
    /// how long a compressed one is. The peer's close frame is the last that is given.
    ///
    /// A message of which a frame was taken is to be taken frame by frame to its end:
    /// [`read`](Self::read) and [`reader`](Self::reader) drop the rest of it. One that they
    /// have begun to receive comes as a single frame, whole and inflated. Control frames that
    /// arrive while only others wait, such as [`ping`](Self::ping), are not given; to watch
    /// frames without taking them, see [`tap`](Self::tap).
    ///
    /// # Errors
    ///
    /// As `read`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn read_frame(&self) -> Result<Frame, Error> {
        self.0.wait_reading(Reader::poll_frame).await
    }

    /// Sends a frame, if the peer may be sent it now; it waits for room as
    /// [`write`](Self::write) does.
    ///
    /// It is masked as this side has to unless it says otherwise, and goes as it is: nothing
    /// is compressed. From the first frame of a message to its last, other writes wait and
    /// [`try_write`](Self::try_write) answers that it is busy; control frames pass. A close
    /// frame begins the closing handshake, and is not waited for: [`close`](Self::close) is.
    ///
    /// # Errors
    ///
    /// [`Error::SendError`] when the peer would have to refuse the frame, and nothing was
    /// sent. Otherwise as `write`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the frame has been queued whole or not at all.
    pub fn write_frame(&self, frame: Frame) -> impl Future<Output = Result<(), Error>> + Send {
        self.0.wait_writing_frame(frame)
    }

    /// Sends a frame bit by bit as it says, whatever the peer makes of it: for tests of other
    /// implementations. The connection takes no notice of what it was.
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
        self.0.wait_writing(move |writer, shared, ticket, cx| {
            writer.poll_write_unchecked(shared, &frame, ticket, cx)
        })
    }
}

impl Shared {
    async fn wait_writing_frame(&self, frame: Frame) -> Result<(), Error> {
        match frame.opcode() {
            OpCode::CLOSE => self.write_close(&frame),
            _ => {
                self.wait_writing(|writer, shared, ticket, cx| {
                    writer.poll_write_frame(shared, &frame, ticket, cx)
                })
                .await
            }
        }
    }

    /// Begins the closing handshake with a frame that was crafted.
    fn write_close(&self, frame: &Frame) -> Result<(), Error> {
        let close = self.check_close(frame)?;
        self.close(close);
        Ok(())
    }

    /// The same, and leaves what the peer has to say to whoever reads.
    #[cfg(feature = "tungstenite")]
    pub(crate) fn write_half_close(&self, frame: &Frame) -> Result<(), Error> {
        let close = self.check_close(frame)?;
        self.close_half(close);
        Ok(())
    }

    /// What a close frame that was crafted says, if it may be sent now.
    fn check_close(&self, frame: &Frame) -> Result<CloseFrame, Error> {
        let close = CloseFrame::decode(frame.payload()).map_err(SendError::Frame)?;
        let writer = self.writer.lock();
        writer.check_open(self)?;
        writer.outbound.check(frame)?;
        Ok(close)
    }
}

impl Writer {
    pub(crate) fn poll_write_frame(
        &mut self,
        shared: &Shared,
        frame: &Frame,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if frame.is_control() || self.outbound.is_sending_raw_frames() {
            ready!(self.poll_below_mark(shared, ticket, cx))?;
        } else {
            ready!(self.poll_room(shared, ticket, cx))?;
        }
        self.outbound.frame(frame)?;
        if !frame.is_control() && frame.is_fin() {
            self.messages += 1;
            self.waiters.wake();
        }
        self.flush_now(shared);
        Poll::Ready(self.outcome())
    }

    fn poll_write_unchecked(
        &mut self,
        shared: &Shared,
        frame: &Frame,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_below_mark(shared, ticket, cx))?;
        self.outbound.frame_unchecked(frame);
        self.flush_now(shared);
        Poll::Ready(self.outcome())
    }
}

impl Reader {
    /// The next frame, for `read_frame`.
    fn poll_frame(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Frame, Error>> {
        if let Some(message) = self.take_parked(ticket) {
            return Poll::Ready(Ok(message.into()));
        }
        if let Some(frame) = self.take_control() {
            return Poll::Ready(Ok(frame));
        }
        ready!(self.poll_turn(shared, ticket, cx))?;
        self.inbound.set_frame_mode(true);
        let polled = self.poll_frame_in_turn(shared, ticket, cx);
        self.inbound.set_frame_mode(false);
        polled
    }

    fn poll_frame_in_turn(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Frame, Error>> {
        loop {
            if let Some(frame) = self.inbound.take_frame() {
                self.messages += u64::from(frame.is_fin());
                self.streak += 1;
                self.clock.message();
                return Poll::Ready(Ok(frame));
            }
            match self.poll_next(shared, ticket, true, cx, Mode::Whole) {
                Poll::Ready(Ok(Got::Message(message))) => return Poll::Ready(Ok(message.into())),
                Poll::Ready(Ok(Got::Piece | Got::Frame)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(self.take_control().ok_or(error));
                }
                Poll::Pending => return Poll::Pending,
            }
            if let Some(frame) = self.take_control() {
                return Poll::Ready(Ok(frame));
            }
        }
    }

    /// Notes a control frame for whoever reads frames now.
    pub(crate) fn note_control(&mut self, opcode: OpCode, payload: &[u8]) {
        let frame = Frame::new(opcode, Bytes::copy_from_slice(payload)).unmasked();
        self.rare_mut().control = Some(frame);
    }

    #[inline]
    pub(crate) fn has_control(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.control.is_some())
    }

    fn take_control(&mut self) -> Option<Frame> {
        self.rare.as_mut()?.control.take()
    }

    /// Gives up a message that was taken frame by frame, for those that want whole ones.
    pub(crate) fn leave_frames(&mut self) {
        if self.inbound.is_message_in_frames() {
            self.inbound.discard();
        }
    }
}
