//! Which protocol features does a server support?

use std::cell::RefCell;
use std::convert::identity;
use std::fmt::Display;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tokio::select;
use tokio::time::{Duration, Instant, sleep};
use ws_client::http::header::{
    HeaderMap, HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SERVER,
};
use ws_client::{Conn, Dial, DialError, Dialer, StatusCode};
use ws_server_hyper::shutdown_signal;

use crate::connect_options::{CompressionMode, ConnectOptions, describe, explain, printed_url};
use crate::exit_code::INTERRUPTED;
use crate::ping::discard_messages;
use crate::print::{self, Color, Style, escape_control, mask_secrets, time};

/// Shows what a server supports: HTTP versions, compression, subprotocols, origins.
///
/// Opens a few connections, pings, and closes them; sends no messages. Exits with 1 if no
/// WebSocket could be opened.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct CheckArgs {
    /// The URL: ws://… or wss://…; ws:// is the default
    url: String,
    /// Prints one JSON object: for each row its text, and whether it is good (null: neither)
    #[arg(long)]
    json: bool,
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
    select! {
        checked = check(args) => checked,
        () = shutdown_signal() => Ok(INTERRUPTED.into()),
    }
}

async fn check(args: CheckArgs) -> Result<ExitCode> {
    let mut options = args.options;
    options.compress.get_or_insert(CompressionMode::Takeover);
    let url = printed_url(&args.url);
    let table =
        CheckTable { style: Style::of(&std::io::stdout()), json: args.json.then(RefCell::default) };
    if !args.json {
        print::report(format_args!("{}", table.style.paint(Color::Bold, &url)));
    }
    let opened = over_http1(&options, &args.url, &table).await;
    if let Err(error) = &opened {
        table.bad("HTTP/1.1", format_args!("{error:#}"));
    }
    let opened_http2 = over_http2(&options, &args.url, &table).await?;
    if let Some(rows) = table.json {
        print::json(&json!({ "url": url, "rows": rows.into_inner() }));
    }
    Ok(if opened.is_ok() || opened_http2 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn over_http1(options: &ConnectOptions, url: &str, table: &CheckTable) -> Result<()> {
    // A `Dialer` uses HTTP/1.1 if nothing else is set.
    let dial = options.dial_over(identity, url)?;
    let began = Instant::now();
    let conn = dial.clone().connect().await.map_err(|error| explain(&error, url))?;
    let took = time(began.elapsed());
    let response = conn.response().unwrap_or_default();
    table.good("HTTP/1.1", format_args!("{} after {took}", response.status()));
    let headers = response.headers();
    if let Some(server) = header_text(headers, &SERVER) {
        table.good("server", server);
    }
    print_negotiated(options, headers, table);
    print_ping_and_close(&conn, table).await;
    print_origins(dial, options, table).await;
    Ok(())
}

/// Returns whether the server opens a WebSocket over HTTP/2 (RFC 8441).
async fn over_http2(options: &ConnectOptions, url: &str, table: &CheckTable) -> Result<bool> {
    let began = Instant::now();
    match options.dial_over(Dialer::http2_only, url)?.connect().await {
        Ok(conn) => {
            let status = conn.response().unwrap_or_default().status();
            let took = time(began.elapsed());
            table.good("HTTP/2", format_args!("{status} to an extended CONNECT after {took}"));
            conn.close_now();
            return Ok(true);
        }
        Err(DialError::NoHttp2) => {
            table.note("HTTP/2", "no: the server does not support WebSockets over HTTP/2");
        }
        Err(DialError::Refused(response)) => {
            table.note("HTTP/2", format_args!("no: refused with {}", response.status));
        }
        // Over plain TCP, an HTTP/1.1 server does not understand the request.
        Err(error) => table.note("HTTP/2", format_args!("no: {}", describe(&error))),
    }
    Ok(false)
}

/// Prints the extensions with their parameters, and the subprotocol.
fn print_negotiated(options: &ConnectOptions, headers: &HeaderMap, table: &CheckTable) {
    match header_text(headers, &SEC_WEBSOCKET_EXTENSIONS) {
        Some(extensions) => table.good("extensions", extensions),
        None => table.note("extensions", "none: permessage-deflate was declined"),
    }
    match header_text(headers, &SEC_WEBSOCKET_PROTOCOL) {
        Some(name) => table.good("subprotocol", name),
        None if options.subprotocol.is_empty() => {
            table.note("subprotocol", "none was offered (--subprotocol)")
        }
        // Their names are not printed, since some applications put tokens there.
        None => table.note("subprotocol", "none of those that were offered"),
    }
}

/// Prints whether the server answers a ping and a close frame.
async fn print_ping_and_close(conn: &Conn, table: &CheckTable) {
    let pong = select! {
        pong = conn.ping() => pong.map(Some),
        error = discard_messages(conn) => Err(error),
        () = sleep(Duration::from_secs(5)) => Ok(None),
    };
    match pong {
        Ok(Some(rtt)) => table.good("ping", format_args!("pong after {}", time(rtt))),
        Ok(None) => table.bad("ping", "no pong within 5 s"),
        Err(error) => table.bad("ping", describe(&error)),
    }
    let began = Instant::now();
    match conn.close(StatusCode::NORMAL_CLOSURE, "").await {
        Ok(()) => {
            let received = conn.closed().await.received;
            let code = received.map(|close| close.to_string()).unwrap_or_default();
            table.good("close", format_args!("{code}, after {}", time(began.elapsed())));
        }
        Err(error) => table.bad("close", describe(&error)),
    }
}

/// Prints whether web pages of every origin may connect.
async fn print_origins(dial: Dial, options: &ConnectOptions, table: &CheckTable) {
    if options.origin.is_some() {
        return;
    }
    match dial.origin(FOREIGN_ORIGIN).connect().await {
        Ok(conn) => {
            conn.close_now();
            table.note("origins", "every origin may connect");
        }
        Err(DialError::Refused(response)) => {
            let status = response.status;
            table.good("origins", format_args!("a foreign origin is refused with {status}"));
        }
        Err(error) => table.bad("origins", describe(&error)),
    }
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.map(|it| String::from_utf8_lossy(it.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Rows with a name and a result.
struct CheckTable {
    style: Style,
    /// The rows, if they are printed as JSON in the end.
    json: Option<RefCell<Map<String, Value>>>,
}

impl CheckTable {
    fn good(&self, name: &str, text: impl Display) {
        self.add(name, text, Some(true));
    }

    fn bad(&self, name: &str, text: impl Display) {
        self.add(name, text, Some(false));
    }

    fn note(&self, name: &str, text: impl Display) {
        self.add(name, text, None);
    }

    /// Adds a row, which is good, bad or neither. Its text may be of the server.
    fn add(&self, name: &str, text: impl Display, is_good: Option<bool>) {
        let text = escape_control(&mask_secrets(&text.to_string()));
        if let Some(rows) = &self.json {
            let row = json!({ "good": is_good, "text": text });
            rows.borrow_mut().insert(name.to_owned(), row);
            return;
        }
        let text = match is_good {
            Some(true) => self.style.paint(Color::Green, text),
            Some(false) => self.style.paint(Color::Red, text),
            None => text,
        };
        print::report(format_args!("  {name:<12} {text}"));
    }
}
