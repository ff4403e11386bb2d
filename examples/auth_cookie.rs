//! How do I authenticate a request by its cookie before the upgrade?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Extension, Router};
use ws_server_axum::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, WebSocketUpgrade, serve_until,
    shutdown_signal,
};

/// The user of the session cookie. A real application looks it up in a database.
fn user(headers: &HeaderMap) -> Option<&'static str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = cookies.flat_map(|line| line.split(';')).map(str::trim);
    cookies.any(|cookie| cookie == "session=s3cret").then_some("ann")
}

/// The extractor rejects requests that are not WebSockets before the cookie is checked.
async fn handle(headers: HeaderMap, ws: WebSocketUpgrade) -> Response {
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
    let tracker = ConnectionTracker::new();
    // The settings of the extractor.
    let options = AcceptOptions::new().tracker(&tracker);
    let app = Router::new().route("/", any(handle)).layer(Extension(options));
    let listener =
        examples::listen("Accepts a WebSocket only with a valid session cookie.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
