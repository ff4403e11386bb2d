//! Do TCP, TLS and Unix sockets work as transports, and does a server shut down gracefully?
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

type HttpResult = Result<Response<Full<Bytes>>, Infallible>;

fn handle(request: &mut Request<Incoming>, options: &AcceptOptions) -> HttpResult {
    Ok(match ws_server_hyper::accept(request, options) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(echo));
            response
        }
        Err(rejection) => rejection.into_response().map(Full::from),
    })
}

/// Serves a stream with an echo handler.
fn serve(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = service_fn(async |mut request| handle(&mut request, &AcceptOptions::new()));
    tokio::spawn(async move {
        let server = ws_server_hyper::http_builder();
        server.serve_connection_with_upgrades(TokioIo::new(io), service).await.map_err(drop)
    });
}

/// Connects over HTTP/1.1, and checks the echo of a message.
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

/// Connects over HTTP/2, and checks the echo of a message.
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
    let (response, mut send) = client.send_request(request, false).unwrap();
    send.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi"), false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(&response.into_body().data().await.unwrap().unwrap()[..], b"\x81\x02hi");
}

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

fn tls(protocols: &[&[u8]]) -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    // With every feature, rustls has two kinds of cryptography, and cannot choose.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
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
async fn tls_works_with_http1_and_http2() {
    for protocols in [&[&b"http/1.1"[..]][..], &[b"h2", b"http/1.1"]] {
        let (acceptor, connector) = tls(protocols);
        let (client_io, server_io) = duplex(16 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        in_time(async {
            let (client_io, server_io) =
                tokio::join!(connector.connect(name, client_io), acceptor.accept(server_io));
            serve(server_io.unwrap());
            let client_io = client_io.unwrap();
            match client_io.get_ref().1.alpn_protocol() {
                Some(b"h2") => check_http2(client_io).await,
                _ => check_http1(client_io).await,
            }
        })
        .await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_work_with_http1_and_http2() {
    let (client_io, server_io) = tokio::net::UnixStream::pair().unwrap();
    serve(server_io);
    in_time(check_http1(client_io)).await;
    let (client_io, server_io) = tokio::net::UnixStream::pair().unwrap();
    serve(server_io);
    in_time(check_http2(client_io)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn nodelay_is_set_on_a_tcp_stream() {
    use std::os::fd::AsFd as _;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (client_io, server_io) = tokio::join!(dialled, listener.accept());
    let server_io = server_io.unwrap().0;
    let same = std::net::TcpStream::from(server_io.as_fd().try_clone_to_owned().unwrap());
    assert!(!same.nodelay().unwrap());
    serve(server_io);
    in_time(check_http1(client_io.unwrap())).await;
    assert!(same.nodelay().unwrap());
}

#[tokio::test]
async fn a_peer_addr_extension_is_the_address_of_the_connection() {
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

/// hyper waits for requests in progress, the tracker for upgraded connections.
#[tokio::test]
async fn a_graceful_shutdown_drains_upgraded_connections() {
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let graceful = GracefulShutdown::new();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (mut client_io, server_io) = duplex(4096);
        let options = options.clone();
        let service = service_fn(move |mut request| {
            let result = handle(&mut request, &options);
            async { result }
        });
        let server = ws_server_hyper::http_builder();
        let conn = server.serve_connection_with_upgrades(TokioIo::new(server_io), service);
        tokio::spawn(graceful.watch(conn.into_owned()));
        in_time(check_http1(&mut client_io)).await;
        clients.push(client_io);
    }
    let clients_close = async {
        for io in &mut clients {
            let mut close = [0; 4];
            io.read_exact(&mut close).await.unwrap();
            assert_eq!(&close, b"\x88\x02\x03\xe9");
            io.write_all(b"\x88\x82\0\0\0\0\x03\xe9").await.unwrap();
        }
    };
    let drain = tracker.drain(DrainConfig::timeout(Duration::from_secs(20)));
    let ((), counts, ()) =
        in_time(async { tokio::join!(graceful.shutdown(), drain, clients_close) }).await;
    assert_eq!((counts.open, counts.ended, counts.notified, counts.aborted), (0, 3, 3, 0));
}
