//! Which code of `ws-server-axum` does the table of the guide show?

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use ws_server_axum::{Conn, Error, Message, StatusCode, WebSocketUpgrade};

pub(super) fn app() -> Router {
    Router::new().route("/", any(handler))
}

async fn handler(ws: WebSocketUpgrade) -> Response {
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
        conn.close(code, reason).await
    })
}

async fn talk(conn: &Conn) -> Result<(), Error> {
    conn.on_ping(|_, payload| !payload.is_empty());
    conn.on_pong(|_, payload| assert_eq!(payload, "are you there?"));
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
