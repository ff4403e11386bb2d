//! How does one let only some addresses in?
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use tokio::net::TcpListener;
use ws_server_axum::{Conn, Error, WebSocketUpgrade};

/// Behind a proxy, the address is the proxy's: take the one from the header that your
/// proxy sets, and that clients cannot.
async fn enter(
    State(allowed): State<Vec<IpAddr>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    ws: WebSocketUpgrade,
) -> Response {
    if !allowed.contains(&client.ip()) {
        return (StatusCode::FORBIDDEN, "not from there").into_response();
    }
    ws.on_upgrade(greet)
}

async fn greet(conn: Conn) -> Result<(), Error> {
    conn.write("welcome").await
}

/// Behind the address to listen on come those that are let in.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let allowed =
        std::env::args().skip(2).map(|ip| ip.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    let app = Router::new().route("/", any(enter)).with_state(allowed);
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
