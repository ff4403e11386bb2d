//! How does code for tokio-tungstenite run on a [`Conn`]?
#![doc = ""]
#![doc = include_str!("../../FROM_TUNGSTENITE.md")]

mod convert;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use parking_lot::Mutex;
pub use tungstenite;
use tungstenite::Message as Theirs;
use tungstenite::protocol::CloseFrame;

pub use self::convert::NotAMessage;
use self::convert::{close_frame, frame_of};
use crate::conn::MessageStream;
use crate::frame::Frame;
use crate::{Conn, Error};

/// A connection with tokio-tungstenite's interface: a `Stream` and a `Sink` of
/// `tungstenite::Message`. Created by [`Tungstenite::new`].
pub struct Tungstenite {
    messages: MessageStream,
    /// Received pings and pongs, in order.
    control: Arc<Control>,
    /// The message to send next.
    next: Option<Theirs>,
    ended: bool,
}

type Control = Mutex<VecDeque<Theirs>>;

/// The number of pings and pongs kept for a stream that is not polled.
const MOST_CONTROL: usize = 16;

fn store(control: &Control, message: Theirs) {
    let mut control = control.lock();
    if control.len() == MOST_CONTROL {
        control.pop_front();
    }
    control.push_back(message);
}

impl Tungstenite {
    /// Wraps a connection for code written for tokio-tungstenite. [`compat`](crate::compat) lists
    /// the differences.
    ///
    /// It replaces the hooks [`Conn::on_ping`] and [`Conn::on_pong`].
    pub fn new(conn: Conn) -> Self {
        let control = Arc::new(Control::default());
        let (pings, pongs) = (Arc::clone(&control), Arc::clone(&control));
        conn.on_ping(move |_, payload| {
            store(&pings, Theirs::Ping(payload.clone()));
            true
        });
        conn.on_pong(move |_, payload| store(&pongs, Theirs::Pong(payload.clone())));
        Self { messages: conn.messages(), control, next: None, ended: false }
    }

    /// The wrapped connection.
    pub const fn conn(&self) -> &Conn {
        self.messages.conn()
    }

    /// Unwraps the connection, which then no longer stores pings and pongs.
    pub fn into_conn(self) -> Conn {
        let conn = self.conn().clone();
        conn.no_hooks();
        conn
    }

    /// Sends a close frame and waits until it is flushed. The peer's close frame is the last item
    /// of the stream.
    ///
    /// # Errors
    ///
    /// When the frame must not be sent, or the connection has ended in another way.
    ///
    /// # Cancel safety
    ///
    /// After the first poll, the connection is closing.
    pub async fn close(&mut self, frame: Option<CloseFrame>) -> Result<(), tungstenite::Error> {
        poll_fn(|cx| self.poll_sent(cx)).await?;
        self.next = Some(Theirs::Close(frame));
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// Hands the next message to the connection.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let conn = self.conn().clone();
        if let Some(next) = self.next.take() {
            match next {
                Theirs::Text(_) | Theirs::Binary(_) => {
                    if let Ok(message) = next.try_into() {
                        self.messages.set_next(message);
                    }
                }
                Theirs::Ping(payload) => conn.send_ping(&payload)?,
                Theirs::Pong(payload) => conn.pong(payload)?,
                Theirs::Close(frame) => conn.begin_half_close(close_frame(frame)?)?,
                Theirs::Frame(frame) => return self.poll_frame_sent(frame_of(frame), cx),
            }
        }
        self.messages.poll_next_sent(cx)
    }

    fn poll_frame_sent(&mut self, frame: Frame, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = self.messages.poll_frame_sent(&frame, cx);
        if polled.is_pending() {
            self.next = Some(Theirs::Frame(frame.into()));
        }
        polled
    }

    fn take_control(&self) -> Option<Theirs> {
        self.control.lock().pop_front()
    }

    /// The last item: the peer's close frame, or the error.
    fn last(&self, error: Error) -> Option<Result<Theirs, tungstenite::Error>> {
        match self.conn().close_info().and_then(|ending| ending.received) {
            Some(close) => Some(Ok(Theirs::Close(close.into()))),
            None => match error.into() {
                tungstenite::Error::ConnectionClosed => None,
                error => Some(Err(error)),
            },
        }
    }
}

impl Stream for Tungstenite {
    type Item = Result<Theirs, tungstenite::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(control) = self.take_control() {
            return Poll::Ready(Some(Ok(control)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(read) = self.messages.poll_read(cx) else {
            // The read may have received a ping.
            let control = self.take_control();
            return control.map_or(Poll::Pending, |control| Poll::Ready(Some(Ok(control))));
        };
        Poll::Ready(match read {
            Ok(message) => Some(Ok(message.into())),
            Err(error) => {
                self.ended = true;
                self.last(error)
            }
        })
    }
}

impl FusedStream for Tungstenite {
    fn is_terminated(&self) -> bool {
        self.ended && self.control.lock().is_empty()
    }
}

impl Sink<Theirs> for Tungstenite {
    type Error = tungstenite::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_sent(cx).map_err(Into::into)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Theirs) -> Result<(), Self::Error> {
        self.next = Some(message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_sent(cx))?;
        match ready!(Pin::new(&mut self.messages).poll_flush(cx)) {
            // The connection has ended cleanly.
            Err(Error::Closed(_)) if self.conn().close_info().is_some_and(|end| end.is_clean()) => {
                Poll::Ready(Ok(()))
            }
            flushed => Poll::Ready(flushed.map_err(Into::into)),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.conn().close_info().is_none() {
            ready!(self.poll_sent(cx))?;
            let empty = close_frame(None).map_err(Error::from)?;
            match self.conn().begin_half_close(empty) {
                Ok(()) | Err(Error::CloseSent | Error::Closed(_)) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        self.poll_flush(cx)
    }
}

impl_debug!(Tungstenite, this => { conn: this.conn() });
