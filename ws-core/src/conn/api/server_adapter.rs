//! How do adapters of servers make a connection, and report that they refused one?

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

pub use crate::conn::info::kept_request::KeptRequest;
use crate::conn::info::metrics;
use crate::conn::{Conn, Peer, RequestInfo};
use crate::handshake::{Acceptor, HandshakeRequest, Negotiated, Rejection};
pub use crate::refusal_log::RefusalKind;
use crate::{Config, Role, refusal_log};

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
    conn.keep_peer_addr(client);
    conn
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
