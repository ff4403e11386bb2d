//! What do adapters, clients and hubs do with a connection that applications do not?

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

pub use crate::conn::driver::send::Batch;
pub use crate::conn::info::kept_request::KeptRequest;
use crate::conn::info::metrics;
use crate::conn::runtime::turn_queue::{self, Place};
use crate::conn::{Conn, Peer, RequestInfo};
use crate::handshake::{Acceptor, HandshakeRequest, Negotiated, Rejection};
pub use crate::refusal_log::RefusalKind;
use crate::{Config, Error, PreparedMessage, Role, TryWriteError, refusal_log};

/// Sets the request of the opening handshake, as [`Conn::request`] returns it. Its peer address
/// defaults to that of the transport. The connection keeps a compact copy, and the extensions as
/// they are.
pub fn set_request(conn: &Conn, mut request: RequestInfo) {
    let connection = conn.connection();
    request.peer_addr = request.peer_addr.or_else(|| connection.info.addresses.peer());
    let request = Arc::new(KeptRequest::new(request));
    connection.reader.lock().request = Some(request);
}

/// The request that [`set_request`] has kept. [`Conn::request`] copies it.
pub fn kept_request(conn: &Conn) -> Option<Arc<KeptRequest>> {
    conn.connection().reader.lock().request.clone()
}

/// Makes the connection of a server over a byte stream on which the opening handshake is complete,
/// as [`Conn::from_stream`] does.
///
/// `client` is the address of the client, as [`Conn::peer_addr`] returns it and the log shows it, if
/// it differs from that of the transport: see [`Accepted::peer_addr`](crate::handshake::Accepted).
/// `request` is the one to [keep](set_request).
pub fn server_conn<T>(
    io: T,
    negotiated: Negotiated,
    leftover: Bytes,
    config: Arc<Config>,
    client: Option<SocketAddr>,
    request: Option<RequestInfo>,
) -> Conn
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let peer = Peer { transport: None, client };
    server_conn_of(io, negotiated, leftover, config, peer, |conn| {
        request.into_iter().for_each(|request| set_request(conn, request));
    })
}

/// As [`server_conn`], with a request in the form in which the connection keeps it: it has the
/// address of the client.
pub fn server_conn_with<T>(
    io: T,
    negotiated: Negotiated,
    leftover: Bytes,
    config: Arc<Config>,
    client: Option<SocketAddr>,
    request: KeptRequest,
) -> Conn
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let peer = Peer { transport: None, client };
    server_conn_of(io, negotiated, leftover, config, peer, |conn| {
        conn.connection().reader.lock().request = Some(Arc::new(request));
    })
}

/// As [`server_conn`], with a function that sets the request, if there is one.
pub(crate) fn server_conn_of<T>(
    io: T,
    negotiated: Negotiated,
    leftover: Bytes,
    config: Arc<Config>,
    peer: Peer,
    set_request: impl FnOnce(&Conn),
) -> Conn
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let client = peer.client;
    let conn = Conn::of_client(io, Role::Server, negotiated, leftover, config, peer);
    set_request(&conn);
    // Kept once: the address may be that of the transport, or in the request.
    if client.is_some() && conn.peer_addr() != client {
        conn.attributes().change_own(|own| own.peer_addr = client);
    }
    conn
}

/// Sets the response of the opening handshake, as [`Conn::response`] returns it. A
/// [`PeerAddr`](crate::PeerAddr) among its extensions is the address of the server.
pub fn set_response(conn: &Conn, response: Response<()>) {
    conn.attributes().change_own(|own| own.response = Some(Arc::new(response)));
}

/// Logs that an opening handshake was refused, and counts it with the feature `metrics`. For
/// adapters, which call it for each response that refuses a handshake. They do not call it for a
/// request that another route may serve.
///
/// A refusal by a setting, such as an origin or a limit, is a warning. Other refusals are logged at
/// the level `debug`: malformed and late requests, and those during a shutdown. At most ten
/// refusals of each level are logged in a second. The field `suppressed` counts the refusals since
/// the last log line that were not logged.
pub fn report_refusal<'a>(
    acceptor: &Acceptor,
    request: impl Into<HandshakeRequest<'a>>,
    rejection: &Rejection,
) {
    report_other_refusal(acceptor, request, RefusalKind::of(rejection), rejection);
}

/// As [`report_refusal`], for a reason that is not a [`Rejection`], such as one of HTTP
/// long-polling. `text` is fixed, or escapes what a peer has sent.
pub fn report_other_refusal<'a>(
    acceptor: &Acceptor,
    request: impl Into<HandshakeRequest<'a>>,
    kind: RefusalKind,
    text: &dyn Display,
) {
    metrics::refused(kind);
    let request = request.into();
    refusal_log::log(acceptor.peer_addr(request), Some((acceptor, &request)), kind, text);
}

/// As [`report_refusal`], for a request that has not completely arrived.
pub(crate) fn report_unread(peer: Option<SocketAddr>, rejection: &Rejection) {
    let kind = RefusalKind::of(rejection);
    metrics::refused(kind);
    refusal_log::log(peer, None, kind, rejection);
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
