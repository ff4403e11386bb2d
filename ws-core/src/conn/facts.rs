//! What is known about a connection?

use std::net::SocketAddr;
use std::sync::Arc;

use super::request::RequestInfo;
use super::transport::Addresses;
use super::values::Values;
use super::{Conn, Stats};
use crate::Config;
use crate::proto::Role;

/// What does not change.
pub(super) struct Facts {
    pub(super) id: u64,
    pub(super) config: Arc<Config>,
    #[expect(clippy::box_collection, reason = "seldom there, and then it is one word")]
    pub(super) subprotocol: Option<Box<String>>,
    pub(super) addresses: Addresses,
    pub(super) values: Values,
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
    pub fn stats(&self) -> Stats {
        Stats::of(&self.0)
    }

    /// The address at the other end, where the transport is a TCP stream, or where the
    /// request that is kept knows it.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        let request = || self.request().and_then(|request| request.peer_addr);
        self.0.facts.addresses.peer().or_else(request)
    }

    /// The address at this end, where the transport is a TCP stream.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.facts.addresses.local()
    }

    /// What the application keeps with the connection.
    pub fn values(&self) -> &Values {
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
}
