//! What replaces kept requests without the feature `server`?

use std::net::SocketAddr;

use super::request::RequestInfo;

/// Nothing: only a server keeps a request.
pub(crate) enum KeptRequest {}

impl KeptRequest {
    pub(crate) const fn peer_addr(&self) -> Option<SocketAddr> {
        match *self {}
    }

    pub(crate) const fn get(&self) -> RequestInfo {
        match *self {}
    }
}
