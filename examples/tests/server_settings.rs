//! Do the servers of the adapters have the right settings for WebSockets?

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::io::duplex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use ws_server_hyper::{AcceptOptions, Compression, Conn, Error};

use crate::adapters;

/// Reads nothing at /slow, and echoes at other paths.
async fn handler(conn: Conn) -> Result<(), Error> {
    let request = conn.request().unwrap();
    assert!(request.peer_addr.unwrap().ip().is_loopback());
    if request.uri.path() == "/slow" {
        pending::<()>().await;
    }
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

fn hyper(listener: TcpListener) -> JoinHandle<()> {
    let service = service_fn(async |mut request: Request<Incoming>| {
        let response = ws_server_hyper::accept(&mut request, &AcceptOptions::new());
        let (response, upgrade): (Response<Full<Bytes>>, _) = response.unwrap();
        tokio::spawn(upgrade.serve(handler));
        Ok::<_, Infallible>(response)
    });
    tokio::spawn(async move { ws_server_hyper::serve(listener, service).await.unwrap() })
}

fn axum(listener: TcpListener) -> JoinHandle<()> {
    let route = ws_server_axum::websocket(AcceptOptions::new(), handler);
    let app = Router::new().route("/{path}", route);
    tokio::spawn(async move { ws_server_axum::serve(listener, app).await.unwrap() })
}

fn warp(listener: TcpListener) -> JoinHandle<()> {
    let route = ws_server_warp::websocket(AcceptOptions::new(), handler);
    tokio::spawn(
        async move { ws_server_warp::serve(listener, warp::service(route)).await.unwrap() },
    )
}

#[tokio::test]
async fn slow_handlers_do_not_stall_others_of_their_connection() {
    let run = async {
        for serve in [hyper, axum, warp] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let server = serve(listener);
            let client = TcpStream::connect(addr).await.unwrap();
            let client = adapters::http2(Box::new(client)).await;
            let connect =
                async |path| adapters::connect(client.clone(), path, Compression::off()).await;
            let mut slow = Vec::new();
            for _ in 0..20 {
                let conn = connect("/slow").await;
                let writer = conn.clone();
                // More than the window of a stream: the write blocks.
                slow.push((
                    conn,
                    tokio::spawn(async move { writer.write(vec![0; 900_000]).await }),
                ));
            }
            let conn = connect("/fast").await;
            for size in [10, 100_000, 900_000] {
                let (sent, echoed) = tokio::join!(conn.write(vec![1; size]), conn.read());
                sent.unwrap();
                assert_eq!(echoed.unwrap().into_bytes().len(), size);
            }
            server.abort();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
}

/// The caller passes the address, for example of a TLS stream or from a proxy.
#[tokio::test]
async fn serve_stream_sets_the_address_of_the_client() {
    let run = async {
        let addr = SocketAddr::from(([192, 0, 2, 7], 4711));
        let (sender, mut seen) = mpsc::unbounded_channel();
        let handler = async move |conn: Conn| {
            sender.send((conn.peer_addr(), conn.request().unwrap().peer_addr)).unwrap();
            let _ = conn.read().await;
        };
        for served in adapters::each(&AcceptOptions::new(), handler) {
            let (client_io, server_io) = duplex(4096);
            served.serve_with_peer(Box::new(server_io), addr);
            let dial = ws_client::Dial::new("ws://localhost/x").connect_over(client_io);
            let http1 = dial.await.unwrap();
            assert_eq!(seen.recv().await.unwrap(), (Some(addr), Some(addr)), "{}", served.by);
            let (client_io, server_io) = duplex(4096);
            served.serve_with_peer(Box::new(server_io), addr);
            let client = adapters::http2(Box::new(client_io)).await;
            let http2 = adapters::connect(client, "/x", Compression::off()).await;
            assert_eq!(seen.recv().await.unwrap(), (Some(addr), Some(addr)), "{}", served.by);
            drop((http1, http2));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
}

#[tokio::test]
async fn keep_request_decides_whether_the_request_is_kept() {
    let run = async {
        for keep in [true, false] {
            let handler =
                async |conn: Conn| conn.write(format!("{}", conn.request().is_some())).await;
            let options = AcceptOptions::new().keep_request(keep);
            for adapters::Served { by, client, .. } in adapters::each(&options, handler) {
                for client in [client.clone(), client.http2()] {
                    let conn = client.websocket("/x").connect().await.unwrap();
                    let kept = conn.read().await.unwrap();
                    assert_eq!(kept.as_text(), Some(&*keep.to_string()), "{by}");
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
}
