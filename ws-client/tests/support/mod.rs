//! Which helpers do several tests share: a TLS server with its own authority, and an echo?

pub(crate) mod authority;

use tokio::net::TcpListener;
use ws_client::{Conn, Dial, Error, Message, StatusCode};

pub(crate) use authority::Authority;

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Echoes all messages.
pub(crate) async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Dials an echo server, and expects an echo.
pub(crate) async fn say_hello(dial: Dial) {
    let conn = dial.connect().await.unwrap();
    hear(&conn, "hello").await;
    conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
}

pub(crate) async fn hear(conn: &Conn, text: &str) {
    conn.write(text).await.unwrap();
    assert_eq!(conn.read().await.unwrap(), Message::from(text));
}
