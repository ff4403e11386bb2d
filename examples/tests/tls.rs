//! Does each adapter serve TLS streams over HTTP/1.1 and HTTP/2?

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode as HttpStatus};
use hyper_util::rt::TokioIo;
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tower::ServiceExt as _;
use ws_client::Dial;
use ws_events_socketio::SocketIo;
use ws_server_hyper::{AcceptOptions, Compression, Conn, Encrypted, Error, StatusCode};

use crate::adapters;
use crate::self_signed;

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// A server and a client that offers only this ALPN protocol.
fn tls(protocol: &str) -> (TlsAcceptor, TlsConnector) {
    let (acceptor, roots) = self_signed::server("localhost");
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    (acceptor, Arc::new(client).into())
}

#[tokio::test]
async fn tls_works_with_http1_and_http2() {
    let compression = Compression::no_context_takeover();
    let run = async {
        for served in adapters::each(&AcceptOptions::new().compression(compression), echo) {
            for protocol in ["http/1.1", "h2"] {
                let (acceptor, connector) = tls(protocol);
                let (client_io, server_io) = duplex(16 * 1024);
                let name = ServerName::try_from("localhost").unwrap();
                let (client_io, server_io) =
                    tokio::join!(connector.connect(name, client_io), acceptor.accept(server_io));
                served.serve(Box::new(server_io.unwrap()));
                let client_io = client_io.unwrap();
                let conn = match protocol {
                    "h2" => {
                        let client = adapters::http2(Box::new(client_io)).await;
                        adapters::connect(client, "/x", compression).await
                    }
                    _ => {
                        let dial = Dial::new("wss://localhost/x").compression(compression);
                        dial.connect_over(client_io).await.unwrap()
                    }
                };
                assert!(conn.is_compressed(), "{}, {protocol}", served.by);
                let text = "the same, over and over. ".repeat(10_000);
                let (sent, echoed) = tokio::join!(conn.write(text.as_str()), conn.read());
                sent.unwrap();
                assert_eq!(echoed.unwrap().as_text(), Some(&*text), "{}, {protocol}", served.by);
                conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
}

/// A stream to a server over TLS or without, and the server's side of it.
async fn streams(is_encrypted: bool) -> [adapters::Stream; 2] {
    let (client_io, server_io) = duplex(16 * 1024);
    if !is_encrypted {
        return [Box::new(client_io), Box::new(server_io)];
    }
    let (acceptor, connector) = tls("http/1.1");
    let name = ServerName::try_from("localhost").unwrap();
    let (client_io, server_io) =
        tokio::join!(connector.connect(name, client_io), acceptor.accept(server_io));
    [Box::new(client_io.unwrap()), Box::new(server_io.unwrap())]
}

/// A request by HTTP long-polling.
async fn poll(io: adapters::Stream) {
    let (mut client, conn) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(conn);
    let request = Request::get("/socket.io/?EIO=4&transport=polling").header("host", "localhost");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), HttpStatus::OK);
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn a_handler_knows_whether_its_client_uses_tls() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let opened = sender.clone();
    let socketio = SocketIo::engine(move |session| {
        let sender = opened.clone();
        async move { sender.send(session.request().unwrap().secure).unwrap() }
    });
    let on_upgrade = move |conn: Conn| {
        let sender = sender.clone();
        async move { sender.send(conn.request().unwrap().secure).unwrap() }
    };
    let filter = ws_server_warp::websocket(AcceptOptions::new(), on_upgrade.clone());
    let filter = warp::service(filter);
    let route = ws_server_axum::websocket(AcceptOptions::new(), on_upgrade);
    let plain = Router::new().route("/x", route).nest_service("/socket.io/", socketio.clone());
    let encrypted = plain.clone().layer(Extension(Encrypted));
    let run = async {
        for is_encrypted in [false, true] {
            let scheme = if is_encrypted { "wss" } else { "ws" };
            let app = if is_encrypted { &encrypted } else { &plain };
            for path in ["x", "socket.io/?EIO=4&transport=websocket", "polling"] {
                let [client_io, server_io] = streams(is_encrypted).await;
                let app = app.clone();
                tokio::spawn(
                    async move { ws_server_axum::serve_stream(server_io, None, app).await },
                );
                match path {
                    "polling" => poll(client_io).await,
                    _ => {
                        let dial = Dial::new(format!("{scheme}://localhost/{path}"));
                        drop(dial.connect_over(client_io).await.unwrap());
                    }
                }
                assert_eq!(seen.recv().await, Some(is_encrypted), "axum, {path}");
            }
            let [client_io, server_io] = streams(is_encrypted).await;
            let service = filter.clone().map_request(move |mut request: Request<Incoming>| {
                if is_encrypted {
                    request.extensions_mut().insert(Encrypted);
                }
                request
            });
            tokio::spawn(
                async move { ws_server_warp::serve_stream(server_io, None, service).await },
            );
            let dial = Dial::new(format!("{scheme}://localhost/"));
            drop(dial.connect_over(client_io).await.unwrap());
            assert_eq!(seen.recv().await, Some(is_encrypted), "warp");
            // Without a framework.
            let [client_io, server_io] = streams(is_encrypted).await;
            let socketio = socketio.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                if is_encrypted {
                    request.extensions_mut().insert(Encrypted);
                }
                hyper::service::Service::call(&socketio, request)
            });
            tokio::spawn(
                async move { ws_server_hyper::serve_stream(server_io, None, service).await },
            );
            poll(client_io).await;
            assert_eq!(seen.recv().await, Some(is_encrypted), "hyper");
        }
    };
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
}
