//! What may lie below: TCP, TLS, Unix sockets; and how does a server stop?
#![cfg(test)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use ws_server_hyper::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, PeerAddr, TestClient,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

type Answer = Result<Response<Full<Bytes>>, Infallible>;

fn answer(request: &mut Request<Incoming>, options: &AcceptOptions) -> Answer {
    Ok(match ws_server_hyper::accept(request, options) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(echo));
            response
        }
        Err(rejection) => rejection.into_response().map(Full::from),
    })
}

/// Serves a stream with an echo.
fn serve(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = service_fn(async |mut request| answer(&mut request, &AcceptOptions::new()));
    tokio::spawn(async move {
        let server = ws_server_hyper::server();
        server.serve_connection_with_upgrades(TokioIo::new(io), service).await.map_err(drop)
    });
}

/// Upgrades over HTTP/1.1, and has a message echoed.
async fn check_http1(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    io.write_all(REQUEST.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    io.write_all(b"\x81\x82\0\0\0\0hi").await.unwrap();
    let mut echoed = [0; 4];
    io.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"\x81\x02hi");
}

/// Connects over HTTP/2, and has a message echoed.
async fn check_http2(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let (client, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    while !client.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let request = Request::connect("https://localhost/")
        .header("sec-websocket-version", "13")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    let (answer, mut send) = client.send_request(request, false).unwrap();
    send.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi"), false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(&answer.into_body().data().await.unwrap().unwrap()[..], b"\x81\x02hi");
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

fn tls(protocols: &[&[u8]]) -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (Arc::new(server).into(), Arc::new(client).into())
}

#[tokio::test]
async fn tls_carries_both_versions_of_http() {
    for protocols in [&[&b"http/1.1"[..]][..], &[b"h2", b"http/1.1"]] {
        let (acceptor, connector) = tls(protocols);
        let (here, there) = duplex(16 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        in_time(async {
            let (here, there) = tokio::join!(connector.connect(name, here), acceptor.accept(there));
            serve(there.unwrap());
            let here = here.unwrap();
            match here.get_ref().1.alpn_protocol() {
                Some(b"h2") => check_http2(here).await,
                _ => check_http1(here).await,
            }
        })
        .await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_do_as_well() {
    let (here, there) = tokio::net::UnixStream::pair().unwrap();
    serve(there);
    in_time(check_http1(here)).await;
    let (here, there) = tokio::net::UnixStream::pair().unwrap();
    serve(there);
    in_time(check_http2(here)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_tcp_stream_is_told_not_to_delay() {
    use std::os::fd::AsFd as _;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (here, there) = tokio::join!(dialled, listener.accept());
    let there = there.unwrap().0;
    let same = std::net::TcpStream::from(there.as_fd().try_clone_to_owned().unwrap());
    assert!(!same.nodelay().unwrap());
    serve(there);
    in_time(check_http1(here.unwrap())).await;
    assert!(same.nodelay().unwrap());
}

#[tokio::test]
async fn the_address_of_the_client_can_be_told() {
    let addr = SocketAddr::from(([192, 0, 2, 7], 4711));
    let (sender, mut seen) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddr(addr));
        let sender = sender.clone();
        let (response, upgrade) =
            ws_server_hyper::accept::<_, Full<Bytes>>(&mut request, &AcceptOptions::new()).unwrap();
        tokio::spawn(upgrade.serve(async move |conn: Conn| {
            sender.send(conn.peer_addr()).unwrap();
        }));
        async { Ok::<_, Infallible>(response) }
    });
    for client in [TestClient::new(service.clone()), TestClient::new(service).http2()] {
        let _conn = in_time(client.websocket("/").connect()).await.unwrap();
        assert_eq!(seen.recv().await.unwrap(), Some(addr));
    }
}

/// hyper waits for the requests that are under way, the tracker for what they became.
#[tokio::test]
async fn a_graceful_shutdown_drains_the_connections_too() {
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let graceful = GracefulShutdown::new();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (mut here, there) = duplex(4096);
        let options = options.clone();
        let service = service_fn(move |mut request| {
            let answer = answer(&mut request, &options);
            async { answer }
        });
        let server = ws_server_hyper::server();
        let conn = server.serve_connection_with_upgrades(TokioIo::new(there), service);
        tokio::spawn(graceful.watch(conn.into_owned()));
        in_time(check_http1(&mut here)).await;
        clients.push(here);
    }
    let polite = async {
        for io in &mut clients {
            let mut close = [0; 4];
            io.read_exact(&mut close).await.unwrap();
            assert_eq!(&close, b"\x88\x02\x03\xe9");
            io.write_all(b"\x88\x82\0\0\0\0\x03\xe9").await.unwrap();
        }
    };
    let drain = tracker.drain(DrainConfig::timeout(Duration::from_secs(20)));
    let ((), counts, ()) =
        in_time(async { tokio::join!(graceful.shutdown(), drain, polite) }).await;
    assert_eq!((counts.open, counts.ended, counts.told, counts.cut), (0, 3, 3, 0));
}
