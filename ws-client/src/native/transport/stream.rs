//! Which streams does a transport yield?

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream to a server.
pub(crate) struct Established {
    pub(crate) io: TransportStream,
    /// The peer of the TCP connection: the server or the proxy.
    pub(crate) peer: Option<SocketAddr>,
    /// ALPN selected HTTP/2.
    #[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "HTTP/2 is not offered"))]
    pub(crate) is_http2: bool,
}

/// A stream after a TLS handshake.
pub(super) struct Encrypted {
    pub(super) io: Box<dyn AsyncStream>,
    /// ALPN selected HTTP/2.
    pub(super) is_http2: bool,
}

/// `Conn` has a fast path for TCP, so a plain `TcpStream` is not boxed.
pub(crate) enum TransportStream {
    Tcp(TcpStream),
    Boxed(Box<dyn AsyncStream>),
}

/// A byte stream in both directions.
pub(crate) trait AsyncStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncStream for T {}
