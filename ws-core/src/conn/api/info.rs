//! What can an application ask about a connection?

use std::net::SocketAddr;
use std::sync::Arc;

use http::Response;
use tracing::Span;
use tracing::field::{self, Empty};

use crate::Escaped;
use crate::conn::{Attributes, Conn, ConnStats, PeerAddr, RequestInfo};
use crate::proto::Role;

impl Conn {
    /// The negotiated subprotocol.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.info.subprotocol.as_ref().map(|name| name.as_str())
    }

    /// Whether compression was negotiated.
    pub fn is_compressed(&self) -> bool {
        self.0.compressed
    }

    /// The number of this connection, unique in the process.
    pub fn id(&self) -> u64 {
        self.0.info.id
    }

    /// Whether this side is the client or the server.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// The statistics of the connection so far.
    pub fn stats(&self) -> ConnStats {
        self.0.stats()
    }

    /// The address of the peer, if the transport is a TCP stream, or if the request or response of
    /// the opening handshake contains it. Through a proxy, it is the address of the proxy, unless
    /// the server [trusts](crate::AcceptOptions::trusted_proxies) it to name the client.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        let named = self.attributes().own(|own| own.peer_addr);
        let request = || self.0.reader.lock().request.as_ref()?.peer_addr();
        let response = || self.response().and_then(|response| address(&response));
        named.or_else(|| self.0.info.addresses.peer()).or_else(request).or_else(response)
    }

    /// Keeps the address of the client, unless it is that of the transport, or is in the request.
    pub(crate) fn keep_peer_addr(&self, client: Option<SocketAddr>) {
        if client.is_some() && self.peer_addr() != client {
            self.attributes().change_own(|own| own.peer_addr = client);
        }
    }

    /// The local address, if the transport is a TCP stream.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.info.addresses.local()
    }

    /// The data that the application attaches to the connection.
    pub fn attributes(&self) -> &Attributes {
        &self.0.info.attributes
    }

    /// The request of the opening handshake, on a server that keeps it.
    ///
    /// The connection keeps a compact form, and each call builds a `RequestInfo` of it. The
    /// extensions are cloned.
    pub fn request(&self) -> Option<Arc<RequestInfo>> {
        let kept = self.0.reader.lock().request.clone();
        kept.map(|kept| Arc::new(kept.get()))
    }

    /// Takes the request, so that its memory can be freed. [`peer_addr`](Self::peer_addr) stays.
    pub fn take_request(&self) -> Option<Arc<RequestInfo>> {
        let client = self.peer_addr();
        let kept = self.0.reader.lock().request.take();
        self.keep_peer_addr(client);
        kept.map(|kept| Arc::new(kept.get()))
    }

    /// The response of the opening handshake, on a client: its status and its headers.
    pub fn response(&self) -> Option<Arc<Response<()>>> {
        self.attributes().own(|own| own.response.clone())
    }

    /// The span of this connection, for `tracing`: `websocket`, at level INFO.
    ///
    /// Its fields identify the connection, and after its end they have the final
    /// [`stats`](Self::stats), by the same names. Handlers that this library runs are in the span;
    /// other code has to enter it. The first call creates the span, as a child of the current span.
    ///
    /// ```
    /// use tracing::Instrument as _;
    /// use ws_core::{Conn, Error};
    ///
    /// async fn serve(conn: Conn) -> Result<(), Error> {
    ///     let span = conn.span();
    ///     async move {
    ///         let message = conn.read().await?;
    ///         tracing::info!(bytes = message.len(), "the first message");
    ///         Ok(())
    ///     }
    ///     .instrument(span)
    ///     .await
    /// }
    /// ```
    pub fn span(&self) -> Span {
        if let Some(span) = self.attributes().own(|own| own.span.clone()) {
            return span;
        }
        let span = tracing::info_span!(
            "websocket",
            conn = self.id(),
            role = self.role().name(),
            peer = self.peer_addr().map(field::display),
            subprotocol = self.subprotocol().map(|name| field::display(Escaped::new(name))),
            messages_in = Empty,
            messages_out = Empty,
            frames_in = Empty,
            frames_out = Empty,
            bytes_in = Empty,
            bytes_out = Empty,
            before_inflate = Empty,
            after_inflate = Empty,
            before_deflate = Empty,
            after_deflate = Empty,
            buffered = Empty,
            rtt = Empty,
            close_sent = Empty,
            close_received = Empty,
        );
        if span.is_disabled() {
            return span;
        }
        // Another call may have made it in the meantime.
        self.attributes().change_own(|own| own.span.get_or_insert(span).clone())
    }
}

fn address(response: &Response<()>) -> Option<SocketAddr> {
    response.extensions().get().map(|PeerAddr(addr)| *addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::set_response;

    #[test]
    fn a_response_is_kept_and_knows_the_address() {
        let (conn, _peer) = crate::pair();
        assert!(conn.response().is_none() && conn.peer_addr().is_none());
        let addr = SocketAddr::from(([127, 0, 0, 1], 80));
        let response = Response::builder().status(101).header("x-key", "k");
        set_response(&conn, response.extension(PeerAddr(addr)).body(()).unwrap());
        let response = conn.response().unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-key"]),
            (101, &"k".parse().unwrap())
        );
        assert_eq!(conn.peer_addr(), Some(addr));
        // It is not one of the application's values.
        conn.attributes().insert(1_u8);
        assert_eq!(format!("{:?}", conn.attributes()), "Attributes { typed: 1, named: 0 }");
        conn.attributes().clear();
        assert_eq!(conn.attributes().get::<u8>(), None);
        assert!(conn.response().is_some());
        assert_eq!(conn.peer_addr(), Some(addr));
    }
}
