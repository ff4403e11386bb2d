//! Which protocol features does a server support?

use std::process::ExitCode;

use anyhow::Result;
use tokio::time::{Duration, Instant, timeout};
use ws_client::http::header::{
    HeaderMap, HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SERVER,
};
use ws_client::{Conn, Dial, DialError, StatusCode};

use crate::connect_options::{ConnectOptions, complete_url, explain};
use crate::print::{self, Style, error_chain, time};

/// Shows what a server supports: HTTP versions, compression, subprotocols, origins.
///
/// Opens a few connections, pings, and closes them; sends no messages. Exits with 1 if no
/// WebSocket could be opened.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct CheckArgs {
    /// The URL: ws://… or wss://…; ws:// is the default
    url: String,
    #[command(flatten)]
    options: ConnectOptions,
}

const HELP: &str = "\
Examples:
  ws check localhost:9000
  ws check wss://example.com/chat -s chat.v2 -s chat.v1
  ws check wss://example.com/chat --origin https://example.com

Compression is always offered.";

/// The origin of no web page: the name is reserved (RFC 6761 §6.4).
const FOREIGN_ORIGIN: &str = "https://ws-check.invalid";

pub(crate) async fn run(args: CheckArgs) -> Result<ExitCode> {
    let options = args.options.clone().with_compression();
    let table = CheckTable(Style::of(&std::io::stdout()));
    print::out(format_args!("{}", table.0.bold(complete_url(&args.url))));
    let opened = match over_http1(&options, &args.url, &table).await {
        Ok(()) => true,
        Err(error) => {
            table.bad("HTTP/1.1", &format!("{error:#}"));
            false
        }
    };
    let opened_http2 = over_http2(&options, &args.url, &table).await?;
    Ok(if opened || opened_http2 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn over_http1(options: &ConnectOptions, url: &str, table: &CheckTable) -> Result<()> {
    let began = Instant::now();
    let dial = options.dial_http1(url)?;
    let conn = dial.connect().await.map_err(|error| explain(&error, url))?;
    let took = time(began.elapsed());
    let response = conn.response().unwrap_or_default();
    table.good("HTTP/1.1", &format!("{} after {took}", response.status()));
    let headers = response.headers();
    if let Some(server) = header_text(headers, &SERVER) {
        table.good("server", &server);
    }
    print_negotiated(options, headers, table);
    print_ping_and_close(&conn, table).await;
    print_origins(options.dial_http1(url)?, options, table).await;
    Ok(())
}

/// Returns whether the server opens a WebSocket over HTTP/2 (RFC 8441).
async fn over_http2(options: &ConnectOptions, url: &str, table: &CheckTable) -> Result<bool> {
    let began = Instant::now();
    match options.dial_http2(url)?.connect().await {
        Ok(conn) => {
            let status = conn.response().unwrap_or_default().status();
            let took = time(began.elapsed());
            table.good("HTTP/2", &format!("{status} to an extended CONNECT after {took}"));
            conn.close_now();
            return Ok(true);
        }
        Err(DialError::NoHttp2) => {
            table.row("HTTP/2", "no: the server does not support WebSockets over HTTP/2", false);
        }
        // Over plain TCP, an HTTP/1.1 server does not understand the request.
        Err(error) => {
            let refused = error.refused_response();
            let why = refused.map(|response| format!("refused with {}", response.status));
            let why = why.unwrap_or_else(|| error_chain(&error));
            table.row("HTTP/2", &format!("no: {why}"), false);
        }
    }
    Ok(false)
}

/// Prints the extensions with their parameters, and the subprotocol.
fn print_negotiated(options: &ConnectOptions, headers: &HeaderMap, table: &CheckTable) {
    match header_text(headers, &SEC_WEBSOCKET_EXTENSIONS) {
        Some(extensions) => table.good("extensions", &extensions),
        None => table.row("extensions", "none: permessage-deflate was declined", false),
    }
    match header_text(headers, &SEC_WEBSOCKET_PROTOCOL) {
        Some(name) => table.good("subprotocol", &name),
        None if options.subprotocols().is_empty() => {
            table.row("subprotocol", "none was offered (--subprotocol)", false);
        }
        None => {
            let offered = options.subprotocols().join(", ");
            table.row("subprotocol", &format!("none of {offered}"), false);
        }
    }
}

/// Prints whether the server answers a ping and a close frame.
async fn print_ping_and_close(conn: &Conn, table: &CheckTable) {
    match timeout(Duration::from_secs(5), conn.ping()).await {
        Ok(Ok(rtt)) => table.good("ping", &format!("pong after {}", time(rtt))),
        Ok(Err(error)) => table.bad("ping", &error_chain(&error)),
        Err(_) => table.bad("ping", "no pong within 5 s"),
    }
    let began = Instant::now();
    match conn.close(StatusCode::NORMAL_CLOSURE, "").await {
        Ok(()) => {
            let received = conn.closed().await.received;
            let code = received.map(|close| close.to_string()).unwrap_or_default();
            table.good("close", &format!("{code}, after {}", time(began.elapsed())));
        }
        Err(error) => table.bad("close", &error_chain(&error)),
    }
}

/// Prints whether web pages of every origin may connect.
async fn print_origins(dial: Dial, options: &ConnectOptions, table: &CheckTable) {
    if options.has_origin() {
        return;
    }
    match dial.origin(FOREIGN_ORIGIN).connect().await {
        Ok(conn) => {
            conn.close_now();
            table.row("origins", "every origin may connect", false);
        }
        Err(error) => match error.refused_response() {
            Some(response) => {
                let text = format!("a foreign origin is refused with {}", response.status);
                table.good("origins", &text);
            }
            None => table.bad("origins", &error_chain(&error)),
        },
    }
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Rows with a name and a result.
struct CheckTable(Style);

impl CheckTable {
    fn good(&self, name: &str, text: &str) {
        self.row(name, text, true);
    }

    fn bad(&self, name: &str, text: &str) {
        print::out(format_args!("  {name:<12} {}", self.0.bad(text)));
    }

    fn row(&self, name: &str, text: &str, good: bool) {
        let text = if good { self.0.good(text) } else { text.to_owned() };
        print::out(format_args!("  {name:<12} {text}"));
    }
}
