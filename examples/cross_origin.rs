//! Which web pages may connect?
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use axum::Router;
use tokio::net::TcpListener;
use ws_server_axum::{AcceptOptions, Conn, Error, Origin, websocket};

async fn greet(conn: Conn) -> Result<(), Error> {
    conn.write("welcome").await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Without a word, those of the same host: a page elsewhere cannot use the cookies that a
    // browser has for us.
    let ours = AcceptOptions::new();
    let friends = ours.clone().origin(Origin::patterns(["https://*.example.com"]));
    // For services that know nobody, and have nothing to lose.
    let public = ours.clone().origin(Origin::any());
    // Programs that are no browsers send no origin, unless they please.
    let pages = ours.clone().origin(Origin::same_host().refuse_missing());
    let app = Router::new()
        .route("/ours", websocket(ours, greet))
        .route("/friends", websocket(friends, greet))
        .route("/public", websocket(public, greet))
        .route("/pages", websocket(pages, greet));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
