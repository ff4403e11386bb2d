//! Does a request over HTTP/1.1 become a connection with each of hyper's servers?
#![cfg(test)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use ws_server_hyper::{
    AcceptOptions, Compression, Config, Conn, ConnectionTracker, DrainConfig, Error, Message,
    Rejection, StatusCode,
};

const REQUEST: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nCookie: who=ann\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Which of hyper's servers is used.
#[derive(Clone, Copy, Debug)]
enum Serve {
    Http1,
    Auto,
}

type Accepted = mpsc::UnboundedSender<Result<Conn, Error>>;

/// Serves one stream, and returns a channel of its upgraded connections.
fn serve<T>(
    io: T,
    how: Serve,
    options: AcceptOptions,
) -> mpsc::UnboundedReceiver<Result<Conn, Error>>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (accepted, connections) = mpsc::unbounded_channel();
    let service = service_fn(move |request| {
        let result = handle(request, &options, accepted.clone());
        async { result }
    });
    let io = TokioIo::new(io);
    tokio::spawn(async move {
        match how {
            Serve::Http1 => {
                let http = hyper::server::conn::http1::Builder::new();
                http.serve_connection(io, service).with_upgrades().await.map_err(|_| ())
            }
            Serve::Auto => {
                let http = auto::Builder::new(TokioExecutor::new());
                http.serve_connection_with_upgrades(io, service).await.map_err(|_| ())
            }
        }
    });
    connections
}

fn handle(
    mut request: Request<Incoming>,
    options: &AcceptOptions,
    accepted: Accepted,
) -> hyper::Result<Response<Full<Bytes>>> {
    match ws_server_hyper::accept(&mut request, options) {
        Ok((response, upgrade)) => {
            tokio::spawn(async move { accepted.send(upgrade.await) });
            Ok(response)
        }
        Err(rejection) => Ok(rejection.into_response().map(Full::from)),
    }
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap());
    let (client_io, server_io) = tokio::join!(dialled, listener.accept());
    (client_io.unwrap(), server_io.unwrap().0)
}

/// Reads the head of a response.
async fn head(io: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Checks a client that sends its first frames together with its request.
async fn check(how: Serve, over_tcp: bool) {
    let options = AcceptOptions::new()
        .subprotocols(["chat"])
        .config(Config::new().compression(Compression::no_context_takeover()));
    let run = async {
        let request = format!(
            "{REQUEST}Sec-WebSocket-Protocol: chat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        );
        let mut early = request.into_bytes();
        early.extend(b"\x81\x82\0\0\0\0hi\x81\x85\0\0\0\0th");
        let (mut client_io, response, conn) = if over_tcp {
            let (mut client_io, server_io) = tcp().await;
            let mut conns = serve(server_io, how, options);
            client_io.write_all(&early).await.unwrap();
            let response = head(&mut client_io).await;
            let conn = conns.recv().await.unwrap().unwrap();
            (Box::new(client_io) as Box<dyn Stream>, response, conn)
        } else {
            let (mut client_io, server_io) = duplex(4096);
            let mut conns = serve(server_io, how, options);
            client_io.write_all(&early).await.unwrap();
            let response = head(&mut client_io).await;
            let conn = conns.recv().await.unwrap().unwrap();
            (Box::new(client_io) as Box<dyn Stream>, response, conn)
        };
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        let lower = response.to_lowercase();
        assert!(lower.contains("sec-websocket-protocol: chat\r\n"), "{response}");
        assert!(lower.contains("sec-websocket-extensions: permessage-deflate"), "{response}");
        assert_eq!(conn.subprotocol(), Some("chat"));
        assert!(conn.is_compressed());
        assert_eq!(conn.peer_addr().is_some(), over_tcp, "the TCP stream is recognised");
        assert_eq!(conn.read().await.unwrap(), Message::from("hi"));
        client_io.write_all(b"ere").await.unwrap();
        assert_eq!(conn.read().await.unwrap(), Message::from("there"));
        let request = conn.request().unwrap();
        assert_eq!(request.query("room").as_deref(), Some("1"));
        assert_eq!(request.cookie("who"), Some("ann"));
        assert_eq!(request.peer_addr, conn.peer_addr());
        assert!(conn.take_request().is_some() && conn.request().is_none());
        conn.write("yes").await.unwrap();
        let mut frame = [0; 5];
        client_io.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame, b"\x81\x03yes");
        client_io.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
        let error = conn.read().await.unwrap_err();
        assert_eq!(error.close_status(), Some(StatusCode::NORMAL_CLOSURE));
        let mut rest = Vec::new();
        client_io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"\x88\x02\x03\xe8");
    };
    tokio::time::timeout(Duration::from_secs(20), run).await.unwrap();
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Stream for T {}

#[tokio::test]
async fn frames_sent_with_the_request_are_not_lost() {
    for how in [Serve::Http1, Serve::Auto] {
        for over_tcp in [true, false] {
            check(how, over_tcp).await;
        }
    }
}

#[tokio::test]
async fn a_rejection_has_its_status() {
    for (extra, status) in [
        ("Origin: http://elsewhere\r\n", "403"),
        ("Content-Length: 5\r\n", "400"),
        ("Sec-WebSocket-Version: 13\r\n", "400"),
    ] {
        let (mut client_io, server_io) = duplex(4096);
        let _conns = serve(server_io, Serve::Http1, AcceptOptions::new());
        client_io.write_all(format!("{REQUEST}{extra}\r\n").as_bytes()).await.unwrap();
        let response = head(&mut client_io).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    }
}

#[test]
fn accept_optional_returns_none_for_other_requests() {
    let options = AcceptOptions::new().filter(|request| request.uri().query() != Some("skip"));
    let accept = |target: &str, upgrade: &str, origin: &str| {
        let request = Request::get(target).header("host", "a").header("connection", "upgrade");
        let request = request.header("upgrade", upgrade).header("origin", origin);
        let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let mut request = request.header("sec-websocket-version", "13").body(()).unwrap();
        let accepted = ws_server_hyper::accept_optional::<_, ()>(&mut request, &options);
        accepted.map(|accepted| accepted.is_some())
    };
    // Another request, and requests that the filter passes on, even if the origin is not allowed.
    assert_eq!(accept("/", "h2c", "http://a"), Ok(false));
    assert_eq!(accept("/?skip", "websocket", "http://a"), Ok(false));
    assert_eq!(accept("/?skip", "websocket", "http://foe.example"), Ok(false));
    let refused = accept("/", "websocket", "http://foe.example");
    assert!(matches!(refused, Err(Rejection::OriginRefused { .. })));
    // Valid, without a transport to take over.
    assert_eq!(accept("/", "websocket", "http://a"), Err(Rejection::NotUpgradable));
}

#[tokio::test]
async fn without_upgrade_support_the_response_is_501() {
    let (mut client_io, server_io) = duplex(4096);
    let service = service_fn(|mut request: Request<Incoming>| async move {
        request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let accepted =
            ws_server_hyper::accept::<_, Full<Bytes>>(&mut request, &AcceptOptions::new());
        Ok::<_, hyper::Error>(accepted.unwrap_err().into_response())
    });
    tokio::spawn(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server_io), service),
    );
    client_io.write_all(format!("{REQUEST}\r\n").as_bytes()).await.unwrap();
    assert!(head(&mut client_io).await.starts_with("HTTP/1.1 501 "));
}

/// The response cannot be written, so the transport is never handed over.
#[tokio::test(start_paused = true)]
async fn a_pending_upgrade_fails_after_the_handshake_timeout() {
    let (mut client_io, server_io) = duplex(64);
    let options = AcceptOptions::new().handshake_timeout(Duration::from_secs(3));
    let mut conns = serve(server_io, Serve::Http1, options);
    client_io.write_all(format!("{REQUEST}\r\n").as_bytes()).await.unwrap();
    let began = tokio::time::Instant::now();
    let Err(Error::Io(error)) = conns.recv().await.unwrap() else { panic!("it was upgraded") };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed().as_secs(), 3);
}

/// The response cannot be written here either.
#[tokio::test(start_paused = true)]
async fn a_pending_upgrade_ends_with_the_timeout_of_a_drain() {
    let tracker = ConnectionTracker::new();
    let (mut client_io, server_io) = duplex(64);
    let options = AcceptOptions::new().tracker(&tracker).no_handshake_timeout();
    let mut conns = serve(server_io, Serve::Http1, options);
    client_io.write_all(format!("{REQUEST}\r\n").as_bytes()).await.unwrap();
    while tracker.counts().open == 0 {
        tokio::task::yield_now().await;
    }
    let counts = tracker.drain(DrainConfig::timeout(Duration::from_secs(3))).await;
    assert_eq!((counts.open, counts.ended, counts.aborted), (0, 0, 1));
    let Err(Error::Io(error)) = conns.recv().await.unwrap() else { panic!("it was upgraded") };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
}
