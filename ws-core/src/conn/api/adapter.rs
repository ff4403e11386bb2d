//! What do adapters, clients and hubs do with a connection that applications do not?

use std::future::Future;
use std::sync::Arc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use http::Response;
use tokio::time::Instant;

use crate::conn::Conn;
pub use crate::conn::driver::send::Batch;
use crate::conn::info::metrics;
use crate::conn::runtime::turn_queue::{self, Place};
use crate::{Error, PreparedMessage, Role, TryWriteError};

/// Sets the response of the opening handshake, as [`Conn::response`] returns it. A
/// [`PeerAddr`](crate::PeerAddr) among its extensions is the address of the server.
pub fn set_response(conn: &Conn, response: Response<()>) {
    conn.attributes().change_own(|own| own.response = Some(Arc::new(response)));
}

/// Records how long a successful opening handshake took that began at `began`, with the feature
/// `metrics`. For adapters and clients.
pub fn report_handshake(role: Role, began: Instant) {
    metrics::handshake_completed(role, began);
}

/// The timeout of the closing handshake: [`Config::close_timeout`](crate::Config::close_timeout).
pub fn close_timeout(conn: &Conn) -> Duration {
    conn.connection().info.config.close_timeout
}

/// Wakes `waker` when it is its turn among the connections that have more input than one turn handles.
///
/// A connection waits for its turn after it has handled 64 KiB. In each round of the scheduler, one
/// connection for each worker of the runtime goes on. What handles the messages of a connection apart
/// from it, and takes as long as reading them, waits in the same way, so that the other tasks of the
/// runtime wait for one such turn, however many peers send.
///
/// `waker` is woken once, also when the runtime ends before the turn comes. It may be woken in this
/// call: no lock that it takes may be held. A task that is woken for another reason has to wait on, so
/// `waker` should record that it was woken.
pub fn wake_in_turn(waker: &Waker) {
    turn_queue::wait(Place::Last, waker);
}

/// Writes several messages together, from a send queue of the application.
///
/// Waits for room as [`Conn::write`] does. Then it calls `take` with the number of bytes there is
/// room for, until `take` returns no message or the send buffer is above the high watermark of
/// [`write_buffer`](crate::Config::write_buffer). The transport is tried once for all of them. All
/// messages from `take` are sent, however long they are. [`Conn::flush`] waits for bytes that the
/// transport does not take at once.
///
/// `take` runs under a lock of the connection: it must not use the connection.
///
/// ```
/// use std::collections::VecDeque;
/// use ws_core::adapter::write_batch;
/// use ws_core::{Conn, Error, PreparedMessage};
///
/// async fn drain(conn: &Conn, mut waiting: VecDeque<PreparedMessage>) -> Result<(), Error> {
///     while !waiting.is_empty() {
///         if !write_batch(conn, |_| waiting.pop_front()).await?.flushed {
///             conn.flush().await?;
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// As `write`. No message is taken then, unless the transport fails.
///
/// # Cancel safety
///
/// If the future is dropped, no message is taken.
pub fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
    conn: &Conn,
    mut take: impl FnMut(usize) -> I + Send + Unpin,
) -> impl Future<Output = Result<Batch, Error>> + Send {
    conn.connection().wait_writing(move |connection, writer, op| {
        ready!(connection.poll_room(writer, op))?;
        Poll::Ready(connection.write_batch(writer, &mut take))
    })
}

/// As [`write_batch`], if there is room now, without waiting.
///
/// # Errors
///
/// As [`Conn::try_write`]. No message is taken then, unless the transport fails.
pub fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
    conn: &Conn,
    mut take: impl FnMut(usize) -> I,
) -> Result<Batch, TryWriteError> {
    let connection = conn.connection();
    let mut writer = connection.writer.lock();
    connection.check_room(&mut writer)?;
    Ok(connection.write_batch(&mut writer, &mut take)?)
}
