//! How do I build a chat with axum, a hub and a web page?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

mod history;
mod rules;

use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;
use tokio::net::TcpListener;
use ws_events::Hub;
use ws_server_axum::{AcceptOptions, Config, Limits, serve_until, shutdown_signal, websocket};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The files of the page: path, content type and text.
const PAGE: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/chat.css", CSS, include_str!("page/chat.css")),
    ("/chat.js", JS, include_str!("page/chat.js")),
    ("/connection.js", JS, include_str!("page/connection.js")),
    ("/elements.js", JS, include_str!("page/elements.js")),
    ("/log.js", JS, include_str!("page/log.js")),
    ("/panels.js", JS, include_str!("page/panels.js")),
    ("/theme.js", JS, include_str!("page/theme.js")),
];

/// Allows no scripts but those of the page, in case user input is ever rendered as markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn app(hub: &Hub) -> Router {
    // Enough for the longest message that the rules allow.
    let config = Config::new().limits(Limits::new().message_size(16 * 1024));
    let options = AcceptOptions::new().config(config);
    let mut app = Router::new().route("/ws", websocket(options, hub.handler()));
    for (path, kind, text) in PAGE {
        let headers =
            [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")];
        app = app.route(path, get((headers, text)));
    }
    app
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = rules::hub();
    let app = app(&hub);
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    println!("open it in two tabs; to serve your network, start it with `-- 0.0.0.0:9000`");
    let stop = async move {
        shutdown_signal().await;
        // Closes with 1001. The pages reconnect, and find the next server.
        hub.drain(Duration::from_secs(5)).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
