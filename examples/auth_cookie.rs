//! How does one turn somebody away before the upgrade? By a cookie, say.
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use tokio::net::TcpListener;
use ws_server_axum::{Conn, Error, WebSocketUpgrade};

/// Whose session this is. A real one asks a database.
fn user(headers: &HeaderMap) -> Option<&'static str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = cookies.flat_map(|line| line.split(';')).map(str::trim);
    cookies.any(|cookie| cookie == "session=s3cret").then_some("ann")
}

/// Extractors run in order: a request that is no WebSocket is told so first.
async fn enter(headers: HeaderMap, ws: WebSocketUpgrade) -> Response {
    match user(&headers) {
        Some(user) => ws.on_upgrade(async move |conn| greet(conn, user).await),
        None => (StatusCode::UNAUTHORIZED, "log in first").into_response(),
    }
}

async fn greet(conn: Conn, user: &str) -> Result<(), Error> {
    conn.write(format!("Hello, {user}!")).await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = Router::new().route("/", any(enter));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
