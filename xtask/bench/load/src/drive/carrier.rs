//! What carries the bytes of a connection of the load generator: TCP, or TLS?

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use anyhow::Result;

use crate::drive::conn::{connect, shake_hands};
#[cfg(feature = "tls")]
use crate::drive::tls::{TlsSettings, TlsStream};
use crate::scenario::{Carrier, Scenario};

/// Connects to a server as the scenario says.
#[derive(Clone, Debug)]
pub struct Connector {
    server: SocketAddr,
    #[cfg(feature = "tls")]
    tls: Option<TlsSettings>,
}

/// A connected stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// TLS.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

impl Connector {
    /// The connector of a scenario. Over TLS, `certificate` is the file of the server's.
    ///
    /// # Errors
    ///
    /// The certificate is missing, or this program is built without TLS.
    pub fn new(
        server: SocketAddr,
        scenario: &Scenario,
        certificate: Option<&Path>,
    ) -> Result<Self> {
        #[cfg(feature = "tls")]
        {
            let protocol: Option<&[u8]> = match scenario.carrier {
                Carrier::Tcp => None,
                Carrier::Tls => Some(b"http/1.1"),
                Carrier::Http2 => Some(b"h2"),
            };
            let tls = protocol.map(|protocol| TlsSettings::new(protocol, certificate));
            Ok(Self { server, tls: tls.transpose()? })
        }
        #[cfg(not(feature = "tls"))]
        {
            let plain = scenario.carrier == Carrier::Tcp && certificate.is_none();
            anyhow::ensure!(plain, "TLS needs the feature `tls` of `load`");
            Ok(Self { server })
        }
    }

    /// The address of the server.
    pub const fn server(&self) -> SocketAddr {
        self.server
    }

    /// Connects. The stream is blocking, with `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// There is no server, or its certificate is another one.
    pub fn connect(&self) -> Result<Stream> {
        let stream = connect(self.server)?;
        stream.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Ok(Stream::Tls(Box::new(tls.connect(stream)?)));
        }
        Ok(Stream::Tcp(stream))
    }
}

impl Stream {
    /// The TCP stream.
    pub const fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.tcp(),
        }
    }

    /// Makes the opening handshake, with more lines in the request. Returns the head of the response.
    ///
    /// # Errors
    ///
    /// The server refuses the handshake.
    pub fn shake_hands(&mut self, more: &str) -> Result<String> {
        match self {
            Self::Tcp(stream) => shake_hands(stream, "/", more),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.shake_hands(more),
        }
    }

    /// Sends what the socket has not taken yet. Returns whether that was all.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) => Ok(true),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl io::Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self).map(drop)
    }
}
