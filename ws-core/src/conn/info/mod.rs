//! What is known about a connection?

pub(crate) mod attributes;
pub(crate) mod close_info;
pub(crate) mod request;
pub(crate) mod span;
pub(crate) mod stats;

use std::net::SocketAddr;
use std::sync::Arc;

use http::Response;

use crate::Config;
use crate::conn::driver::transport::Addresses;
use crate::conn::info::attributes::Attributes;
use crate::conn::info::request::{PeerAddr, RequestInfo};
use crate::conn::{Conn, ConnStats};
use crate::proto::Role;

/// What does not change.
pub(crate) struct Facts {
    pub(crate) id: u64,
    pub(crate) config: Arc<Config>,
    #[expect(clippy::box_collection, reason = "seldom there, and then it is one word")]
    pub(crate) subprotocol: Option<Box<String>>,
    pub(crate) addresses: Addresses,
    pub(crate) values: Attributes,
}

impl Conn {
    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.facts.subprotocol.as_ref().map(|name| name.as_str())
    }

    /// Was compression agreed on?
    pub fn is_compressed(&self) -> bool {
        self.0.compressed
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.0.facts.id
    }

    /// Which end of the connection this is.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// What has gone over the connection so far.
    pub fn stats(&self) -> ConnStats {
        ConnStats::of(&self.0)
    }

    /// The address at the other end, where the transport is a TCP stream, or where the
    /// request or the response that is kept knows it. Through a proxy, that of the proxy.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        let request = || self.request().and_then(|request| request.peer_addr);
        let response = || self.response().and_then(|response| address(&response));
        self.0.facts.addresses.peer().or_else(request).or_else(response)
    }

    /// The address at this end, where the transport is a TCP stream.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.facts.addresses.local()
    }

    /// What the application keeps with the connection.
    pub fn attributes(&self) -> &Attributes {
        &self.0.facts.values
    }

    /// The request that the connection began with, on a server that kept it.
    pub fn request(&self) -> Option<Arc<RequestInfo>> {
        self.0.reader.lock().request.clone()
    }

    /// Takes the request out, so that its memory can be given back.
    pub fn take_request(&self) -> Option<Arc<RequestInfo>> {
        self.0.reader.lock().request.take()
    }

    /// Keeps the request that the connection began with, with the address of the
    /// transport unless it knows another. For adapters.
    pub fn set_request(&self, mut request: RequestInfo) {
        request.peer_addr = request.peer_addr.or_else(|| self.0.facts.addresses.peer());
        self.0.reader.lock().request = Some(Arc::new(request));
    }

    /// What the server answered to the opening handshake, on a client: its status and its
    /// headers.
    pub fn response(&self) -> Option<Arc<Response<()>>> {
        self.attributes().own(|own| own.response.clone())
    }

    /// Keeps what the server answered; a [`PeerAddr`] among its extensions is the address
    /// of the server. For those who dial.
    pub fn set_response(&self, response: Response<()>) {
        self.attributes().change_own(|own| own.response = Some(Arc::new(response)));
    }
}

fn address(response: &Response<()>) -> Option<SocketAddr> {
    response.extensions().get().map(|PeerAddr(addr)| *addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_kept_and_knows_the_address() {
        let (conn, _peer) = crate::pair();
        assert!(conn.response().is_none() && conn.peer_addr().is_none());
        let addr = SocketAddr::from(([127, 0, 0, 1], 80));
        let response = Response::builder().status(101).header("x-key", "k");
        conn.set_response(response.extension(PeerAddr(addr)).body(()).unwrap());
        let response = conn.response().unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-key"]),
            (101, &"k".parse().unwrap())
        );
        assert_eq!(conn.peer_addr(), Some(addr));
        // It is none of the application's values.
        conn.attributes().insert(1_u8);
        assert_eq!(format!("{:?}", conn.attributes()), "Attributes { typed: 1, named: 0 }");
        conn.attributes().clear();
        assert_eq!(conn.attributes().get::<u8>(), None);
        assert!(conn.response().is_some());
        assert_eq!(conn.peer_addr(), Some(addr));
    }
}
