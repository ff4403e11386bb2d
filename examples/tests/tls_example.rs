//! Does the TLS example serve each framework, and take over certificates that a client of ACME renews?

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use ws_client::{Conn, Dial, DialError, Dialer, StatusCode};

use crate::program::{Example, Running, check_echo, free_port, in_time, signal, skip};

/// A folder with files, which is removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a certificate of its own for `localhost`, and returns the roots that trust it.
    fn certify(&self) -> RootCertStore {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::write(self.path("cert.pem"), made.cert.pem()).unwrap();
        roots(&made.cert.pem())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

/// A client that trusts these roots.
fn dialer(roots: &RootCertStore) -> Dialer {
    Dialer::new().no_proxy().tls(tls(roots))
}

fn tls(roots: &RootCertStore) -> ClientConfig {
    // With every feature, rustls has two kinds of cryptography, and cannot choose.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth()
}

async fn dial(server: &Example, dialer: &Dialer) -> Result<Conn, DialError> {
    let port = server.address().rsplit_once(':').unwrap().1;
    let dial = Dial::new(format!("wss://localhost:{port}/")).dialer(dialer);
    in_time(dial.connect()).await
}

fn start(cert: &str, key: &str, by: &str) -> Example {
    Example::start_for(
        "tls",
        &[cert, key, "--listen", "127.0.0.1:0", "--by", by],
        Duration::from_secs(120),
    )
}

#[tokio::test]
async fn each_framework_serves_tls_over_both_versions_of_http() {
    let folder = Folder::new("frameworks");
    let roots = folder.certify();
    for by in ["axum", "hyper", "warp"] {
        let server = start(&folder.path("cert.pem"), &folder.path("key.pem"), by);
        // A client that says nothing holds up no other.
        let _silent = TcpStream::connect(server.address()).unwrap();
        for dialer in [dialer(&roots), dialer(&roots).http2_only()] {
            check_echo(&dial(&server, &dialer).await.unwrap()).await;
        }
    }
}

/// Clients in each phase of TLS and HTTP do not hold up the end.
#[cfg(unix)]
#[tokio::test]
async fn a_signal_closes_each_connection_and_ends_the_example() {
    let folder = Folder::new("signals");
    let roots = folder.certify();
    for (by, name) in [("axum", "TERM"), ("hyper", "INT"), ("warp", "TERM")] {
        let mut server = start(&folder.path("cert.pem"), &folder.path("key.pem"), by);
        let silent = TcpStream::connect(server.address()).unwrap();
        let mut half_a_hello = TcpStream::connect(server.address()).unwrap();
        half_a_hello.write_all(&[0x16, 3, 1]).unwrap();
        let connector = TlsConnector::from(Arc::new(tls(&roots)));
        let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let localhost = ServerName::try_from("localhost").unwrap();
        let mut half_a_head = in_time(connector.connect(localhost, stream)).await.unwrap();
        half_a_head.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        let mut conns = Vec::new();
        for dialer in [dialer(&roots), dialer(&roots).http2_only()] {
            let conn = dial(&server, &dialer).await.unwrap();
            check_echo(&conn).await;
            conns.push(conn);
        }
        assert!(signal(name, server.child.id()));
        for conn in conns {
            let error = in_time(conn.read()).await.unwrap_err();
            assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY), "{by}");
        }
        let ended = tokio::task::spawn_blocking(move || server.child.wait().unwrap());
        assert!(in_time(ended).await.unwrap().success(), "{by}");
        drop((silent, half_a_hello, half_a_head));
    }
}

/// Dials until the server has the certificate that these roots trust.
#[cfg(unix)]
async fn dial_when_trusted(server: &Example, roots: &RootCertStore) -> Conn {
    let dialer = dialer(roots);
    let dialing = async {
        loop {
            match dial(server, &dialer).await {
                Ok(conn) => return conn,
                // The server reads the files after the signal.
                Err(DialError::Tls(_)) => sleep(Duration::from_millis(50)).await, // tidy: sleep is the subject
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(Duration::from_secs(30), dialing).await.unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn a_renewed_certificate_is_used_after_a_signal_and_open_connections_stay() {
    let folder = Folder::new("renewal");
    let before = folder.certify();
    let server = start(&folder.path("cert.pem"), &folder.path("key.pem"), "axum");
    let old = dial(&server, &dialer(&before)).await.unwrap();
    // A file that is no certificate changes nothing.
    fs::write(folder.path("cert.pem"), "half of a").unwrap();
    assert!(signal("HUP", server.child.id()));
    check_echo(&dial_when_trusted(&server, &before).await).await;
    let after = folder.certify();
    assert!(signal("HUP", server.child.id()));
    check_echo(&dial_when_trusted(&server, &after).await).await;
    assert!(dial(&server, &dialer(&before)).await.is_err());
    check_echo(&old).await;
}

/// Starts Pebble, a certificate authority for tests of ACME. `None` if it is not installed.
fn start_pebble(folder: &Folder, [acme, management, http]: [u16; 3]) -> Option<Running> {
    let settings = json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{acme}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": folder.path("cert.pem"),
        "privateKey": folder.path("key.pem"),
        "httpPort": http,
    }});
    fs::write(folder.path("pebble.json"), settings.to_string()).unwrap();
    let child = Command::new("pebble")
        .args(["-config", &folder.path("pebble.json")])
        .env("PEBBLE_VA_NOSLEEP", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Some(Running(child.ok()?))
}

/// Gets a certificate for `localhost` from Pebble, and returns the folder with its files.
fn get_certificate(folder: &Folder, acme: u16, http: u16) -> Option<PathBuf> {
    let path = folder.path("lego");
    let server = format!("https://localhost:{acme}/dir");
    let solver = format!("127.0.0.1:{http}");
    let output = Command::new("lego")
        .args(["--accept-tos", "--server", &server, "--email", "a@example.com"])
        .args(["--domains", "localhost", "--http", "--http.port", &solver, "--path", &path, "run"])
        .env("LEGO_CA_CERTIFICATES", folder.path("cert.pem"))
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(Path::new(&path).join("certificates"))
}

async fn wait_for_port(port: u16) {
    let connecting = async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            sleep(Duration::from_millis(20)).await; // tidy: sleep is the subject
        }
    };
    timeout(Duration::from_secs(30), connecting).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_acme_is_served() {
    let folder = Folder::new("acme");
    let own = folder.certify();
    let [acme, management, http] = [free_port(), free_port(), free_port()];
    let found = match start_pebble(&folder, [acme, management, http]) {
        Some(pebble) => {
            wait_for_port(acme).await;
            get_certificate(&folder, acme, http).map(|files| (pebble, files))
        }
        None => None,
    };
    let Some((_pebble, files)) = found else {
        return skip("pebble or lego is not installed");
    };
    // What clients of the authority trust.
    let url = format!("https://localhost:{management}/roots/0");
    let trusting = reqwest::Certificate::from_der(
        &CertificateDer::from_pem_file(folder.path("cert.pem")).unwrap(),
    );
    let _ = dialer(&own);
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusting.unwrap()]);
    let root = in_time(client.build().unwrap().get(url).send()).await.unwrap();
    let root = in_time(root.text()).await.unwrap();

    let file = |name: &str| files.join(name).to_str().unwrap().to_owned();
    for adapter in ["axum", "hyper", "warp"] {
        let server = start(&file("localhost.crt"), &file("localhost.key"), adapter);
        check_echo(&dial(&server, &dialer(&roots(&root))).await.unwrap()).await;
    }
}
