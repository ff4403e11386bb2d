//! What bounds the memory and the work for a client of Socket.IO?

use std::time::Duration;

/// The limits of each connection that speaks Socket.IO. A client that exceeds one is disconnected,
/// except where another result is stated.
///
/// The length of a packet and of an attachment is bounded by the transport.
///
/// ```
/// use ws_events::socketio::SocketIoLimits;
///
/// let limits = SocketIoLimits::new().attachments(2).namespaces(4);
/// # let _ = limits;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketIoLimits {
    pub(crate) attachments: usize,
    pub(crate) attachment_bytes: usize,
    pub(crate) event_name_bytes: usize,
    pub(crate) auth_bytes: usize,
    pub(crate) namespace_bytes: usize,
    pub(crate) namespaces: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) dynamic_namespaces: usize,
}

impl SocketIoLimits {
    /// The default limits.
    pub const fn new() -> Self {
        Self {
            attachments: 10,
            attachment_bytes: 1_000_000,
            event_name_bytes: 256,
            auth_bytes: 16 * 1024,
            namespace_bytes: 256,
            namespaces: 32,
            connect_timeout: Duration::from_secs(45),
            dynamic_namespaces: 1024,
        }
    }

    /// The largest number of attachments of a packet. Default: 10.
    #[must_use]
    pub const fn attachments(mut self, limit: usize) -> Self {
        self.attachments = limit;
        self
    }

    /// The largest number of bytes of all attachments of a packet. Default: 1,000,000.
    #[must_use]
    pub const fn attachment_bytes(mut self, limit: usize) -> Self {
        self.attachment_bytes = limit;
        self
    }

    /// The longest name of an event that a client may send, in bytes of JSON. Default: 256.
    #[must_use]
    pub const fn event_name_bytes(mut self, limit: usize) -> Self {
        self.event_name_bytes = limit;
        self
    }

    /// The longest `auth` of a client, in bytes of JSON. Default: 16 KiB.
    #[must_use]
    pub const fn auth_bytes(mut self, limit: usize) -> Self {
        self.auth_bytes = limit;
        self
    }

    /// The longest name of a namespace, in bytes. Default: 256.
    #[must_use]
    pub const fn namespace_bytes(mut self, limit: usize) -> Self {
        self.namespace_bytes = limit;
        self
    }

    /// The largest number of sockets of a client, each in a namespace to which it is connected or
    /// connecting. Each has a [send queue](crate::SendQueueLimits) of its own. A socket that has left
    /// counts until its handlers of `disconnect` have returned, since they hold memory: a client that
    /// leaves and connects again meanwhile has two. Default: 32.
    #[must_use]
    pub const fn namespaces(mut self, limit: usize) -> Self {
        self.namespaces = limit;
        self
    }

    /// How long a client may be in no namespace: at the beginning, and after it has left the last
    /// one. Default: 45 s.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The largest number of namespaces of a hub that exist because a client has asked for them:
    /// see [`Hub::of_each`](crate::Hub::of_each). They are removed with their last socket. Beyond
    /// the limit, a client is refused. Default: 1,024.
    #[must_use]
    pub const fn dynamic_namespaces(mut self, limit: usize) -> Self {
        self.dynamic_namespaces = limit;
        self
    }
}

impl Default for SocketIoLimits {
    fn default() -> Self {
        Self::new()
    }
}
