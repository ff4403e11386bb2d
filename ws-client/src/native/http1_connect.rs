//! How is a WebSocket opened over a byte stream, by an HTTP/1.1 upgrade?

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use bytes::BytesMut;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use ws_core::Conn;
use ws_core::handshake::head::encode_request;

use super::deadline::HandshakeDeadline;
use super::http1::{exchange, read_body};
use super::request::{ClientHandshake, verify};
use super::transport::{Established, TransportStream};
use super::url::HttpUrl;
use crate::{DialError, DialStep};

/// Opens a WebSocket over a stream of the application.
pub(crate) async fn over_stream<T>(
    io: T,
    handshake: &ClientHandshake,
    deadline: HandshakeDeadline,
) -> Result<Conn, DialError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Upgrade { io, peer: None }.run(&handshake.url, handshake, deadline).await
}

/// Opens a WebSocket over a stream to the server of `url`. The caller follows redirects.
pub(crate) async fn over_transport(
    established: Established,
    url: &HttpUrl,
    handshake: &ClientHandshake,
    deadline: HandshakeDeadline,
) -> Result<Conn, DialError> {
    let peer = established.peer;
    match established.io {
        TransportStream::Tcp(io) => Upgrade { io, peer }.run(url, handshake, deadline).await,
        TransportStream::Boxed(io) => Upgrade { io, peer }.run(url, handshake, deadline).await,
    }
}

struct Upgrade<T> {
    io: T,
    peer: Option<SocketAddr>,
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Upgrade<T> {
    async fn run(
        mut self,
        url: &HttpUrl,
        handshake: &ClientHandshake,
        deadline: HandshakeDeadline,
    ) -> Result<Conn, DialError> {
        let (offer, headers) = handshake.offer(url)?;
        let mut request = Request::new(());
        *request.uri_mut() = url.uri().clone();
        *request.headers_mut() = headers;
        request.headers_mut().extend(offer.headers());
        let request = encode_request(&request);
        let server = url.authority();
        let exchanging = exchange(&mut self.io, &request);
        let (response, input) = deadline
            .run(server, Some(DialStep::Response), exchanging)
            .await
            .map_err(|error| error.of_server(&server.host_and_port()))?;
        if let Some(negotiated) = verify(&offer, &response)? {
            return Ok(handshake.conn(self.io, input.freeze(), negotiated, response, self.peer));
        }
        let body = match handshake.follows(&response) {
            true => BytesMut::new(),
            false => read_body(&mut self.io, &response, input, deadline).await,
        };
        shut_down(&mut self.io).await;
        Err(DialError::refused(response, body))
    }
}

/// Ends TLS by `close_notify` (RFC 8446 §6.1), if the transport takes it at once.
pub(crate) async fn shut_down(io: &mut (impl AsyncWrite + Unpin)) {
    poll_fn(|cx| {
        let _ = Pin::new(&mut *io).poll_shutdown(cx);
        Poll::Ready(())
    })
    .await;
}
