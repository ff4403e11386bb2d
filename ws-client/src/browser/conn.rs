//! What can an application do with a connection in a browser?

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ws_core::{CloseInfo, Error, Message, StatusCode, TryWriteError};

use super::runtime;
use super::state::SharedConn;

/// A WebSocket connection. Made by [`Dial::connect`](crate::Dial::connect).
///
/// It is a handle that can be cloned and shared: one task can read while others write or close.
///
/// Messages that arrive without a `read` are queued. Where the browser has `WebSocketStream`
/// (Chromium), it receives one more while over 1 MiB is queued, so that flow control stops the
/// server; each message counts as its length plus 128. Behind that, the browser may see neither a
/// close frame nor the loss of the transport until the application reads. If it does see the end, it
/// drops what it has received itself. So `read` then returns 1006 after the queued messages, whatever
/// the close frame says that [`closed`](Self::closed) returns. Other browsers have no means to stop the
/// server, so there unread messages have no bound.
///
/// # Cancel safety
///
/// Any future of a connection can be dropped at any point. Nothing that was received is lost,
/// and a message whose `write` is dropped is queued whole or not at all.
///
/// # Drop
///
/// When the last handle is dropped without `close`, the connection sends the queued messages and an
/// empty close frame, which the peer reports as 1005.
#[derive(Clone)]
pub struct Conn(Arc<Handle>);

/// Dropping it closes the connection.
struct Handle {
    id: u64,
    subprotocol: Option<String>,
    shared: SharedConn,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.change(|state| state.close(StatusCode::NO_STATUS_RECEIVED, ""));
    }
}

static LAST_ID: AtomicU64 = AtomicU64::new(0);

impl Conn {
    /// Reads the next message.
    ///
    /// # Errors
    ///
    /// When the connection has ended. All later reads return the same error, usually
    /// [`Error::Closed`] with the peer's close frame.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: use it in a `select!` or with a timeout.
    pub fn read(&self) -> impl Future<Output = Result<Message, Error>> + Send {
        async move {
            let read = self.shared().wait(|state| state.read()).await;
            // Wakes the task that receives, which may wait for room.
            self.shared().change(|_| ());
            read
        }
    }

    /// Writes a message.
    ///
    /// Returns when the message is queued. If more than 64 KiB are queued, the call waits for room
    /// first; each message counts as its length plus 128. The browser has its own buffer of at most
    /// 64 KiB and one message.
    ///
    /// # Errors
    ///
    /// [`Error::CloseSent`] after [`close`](Self::close). Otherwise the error of a connection
    /// that has ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message is queued whole or not at all.
    pub fn write(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let message = message.into();
        async move {
            let queued = self.shared().wait(|state| match state.write(&message) {
                Ok(()) => Some(Ok(())),
                Err(TryWriteError::Conn(error)) => Some(Err(error)),
                Err(_) => None,
            });
            queued.await?;
            // Wakes the task, which sends.
            self.shared().change(|_| ());
            Ok(())
        }
    }

    /// Writes a message if there is room for it now, without waiting.
    ///
    /// # Errors
    ///
    /// [`TryWriteError::Full`] when more than 64 KiB are queued, and [`TryWriteError::Conn`] with
    /// the error that [`write`](Self::write) would return. Nothing is queued then.
    pub fn try_write(&self, message: impl Into<Message>) -> Result<(), TryWriteError> {
        let message = message.into();
        self.shared().change(|state| state.write(&message))
    }

    /// Waits until the browser has everything that was written. It does not tell when it has sent
    /// the bytes.
    ///
    /// # Errors
    ///
    /// When the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the bytes are still sent.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        self.shared().wait(|state| state.flushed())
    }

    /// Closes the connection: sends a close frame, and waits for the peer's.
    ///
    /// Messages that were written before are sent first. Received data is dropped, and every other
    /// operation on the connection ends. `close` takes at most
    /// [`close_timeout`](crate::Dial::close_timeout).
    ///
    /// A browser sends 1000 and the codes from 3000 to 4999 only. The code
    /// [`NO_STATUS_RECEIVED`](StatusCode::NO_STATUS_RECEIVED) without a reason sends an empty
    /// close frame.
    ///
    /// # Errors
    ///
    /// [`Error::SendError`] when the code must not be sent, or the reason has more than 123 bytes;
    /// nothing is sent then. If the connection ended without both close frames: [`Error::Timeout`]
    /// when the peer sent no close frame in time, [`Error::Closed`] with 1006 when the transport
    /// ended first.
    ///
    /// # Cancel safety
    ///
    /// After the first poll, the connection is closing even if the future is dropped. Another call
    /// can wait for the end.
    pub async fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        runtime::check_close(code, reason)?;
        self.shared().change(|state| state.close(code, reason));
        let end = self.closed().await;
        if end.is_clean() { Ok(()) } else { Err(end.error) }
    }

    /// Waits until the connection has ended, and returns how. It need not be read for that, unless
    /// over 1 MiB is unread: see [`Conn`]. Later, [`read`](Self::read) returns the messages that
    /// arrived before the end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn closed(&self) -> CloseInfo {
        self.shared().wait(|state| state.close_info()).await
    }

    /// How the connection ended; `None` while it is open.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.shared().look(|state| state.close_info())
    }

    /// Sets the longest message to accept, in bytes, from the next message on. `None` accepts any
    /// length. The initial value is that of [`Dial::read_limit`](crate::Dial::read_limit).
    pub fn set_read_limit(&self, bytes: Option<usize>) {
        self.shared().change(|state| state.set_read_limit(bytes));
    }

    /// The subprotocol that the server has selected.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.subprotocol.as_deref()
    }

    /// A number that no other connection of this program has.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    pub(super) fn new(shared: SharedConn) -> Self {
        let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1;
        Self(Arc::new(Handle { id, subprotocol: None, shared }))
    }

    /// Sets the subprotocol, before the handle is shared.
    pub(super) fn with_subprotocol(mut self, name: Option<String>) -> Self {
        if let Some(handle) = Arc::get_mut(&mut self.0) {
            handle.subprotocol = name;
        }
        self
    }

    pub(super) fn shared(&self) -> &SharedConn {
        &self.0.shared
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.0.id)
            .field("ended", &self.close_info().is_some())
            .finish_non_exhaustive()
    }
}
