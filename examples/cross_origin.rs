//! How do I choose which web pages may connect (the `Origin` header)?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use axum::Router;
use ws_server_axum::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, Origin, serve_until,
    shutdown_signal, websocket,
};

async fn greet(conn: Conn) -> Result<(), Error> {
    conn.write("welcome").await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tracker = ConnectionTracker::new();
    // Default: pages of the same host. This prevents cross-site WebSocket hijacking, where a page
    // of another site connects with the user's cookies.
    let same_host = AcceptOptions::new().tracker(&tracker);
    let partners = same_host.clone().origin(Origin::patterns(["https://*.example.com"]));
    // Any page. Only for services without cookies or other credentials.
    let public = same_host.clone().origin(Origin::any());
    // Browsers always send an origin, other programs usually do not. This refuses the latter.
    let browsers = same_host.clone().origin(Origin::same_host().refuse_missing());
    let app = Router::new()
        .route("/same-host", websocket(same_host, greet))
        .route("/partners", websocket(partners, greet))
        .route("/public", websocket(public, greet))
        .route("/browsers", websocket(browsers, greet));
    let listener =
        examples::listen("Serves paths that accept web pages of different origins.").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let stop = async {
        shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
