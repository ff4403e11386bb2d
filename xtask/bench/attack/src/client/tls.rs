//! Which servers are hostile over TLS?

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::script::{Hostile, Reach, accept, raw, wait};

/// The certificate of the servers.
pub(super) struct Certificate {
    /// Where clients find it, as DER.
    pub(super) file: PathBuf,
    config: Arc<ServerConfig>,
}

/// A certificate for `localhost`, made at the first call.
pub(super) fn certificate() -> Result<&'static Certificate> {
    static MADE: OnceLock<Option<Certificate>> = OnceLock::new();
    MADE.get_or_init(|| make().ok()).as_ref().context("no certificate can be made")
}

fn make() -> Result<Certificate> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let file = std::env::temp_dir().join(format!("ws-attack-{}.der", std::process::id()));
    std::fs::write(&file, made.cert.der())?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    Ok(Certificate { file, config: Arc::new(config) })
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Accepts TLS, reads a request, and returns the stream and the answer that accepts it.
fn accepted(mut stream: Tls) -> Result<(Tls, Vec<u8>)> {
    let mut request = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request)? > 0 {}
    let answer = accept(&request, "")?;
    Ok((stream, answer))
}

fn served(
    what: &'static str,
    outcome: &'static [&'static str],
    script: impl Fn(Tls) -> Result<()> + Send + Sync + 'static,
) -> Hostile {
    raw(Reach::Tls, what, outcome, move |tcp| {
        let server = ServerConnection::new(Arc::clone(&certificate()?.config))?;
        script(StreamOwned::new(server, tcp))
    })
}

pub(super) fn servers() -> Result<Vec<Hostile>> {
    certificate()?;
    Ok(vec![
        served("end without close_notify after the 101", &["1006"], |stream| {
            let (mut stream, answer) = accepted(stream)?;
            Ok(stream.write_all(&answer)?)
        }),
        served("end without close_notify inside a frame", &["1006"], |stream| {
            let (mut stream, answer) = accepted(stream)?;
            stream.write_all(&answer)?;
            Ok(stream.write_all(b"\x81\x05a")?)
        }),
        // They arrive with the 101, or after it.
        served(
            "bytes without TLS after the 101",
            &["TLS handshake", "transport failed"],
            |stream| {
                let (mut stream, answer) = accepted(stream)?;
                stream.write_all(&answer)?;
                stream.sock.write_all(b"\x81\x01a, and more than a record")?;
                wait(&mut stream.sock)
            },
        ),
        served("end before the answer", &["stream failed"], |stream| accepted(stream).map(drop)),
        raw(Reach::Tls, "no answer to the first message", &["longer than"], |mut stream| {
            wait(&mut stream)
        }),
        raw(Reach::Tls, "an answer without TLS", &["TLS handshake"], |mut stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            wait(&mut stream)
        }),
    ])
}
