//! What connects a socket with its peer: a WebSocket, or a namespace of a Socket.IO session?

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ws_core::adapter::{self, Batch};
use ws_core::{
    Attributes, CloseInfo, Conn, Error, PreparedMessage, RequestInfo, StatusCode, TryWriteError,
};

use crate::delivery::wire_format::WireFormat;
use crate::events::protocol::{Received, decode};
use crate::namespace_link::{NamespaceEnd, NamespaceLink};

/// The connection of one socket. A clone is the same connection.
#[derive(Clone)]
pub(crate) enum Link {
    Conn(Conn),
    /// One of several that share a session.
    Namespace(Arc<NamespaceLink>),
}

/// Why a link has ended.
#[derive(Debug)]
pub(crate) enum LinkEnd {
    Conn(CloseInfo),
    Namespace(NamespaceEnd),
}

impl Link {
    /// The next input, with its size in bytes; `None` after the last one.
    pub(crate) async fn read(&self, format: WireFormat) -> Option<(Received, usize)> {
        match self {
            Self::Conn(conn) => {
                let message = conn.read().await.ok()?;
                let size = message.len();
                Some((decode(format, message), size))
            }
            Self::Namespace(link) => link.read().await,
        }
    }

    /// Waits for the end. A WebSocket reads ahead meanwhile.
    pub(crate) async fn closed(&self) -> LinkEnd {
        match self {
            Self::Conn(conn) => LinkEnd::Conn(conn.closed().await),
            Self::Namespace(link) => LinkEnd::Namespace(link.closed().await),
        }
    }

    pub(crate) async fn flush(&self) -> Result<(), Error> {
        match self {
            Self::Conn(conn) => conn.flush().await,
            Self::Namespace(link) => link.session().flush().await,
        }
    }

    /// Closes it; a namespace as the code demands.
    pub(crate) async fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        match self {
            Self::Conn(conn) => conn.close(code, reason).await,
            Self::Namespace(link) => link.close(code, reason).await,
        }
    }

    /// Ends it at once; a namespace with its session. What has arrived before the end of a session
    /// stays.
    pub(crate) fn close_now(&self) {
        match self {
            Self::Conn(conn) => conn.close_now(),
            Self::Namespace(link) if link.session().is_closed() => {}
            Self::Namespace(link) => link.session().close_now(),
        }
    }

    pub(crate) fn attributes(&self) -> Attributes {
        match self {
            Self::Conn(conn) => conn.attributes().clone(),
            Self::Namespace(_) => Attributes::default(),
        }
    }

    pub(crate) fn request(&self) -> Option<Arc<RequestInfo>> {
        match self {
            Self::Conn(conn) => conn.request(),
            Self::Namespace(link) => link.session().request(),
        }
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Conn(conn) => conn.peer_addr(),
            Self::Namespace(link) => link.session().peer_addr(),
        }
    }

    /// The WebSocket, if the socket has one of its own.
    pub(crate) const fn conn(&self) -> Option<&Conn> {
        match self {
            Self::Conn(conn) => Some(conn),
            Self::Namespace(_) => None,
        }
    }

    pub(crate) const fn namespace(&self) -> Option<&Arc<NamespaceLink>> {
        match self {
            Self::Conn(_) => None,
            Self::Namespace(link) => Some(link),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conn(conn) => f.debug_tuple("Conn").field(conn).finish(),
            Self::Namespace(link) => f.debug_tuple("Namespace").field(link.name()).finish(),
        }
    }
}

/// See [`ws_core::adapter::close_timeout`].
pub(crate) fn close_timeout(link: &Link) -> Duration {
    match link {
        Link::Conn(conn) => adapter::close_timeout(conn),
        Link::Namespace(link) => link.session().close_timeout(),
    }
}

/// See [`ws_core::adapter::write_batch`].
pub(crate) async fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
    link: &Link,
    take: impl FnMut(usize) -> I + Send + Unpin,
) -> Result<Batch, Error> {
    match link {
        Link::Conn(conn) => adapter::write_batch(conn, take).await,
        Link::Namespace(link) => Box::pin(link.write_batch(take)).await,
    }
}

/// See [`ws_core::adapter::try_write_batch`].
pub(crate) fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
    link: &Link,
    take: impl FnMut(usize) -> I,
) -> Result<Batch, TryWriteError> {
    match link {
        Link::Conn(conn) => adapter::try_write_batch(conn, take),
        Link::Namespace(link) => link.try_write_batch(take),
    }
}
