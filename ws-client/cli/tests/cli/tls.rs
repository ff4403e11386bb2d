//! Do the TLS options set the trusted roots and the client certificate?

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use ws_client::{Conn, Error};
use ws_core::AcceptOptions;

use crate::program::{Program, Ran, Server, run};

/// A certificate authority, and its PEM files, which are removed on drop.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
    folder: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let folder = std::env::temp_dir().join(format!("ws-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("root.pem"), root.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let client = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        let certificate = params.signed_by(&client, &issuer).unwrap().pem();
        std::fs::write(folder.join("client.pem"), &certificate).unwrap();
        std::fs::write(folder.join("client.key"), client.serialize_pem()).unwrap();
        let both = format!("{certificate}{}", client.serialize_pem());
        std::fs::write(folder.join("both.pem"), both).unwrap();
        let server = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&server, &issuer).unwrap().pem();
        std::fs::write(folder.join("server.pem"), certificate).unwrap();
        std::fs::write(folder.join("server.key"), server.serialize_pem()).unwrap();
        Self { issuer, roots, folder }
    }

    fn file(&self, name: &str) -> String {
        Path::new(&self.folder).join(name).to_str().unwrap().to_owned()
    }

    /// Starts an echo server for HTTP/1.1 and HTTP/2, which may require a client certificate.
    /// Returns its URL.
    fn serve(&self, runtime: &tokio::runtime::Runtime, asks: bool) -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        // With every feature, rustls has two kinds of cryptography, and cannot choose.
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = if asks {
            let roots = Arc::new(self.roots.clone());
            let verifier = WebPkiClientVerifier::builder(roots).build().unwrap();
            ServerConfig::builder().with_client_cert_verifier(verifier)
        } else {
            ServerConfig::builder().with_no_client_auth()
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let server = ws_server_hyper::http_builder();
                    let service = service_fn(answer);
                    let _ =
                        server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        url
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn answer(mut request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    match ws_server_hyper::accept(&mut request, &AcceptOptions::new()) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(echo));
            Ok(response)
        }
        Err(rejection) => Ok(rejection.into_response().map(Full::from)),
    }
}

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

#[test]
fn certificates_are_verified_by_the_options() {
    let authority = Authority::new("trusts");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (open, asking) = (authority.serve(&runtime, false), authority.serve(&runtime, true));
    let [root, client, key, both] =
        ["root.pem", "client.pem", "client.key", "both.pem"].map(|name| authority.file(name));
    let connect = |url: &str, args: &[&str]| -> Ran {
        run(&[&["connect", "-q", url], args].concat(), b"hello\n")
    };
    connect(&open, &[]).check(1, "", "(--cacert FILE trusts its issuer, --insecure");
    connect(&open, &["--cacert", &root]).check(0, "hello\n", "");
    connect(&open, &["--insecure"]).check(0, "hello\n", "");
    connect(&open, &["--cacert", &root, "--http2"]).check(0, "hello\n", "");
    connect(&open, &["--cacert", &key]).check(1, "", "(--cacert)");
    assert_eq!(connect(&asking, &["--cacert", &root]).code, 1);
    connect(&asking, &["--cacert", &root, "--cert", &both]).check(0, "hello\n", "");
    connect(&asking, &["-k", "--cert", &client, "--key", &key]).check(0, "hello\n", "");
    connect(&asking, &["-k", "--cert", &client]).check(1, "", "(--key,");
    connect(&asking, &["-k", "--cert", &key]).check(1, "", "(--cert)");
    let untrusted = run(&["check", &open], b"");
    assert_eq!(untrusted.out.matches("(--cacert FILE trusts").count(), 2, "{untrusted:?}");
    let checked = run(&["check", &open, "--cacert", &root], b"");
    assert!(
        checked.code == 0 && checked.out.contains("200 OK to an extended CONNECT"),
        "{checked:?}"
    );
    let measured = run(&["bench", &open, "-k", "--http2", "-d", "0.2", "--warmup", "0.1"], b"");
    assert_eq!(measured.code, 0, "{measured:?}");
}

#[test]
fn the_listener_serves_tls() {
    let authority = Authority::new("listens");
    let [root, cert, key, other] =
        ["root.pem", "server.pem", "server.key", "client.key"].map(|name| authority.file(name));
    let server = Server::start(&["--cert", &cert, "--key", &key, "-s", "chat", "--print"]);
    assert!(server.url.starts_with("wss://127.0.0.1:"), "{}", server.url);
    let connect = |args: &[&str]| -> Ran {
        run(&[&["connect", "-v", "--cacert", &root, &server.url], args].concat(), b"hello\n")
    };
    connect(&["-s", "chat"]).check(0, "hello\n", "HTTP/1.1 101");
    connect(&["--http2", "-s", "chat"]).check(0, "hello\n", "HTTP/2.0 200");
    connect(&["--http2", "-s", "chat"]).check(0, "hello\n", "subprotocol chat");
    connect(&["--origin", "https://example.com"]).check(1, "", "403 Forbidden");
    run(&["connect", &server.url], b"").check(1, "", "--cacert");
    // A client without TLS is reported, and does not affect the others.
    let plain = server.url.replace("wss://", "ws://");
    assert_eq!(run(&["connect", &plain], b"").code, 1);
    connect(&[]).check(0, "hello\n", "");
    let said = server.interrupt();
    for told in ["connected, /", "after 1 messages", "TLS handshake failed"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    // The environment of commands.
    let echo = ["--", "sh", "-c", "echo \"$REMOTE_ADDR $REQUEST_URI\""];
    let both = [&["-q", "--cert", &cert, "--key", &key][..], &echo].concat();
    let server = Server::start(&both);
    let url = format!("{}/door?knock=1", server.url);
    for version in [&[][..], &["--http2"]] {
        let asked = [&["connect", "-q", "--stay", "--cacert", &root, &url][..], version].concat();
        run(&asked, b"").check(0, "127.0.0.1 /door?knock=1\n", "");
    }
    // Invalid options are reported at the start.
    let listen = |args: &[&str]| run(&[&["listen", "127.0.0.1:0"], args].concat(), b"");
    listen(&["--cert", &cert]).check(1, "", "(--key,");
    listen(&["--cert", &cert, "--key", &other]).check(1, "", "(--key)");
    listen(&["--cert", "/does/not/exist"]).check(1, "", "(--cert)");
    listen(&["--key", &key]).check(2, "", "--cert");
}

/// A client without a TLS handshake and one in the middle of it do not hold up the end.
#[test]
fn a_listener_over_tls_closes_all_connections_with_1001() {
    let authority = Authority::new("signals");
    let [root, cert, key] =
        ["root.pem", "server.pem", "server.key"].map(|name| authority.file(name));
    for name in ["INT", "TERM"] {
        let server = Server::start(&["--cert", &cert, "--key", &key]);
        let _silent = TcpStream::connect(server.address()).unwrap();
        let mut half = TcpStream::connect(server.address()).unwrap();
        half.write_all(&[0x16, 3, 1]).unwrap();
        let args = ["connect", "-q", "--stay", "-m", "hello", "--cacert", &root, &server.url];
        let mut client = Program::start(&args);
        let mut line = String::new();
        BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said = server.stop(name);
        assert!(said.contains("closed with 1001"), "{said}");
        assert_eq!(client.wait().unwrap().code(), Some(11), "{name}");
    }
}
