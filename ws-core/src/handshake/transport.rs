//! What do the extensions of a request or a response say about its transport?

use core::net::SocketAddr;

/// The address of the peer. As an extension of a request or a response, it is used where the
/// transport has no address, or that of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The transport is encrypted, such as by TLS. As an extension of a request, it sets
/// [`Accepted::secure`](super::Accepted::secure) and `RequestInfo::secure`. A server that accepts TLS
/// inserts it, since an adapter sees a stream of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encrypted;
