//! Which code of `ws-server-axum` does the table of the guide show?

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::routing::any;
use tokio::net::TcpListener;
use ws_server_axum::frame::Frame;
use ws_server_axum::{Conn, Error, Message, StatusCode, WebSocketUpgrade, serve, serve_until};

pub(super) fn app() -> Router {
    Router::new().route("/", any(handler))
}

#[expect(dead_code, reason = "a test of the crate serves")]
async fn run(listener: TcpListener, signal: Option<impl Future<Output = ()>>) {
    let app = app();
    let served = match signal {
        Some(signal) => serve_until(listener, app, signal).await,
        None => serve(listener, app).await,
    };
    served.unwrap();
}

async fn handler(ConnectInfo(from): ConnectInfo<SocketAddr>, ws: WebSocketUpgrade) -> Response {
    assert!(from.ip().is_loopback());
    assert_eq!(ws.requested_protocols().count(), 1);
    let ws = ws.require_subprotocol();
    ws.protocols(["chat"]).on_upgrade(async |conn| {
        assert_eq!(conn.subprotocol(), Some("chat"));
        let _ = talk(&conn).await;
        // The second handle of the connection, for writing.
        let writer = conn.clone();
        let (code, reason) = (StatusCode::POLICY_VIOLATION, "that is all");
        writer.close(code, reason).await?;
        let _ = conn.messages();
        match conn.read().await {
            Err(Error::Closed(close)) => assert_eq!((close.code, &*close.reason), (code, reason)),
            other => panic!("{other:?}"),
        }
        // It is closed already.
        conn.frames().write(Frame::close(code, reason)).await?;
        conn.close(code, reason).await
    })
}

async fn talk(conn: &Conn) -> Result<(), Error> {
    conn.on_ping(|_, payload| !payload.is_empty());
    conn.on_pong(|_, payload| assert_eq!(payload, "are you there?"));
    let event = "hi";
    assert_eq!(Message::from_json(&event).unwrap().as_text(), Some("\"hi\""));
    conn.write(Message::text("hi")).await?;
    conn.write("hi").await?;
    loop {
        let message = conn.read().await?;
        if message.is_binary() {
            let bytes = message.to_bytes();
            conn.write(Message::binary(bytes)).await?;
            let bytes = message.into_bytes();
            conn.write(bytes).await?;
            let payload = "are you there?";
            conn.frames().write(Frame::ping(payload)).await?;
            conn.ping_with(payload).await?;
            return conn.pong(payload);
        }
        if let Some(text) = message.as_text() {
            let borrowed: &str = text;
            assert_eq!(text.to_owned(), borrowed);
        }
        conn.write(message).await?;
    }
}

/// The constants that the table names.
#[expect(dead_code, reason = "only the names are checked")]
const CODES: [StatusCode; 4] = [
    StatusCode::NORMAL_CLOSURE,
    StatusCode::GOING_AWAY,
    StatusCode::POLICY_VIOLATION,
    StatusCode::MESSAGE_TOO_BIG,
];
