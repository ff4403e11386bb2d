//! What is known about a connection?

pub(crate) mod attributes;
#[cfg(not(feature = "server"))]
#[path = "without_server.rs"]
pub(crate) mod kept_request;
#[cfg(feature = "server")]
pub(crate) mod kept_request;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "without_metrics.rs"]
pub(crate) mod metrics;
pub(crate) mod request;
pub(crate) mod stats;

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use tokio::net::TcpStream;
use tracing::field;

use crate::Config;
use crate::conn::info::attributes::Attributes;
use crate::conn::info::stats::ConnStats;

/// What does not change while the connection lives.
pub(crate) struct ConnInfo {
    pub(crate) id: u64,
    pub(crate) config: Arc<Config>,
    #[expect(clippy::box_collection, reason = "rarely present, and then it is one word")]
    pub(crate) subprotocol: Option<Box<String>>,
    pub(crate) addresses: Addresses,
    pub(crate) attributes: Attributes,
}

impl ConnInfo {
    /// Records the final statistics in the span of the connection.
    pub(crate) fn record(&self, stats: &ConnStats) {
        let Some(span) = self.attributes.own(|own| own.span.clone()) else { return };
        span.record("messages_in", stats.messages_in)
            .record("messages_out", stats.messages_out)
            .record("frames_in", stats.frames_in)
            .record("frames_out", stats.frames_out)
            .record("bytes_in", stats.bytes_in)
            .record("bytes_out", stats.bytes_out)
            .record("before_inflate", stats.before_inflate)
            .record("after_inflate", stats.after_inflate)
            .record("before_deflate", stats.before_deflate)
            .record("after_deflate", stats.after_deflate)
            .record("buffered", stats.buffered);
        // A subscriber prints a separator for a value that is absent.
        if let Some(rtt) = stats.rtt {
            span.record("rtt", field::debug(rtt));
        }
        for (name, code) in
            [("close_sent", stats.close_sent), ("close_received", stats.close_received)]
        {
            if let Some(code) = code {
                span.record(name, code.as_u16());
            }
        }
    }
}

/// The addresses of a TCP stream. IPv6 is boxed: most connections need a quarter of its size.
#[derive(Debug)]
pub(crate) enum Addresses {
    V4 { peer: SocketAddrV4, local: SocketAddrV4 },
    Other(Option<Box<(SocketAddr, SocketAddr)>>),
}

impl Addresses {
    /// `peer` is the address of the peer, if it is known.
    pub(crate) fn of(tcp: &TcpStream, peer: Option<SocketAddr>) -> Self {
        match (peer.map_or_else(|| tcp.peer_addr(), Ok), tcp.local_addr()) {
            (Ok(SocketAddr::V4(peer)), Ok(SocketAddr::V4(local))) => Self::V4 { peer, local },
            (Ok(peer), Ok(local)) => Self::Other(Some(Box::new((peer, local)))),
            _ => Self::Other(None),
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::V4 { peer, .. } => Some((*peer).into()),
            Self::Other(addresses) => addresses.as_ref().map(|addresses| addresses.0),
        }
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::V4 { local, .. } => Some((*local).into()),
            Self::Other(addresses) => addresses.as_ref().map(|addresses| addresses.1),
        }
    }
}
