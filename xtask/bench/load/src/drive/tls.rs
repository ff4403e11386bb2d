//! How does the load generator speak TLS on a stream that may not block?

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::drive::conn::{TIMEOUT, accepted, request};

/// The settings of all connections.
#[derive(Clone, Debug)]
pub struct TlsSettings(Arc<ClientConfig>);

/// A TLS connection.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    session: ClientConnection,
    /// Ciphertext, of which the first bytes are decrypted.
    input: Vec<u8>,
    taken: usize,
}

/// How much ciphertext is read at once.
const INPUT: usize = 64 * 1024;

/// How much plaintext a session takes before its ciphertext is sent.
const OUTPUT: usize = 64 * 1024;

impl TlsSettings {
    /// Offers this protocol, and trusts the certificate in a file. Each handshake is a full one.
    pub(super) fn new(protocol: &[u8], certificate: Option<&Path>) -> Result<Self> {
        let file = certificate.context("TLS needs the server's certificate (--certificate)")?;
        let der = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(der))?;
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// Makes the handshake of TLS.
    pub(super) fn connect(&self, mut tcp: TcpStream) -> Result<TlsStream> {
        tcp.set_read_timeout(Some(TIMEOUT))?;
        let name = ServerName::try_from("localhost")?;
        let mut session = ClientConnection::new(Arc::clone(&self.0), name)?;
        session.set_buffer_limit(Some(2 * OUTPUT));
        while session.is_handshaking() {
            session.complete_io(&mut tcp).context("the handshake of TLS fails")?;
        }
        ensure!(session.alpn_protocol().is_some(), "the server does not choose a protocol");
        Ok(TlsStream { tcp, session, input: Vec::new(), taken: 0 })
    }
}

impl TlsStream {
    pub(super) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(super) fn shake_hands(&mut self, more: &str) -> Result<String> {
        let request = request(self.tcp.peer_addr()?, "/", more);
        self.write_all(request.as_bytes())?;
        Self::flush(self)?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            let count = self.read(&mut byte).context("the server does not answer the handshake")?;
            ensure!(count > 0, "the server ends the connection during the handshake");
            head.extend(byte);
        }
        accepted(&head)
    }

    /// Sends ciphertext. Returns whether the socket took all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads plaintext that has been decrypted. `None` if there is none.
    fn decrypted(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.reader().read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Read for TlsStream {
    /// Reads from the socket once, and decrypts as much as `buffer` takes. The rest waits in `input`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            while filled < buffer.len()
                && let Some(count) = self.decrypted(&mut buffer[filled..])?
                && count > 0
            {
                filled += count;
            }
            if filled == buffer.len() {
                return Ok(filled);
            }
            if self.taken == self.input.len() {
                if filled > 0 {
                    return Ok(filled);
                }
                self.taken = 0;
                self.input.resize(INPUT, 0);
                let read = self.tcp.read(&mut self.input);
                self.input.truncate(*read.as_ref().unwrap_or(&0));
                if read? == 0 {
                    return Ok(0);
                }
            }
            self.taken += self.session.read_tls(&mut &self.input[self.taken..])?;
            self.session.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !Self::flush(self)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.session.writer().write(&bytes[..bytes.len().min(OUTPUT)])?;
        Self::flush(self)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self).map(drop)
    }
}
