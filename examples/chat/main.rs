//! How do I build a chat with axum, a hub and a web page?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

mod cluster;
mod names;
mod rooms;
mod rules;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;
use clap::Parser;
use examples::Listen;
use ws_events::{Hub, Protocol};
use ws_server_axum::{
    AcceptOptions, Config, Conn, Limits, serve_until, shutdown_signal, websocket,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The files of the page: path, content type and text.
const PAGE: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/chat.css", CSS, include_str!("page/chat.css")),
    ("/chat.js", JS, include_str!("page/chat.js")),
    ("/elements.js", JS, include_str!("page/elements.js")),
    ("/log.js", JS, include_str!("page/log.js")),
    ("/panels.js", JS, include_str!("page/panels.js")),
    ("/theme.js", JS, include_str!("page/theme.js")),
    ("/ws-events.js", JS, ws_events::JS),
];

/// Allows no scripts but those of the page, in case user input is ever rendered as markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same for the page in Rust.
const WASM_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A chat with user names, rooms and a web page.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    listen: Listen,
    /// The events that a user may send per second, after a burst of ten.
    #[arg(long, value_name = "EVENTS", default_value = "4")]
    rate: NonZero<u32>,
    /// The broker that joins several processes, such as redis://127.0.0.1 or nats://127.0.0.1.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Serves a second page at `/wasm?name=NAME`, in Rust: `cargo xtask wasm` builds it to the folder
    /// `target/wasm-pages`.
    #[arg(long, value_name = "FOLDER")]
    wasm: Option<PathBuf>,
}

fn app(hub: &Hub) -> Router {
    // Enough for the longest message that the rules allow.
    let config = Config::new().limits(Limits::new().message_size(16 * 1024));
    let options = AcceptOptions::new().config(config);
    let serving = hub.clone();
    let session = move |conn: Conn| {
        let hub = serving.clone();
        async move { hub.serve_as(conn, Protocol::Resumable).await }
    };
    let mut app = Router::new()
        .route("/ws", websocket(options.clone(), hub.handler()))
        .route("/session", websocket(options, session));
    for (path, kind, text) in PAGE {
        let headers =
            [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")];
        app = app.route(path, get((headers, text)));
    }
    app
}

/// The routes of the page in Rust.
fn wasm_page(folder: &Path) -> anyhow::Result<Router> {
    let start = "import start from './chat_page.js'; await start();";
    let page = include_str!("../../ws-client/wasm/examples/chat_page.html");
    let style = include_str!("../../ws-client/wasm/examples/chat_page.css");
    let mut app = Router::new()
        .route("/wasm", get(([(CONTENT_TYPE, HTML), (CONTENT_SECURITY_POLICY, WASM_POLICY)], page)))
        .route("/wasm/chat_page.css", get(([(CONTENT_TYPE, CSS)], style)))
        .route("/wasm/start.js", get(([(CONTENT_TYPE, JS)], start)));
    for (file, kind) in [("chat_page.js", JS), ("chat_page_bg.wasm", "application/wasm")] {
        let bytes = fs::read(folder.join(file)).with_context(|| format!("cannot read {file}"))?;
        app = app.route(&format!("/wasm/{file}"), get(([(CONTENT_TYPE, kind)], bytes)));
    }
    Ok(app)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let hub = rules::hub(args.rate, args.broker.as_deref())?;
    let mut app = app(&hub);
    if let Some(folder) = &args.wasm {
        app = app.merge(wasm_page(folder)?);
    }
    let listener = args.listen.bind().await?;
    println!("listening on http://{}", listener.local_addr()?);
    println!(
        "open it in two tabs; to serve your network, start it with `-- --listen 0.0.0.0:9000`"
    );
    let stop = async move {
        shutdown_signal().await;
        // Closes with 1001. The pages reconnect, and find the next server.
        hub.drain(Duration::from_secs(5)).await;
    };
    Ok(serve_until(listener, app, stop).await?)
}
