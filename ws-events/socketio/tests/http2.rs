//! Do polling, the upgrade and a WebSocket work over one connection of HTTP/2?

use crate::support::{FRAMEWORKS, Server, echo, read, within, write};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use ws_core::handler::ConnectionLimits;
use ws_core::handshake::Offer;
use ws_core::{Compression, Config, Conn, Message, Role};
use ws_events_socketio::{AcceptOptions, EngineConfig, SocketIo};

const OPEN: &str = "EIO=4&transport=polling";

type Client = SendRequest<Full<Bytes>>;

async fn client(server: Server) -> Client {
    let io = TokioIo::new(within(TcpStream::connect(server.addr)).await.unwrap());
    let (client, conn) = within(http2::handshake(TokioExecutor::new(), io)).await.unwrap();
    let settings = async {
        while !conn.is_extended_connect_protocol_enabled() {
            yield_now().await
        }
    };
    within(settings).await;
    tokio::spawn(conn);
    client
}

async fn send(
    client: &mut Client,
    method: Method,
    query: &str,
    body: &str,
) -> (StatusCode, String) {
    let request = Request::builder().method(method).version(Version::HTTP_2);
    let request = request.uri(format!("http://localhost/engine.io/?{query}"));
    let request = request.body(Full::from(body.to_owned())).unwrap();
    let response = within(client.send_request(request)).await.unwrap();
    let status = response.status();
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn extended_connect(client: &mut Client, query: &str) -> (Offer, Response<Incoming>) {
    let offer = Offer::new([""; 0], Compression::off()).unwrap();
    let uri = format!("http://localhost/engine.io/?{query}");
    let request = Request::connect(uri).version(Version::HTTP_2);
    let request = request.extension(Protocol::from_static("websocket"));
    let mut request = request.body(Full::default()).unwrap();
    request.headers_mut().extend(offer.connect_headers());
    let response = within(client.send_request(request)).await.unwrap();
    (offer, response)
}

/// The status of the answer to the handshake of a WebSocket.
async fn connect_status(client: &mut Client, query: &str) -> StatusCode {
    extended_connect(client, query).await.1.status()
}

/// Opens a WebSocket by an extended CONNECT (RFC 8441).
async fn connect(client: &mut Client, query: &str) -> Conn {
    let (offer, mut response) = extended_connect(client, query).await;
    let negotiated = offer.verify(&response).unwrap();
    let io = TokioIo::new(within(hyper::upgrade::on(&mut response)).await.unwrap());
    Conn::from_stream(io, Role::Client, negotiated, Bytes::new(), Config::new())
}

/// Opens a session, and returns the query of its requests.
async fn open(client: &mut Client) -> String {
    let (status, body) = send(client, Method::GET, OPEN, "").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let opened: serde_json::Value = serde_json::from_str(&body[1..]).unwrap();
    format!("{OPEN}&sid={}", opened["sid"].as_str().unwrap())
}

/// Opens a session and changes to a WebSocket, on a connection of its own.
async fn upgraded(server: Server) -> (Client, Conn) {
    let mut client = client(server).await;
    let query = open(&mut client).await;
    let conn = connect(&mut client, &query.replace("polling", "websocket")).await;
    write(&conn, "2probe").await;
    assert_eq!(read(&conn).await, Message::text("3probe"));
    write(&conn, "5").await;
    write(&conn, "4a").await;
    assert_eq!(read(&conn).await, Message::text("4a"));
    (client, conn)
}

/// Each row has a limit of one session, and the status of the next handshake. The first session has
/// changed to a WebSocket, or polls.
#[tokio::test]
async fn the_limits_of_sessions_hold_with_each_framework() {
    let options = |limits: ConnectionLimits| AcceptOptions::new().limits(&limits);
    let echoing = || SocketIo::engine(echo);
    for framework in FRAMEWORKS {
        for (name, socketio, expected, counts_upgraded) in [
            (
                "connections",
                echoing().options(options(ConnectionLimits::new().connections(1))),
                StatusCode::SERVICE_UNAVAILABLE,
                true,
            ),
            (
                "per_address",
                echoing().options(options(ConnectionLimits::new().per_address(1))),
                StatusCode::TOO_MANY_REQUESTS,
                true,
            ),
            (
                "max_sessions",
                echoing().config(EngineConfig::new().max_sessions(1)),
                StatusCode::SERVICE_UNAVAILABLE,
                false,
            ),
        ] {
            let row = format!("{name} {framework:?}");
            let server = Server::start(framework, socketio).await;
            let first = upgraded(server).await;
            let mut other = client(server).await;
            let (status, body) = send(&mut other, Method::GET, OPEN, "").await;
            if counts_upgraded {
                assert_eq!(status, expected, "{row}: {body}");
                assert!(body.starts_with(r#"{"code":4,"#), "{row}: {body}");
                let refused = connect_status(&mut other, "EIO=4&transport=websocket").await;
                assert_eq!(refused, expected, "{row}");
            } else {
                assert_eq!(status, StatusCode::OK, "{row}: {body}");
                let (status, body) = send(&mut other, Method::GET, OPEN, "").await;
                assert_eq!(status, expected, "{row}: {body}");
            }
            drop(first);
        }
    }
}

#[tokio::test]
async fn a_body_or_a_message_that_is_too_large_is_refused_with_each_framework() {
    for framework in FRAMEWORKS {
        let config = EngineConfig::new().max_payload(1000);
        let server = Server::start(framework, SocketIo::engine(echo).config(config)).await;
        let fits = format!("4{}", "x".repeat(999));
        let mut polling = client(server).await;
        let query = open(&mut polling).await;
        let posted = send(&mut polling, Method::POST, &query, &fits).await;
        assert_eq!(posted.0, StatusCode::OK, "{framework:?}");
        assert_eq!(send(&mut polling, Method::GET, &query, "").await.1, fits, "{framework:?}");
        let (status, body) = send(&mut polling, Method::POST, &query, &format!("{fits}x")).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{framework:?}");
        assert!(body.starts_with(r#"{"code":3,"#), "{framework:?}: {body}");
        // The session has ended, and the connection goes on.
        let (status, _) = send(&mut polling, Method::POST, &query, "4a").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{framework:?}");

        let (_client, conn) = upgraded(server).await;
        write(&conn, &fits).await;
        assert_eq!(read(&conn).await, Message::text(fits.clone()), "{framework:?}");
        write(&conn, &format!("{fits}x")).await;
        let closed = within(conn.closed()).await;
        let code = closed.received.map(|close| u16::from(close.code));
        assert_eq!(code, Some(1009), "{framework:?}");
    }
}

#[tokio::test]
async fn a_session_is_opened_used_and_upgraded_with_each_framework() {
    for framework in FRAMEWORKS {
        let server = Server::start(framework, SocketIo::engine(echo)).await;
        let mut client = client(server).await;
        let query = open(&mut client).await;
        let posted = send(&mut client, Method::POST, &query, "4a").await;
        assert_eq!(posted, (StatusCode::OK, "ok".to_owned()), "{framework:?}");
        let got = send(&mut client, Method::GET, &query, "").await;
        assert_eq!(got, (StatusCode::OK, "4a".to_owned()), "{framework:?}");

        let conn = connect(&mut client, &query.replace("polling", "websocket")).await;
        write(&conn, "2probe").await;
        assert_eq!(read(&conn).await, Message::text("3probe"), "{framework:?}");
        write(&conn, "5").await;
        write(&conn, "4b").await;
        assert_eq!(read(&conn).await, Message::text("4b"), "{framework:?}");

        let conn = connect(&mut client, "EIO=4&transport=websocket").await;
        assert!(read(&conn).await.as_text().unwrap().starts_with('0'), "{framework:?}");
        write(&conn, "4c").await;
        assert_eq!(read(&conn).await, Message::text("4c"), "{framework:?}");
    }
}
