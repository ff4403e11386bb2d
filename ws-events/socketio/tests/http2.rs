//! Do polling, the upgrade and a WebSocket work over one connection of HTTP/2?

use crate::support::{FRAMEWORKS, Server, echo, read, within, write};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::{Method, Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use ws_core::handshake::Offer;
use ws_core::{Compression, Config, Conn, Message, Role};
use ws_events_socketio::SocketIo;

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

/// Opens a WebSocket by an extended CONNECT (RFC 8441).
async fn connect(client: &mut Client, query: &str) -> Conn {
    let offer = Offer::new([""; 0], Compression::off()).unwrap();
    let uri = format!("http://localhost/engine.io/?{query}");
    let request = Request::connect(uri).version(Version::HTTP_2);
    let request = request.extension(Protocol::from_static("websocket"));
    let mut request = request.body(Full::default()).unwrap();
    request.headers_mut().extend(offer.connect_headers());
    let mut response = within(client.send_request(request)).await.unwrap();
    let negotiated = offer.verify(&response).unwrap();
    let io = TokioIo::new(within(hyper::upgrade::on(&mut response)).await.unwrap());
    Conn::from_stream(io, Role::Client, negotiated, Bytes::new(), Config::new())
}

#[tokio::test]
async fn a_session_is_opened_used_and_upgraded_with_each_framework() {
    for framework in FRAMEWORKS {
        let server = Server::start(framework, SocketIo::engine(echo)).await;
        let mut client = client(server).await;
        let open = "EIO=4&transport=polling";
        let (status, body) = send(&mut client, Method::GET, open, "").await;
        assert_eq!(status, StatusCode::OK, "{framework:?}: {body}");
        let opened: serde_json::Value = serde_json::from_str(&body[1..]).unwrap();
        let query = format!("{open}&sid={}", opened["sid"].as_str().unwrap());
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
