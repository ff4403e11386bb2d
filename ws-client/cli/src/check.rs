//! What does a server agree to?

use std::process::ExitCode;

use anyhow::Result;
use tokio::time::{Duration, Instant, timeout};
use ws_client::http::header::{
    HeaderMap, HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SERVER,
};
use ws_client::{Conn, Dial, DialError, StatusCode};

use crate::exit;
use crate::print::{self, Style, time};
use crate::reach::{Reach, complete, explain};

/// Tells what a server agrees to: versions of HTTP, compression, subprotocols, origins.
///
/// It opens some connections, pings, and closes them; it sends no messages. Exits with 1 when
/// no WebSocket could be opened.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct Args {
    /// Where to: ws://… or wss://…; ws:// may be left out
    url: String,
    #[command(flatten)]
    reach: Reach,
}

const HELP: &str = "\
Examples:
  ws check localhost:9000
  ws check wss://example.com/chat -s chat.v2 -s chat.v1
  ws check wss://example.com/chat --origin https://example.com

The request is what the options say; compression is offered whether they do or not.";

/// No page has this origin: the name is reserved (RFC 6761 §6.4).
const FOREIGN: &str = "https://ws-check.invalid";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let reach = args.reach.clone().with_compression();
    let table = Table(Style::of(&std::io::stdout()));
    print::out(format_args!("{}", table.0.bold(complete(&args.url))));
    let opened = match over_http1(&reach, &args.url, &table).await {
        Ok(()) => true,
        Err(error) => {
            table.bad("HTTP/1.1", &format!("{error:#}"));
            false
        }
    };
    let opened_by_2 = over_http2(&reach, &args.url, &table).await?;
    Ok(if opened || opened_by_2 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn over_http1(reach: &Reach, url: &str, table: &Table) -> Result<()> {
    let began = Instant::now();
    let dial = reach.dial_http1(url)?;
    let conn = dial.connect().await.map_err(|error| explain(&error, url))?;
    let took = time(began.elapsed());
    let response = conn.response().unwrap_or_default();
    table.good("HTTP/1.1", &format!("{} after {took}", response.status()));
    let headers = response.headers();
    if let Some(server) = text(headers, &SERVER) {
        table.good("server", &server);
    }
    tell_agreed(reach, headers, table);
    tell_manners(&conn, table).await;
    tell_origins(reach.dial_http1(url)?, reach, table).await;
    Ok(())
}

/// Is a WebSocket a stream of HTTP/2, if one asks for that (RFC 8441)?
async fn over_http2(reach: &Reach, url: &str, table: &Table) -> Result<bool> {
    let began = Instant::now();
    match reach.dial_http2(url)?.connect().await {
        Ok(conn) => {
            let status = conn.response().unwrap_or_default().status();
            let took = time(began.elapsed());
            table.good("HTTP/2", &format!("{status} to an extended CONNECT after {took}"));
            conn.close_now();
            return Ok(true);
        }
        Err(DialError::NoHttp2) => {
            table.row("HTTP/2", "no: the server allows no WebSockets over it", false);
        }
        // Over plain TCP, the server may not know what it is asked.
        Err(error) => {
            let why = error.refusal().map(|refusal| format!("refused with {}", refusal.status));
            let why = why.unwrap_or_else(|| exit::chain(&error));
            table.row("HTTP/2", &format!("no: {why}"), false);
        }
    }
    Ok(false)
}

/// The extensions with their parameters, and the subprotocol.
fn tell_agreed(reach: &Reach, headers: &HeaderMap, table: &Table) {
    match text(headers, &SEC_WEBSOCKET_EXTENSIONS) {
        Some(extensions) => table.good("extensions", &extensions),
        None => table.row("extensions", "none: permessage-deflate was declined", false),
    }
    match text(headers, &SEC_WEBSOCKET_PROTOCOL) {
        Some(name) => table.good("subprotocol", &name),
        None if reach.subprotocols().is_empty() => {
            table.row("subprotocol", "none was offered (--subprotocol)", false);
        }
        None => {
            let offered = reach.subprotocols().join(", ");
            table.row("subprotocol", &format!("none of {offered}"), false);
        }
    }
}

/// Does it answer pings and close frames?
async fn tell_manners(conn: &Conn, table: &Table) {
    let patience = Duration::from_secs(5);
    match timeout(patience, conn.ping()).await {
        Ok(Ok(rtt)) => table.good("ping", &format!("pong after {}", time(rtt))),
        Ok(Err(error)) => table.bad("ping", &exit::chain(&error)),
        Err(_) => table.bad("ping", "no pong within 5 s"),
    }
    let began = Instant::now();
    match conn.close(StatusCode::NORMAL_CLOSURE, "").await {
        Ok(()) => {
            let received = conn.closed().await.received;
            let code = received.map(|close| close.to_string()).unwrap_or_default();
            table.good("close", &format!("{code}, after {}", time(began.elapsed())));
        }
        Err(error) => table.bad("close", &exit::chain(&error)),
    }
}

/// May any web page connect, in the name of whoever looks at it?
async fn tell_origins(dial: Dial, reach: &Reach, table: &Table) {
    if reach.has_origin() {
        return;
    }
    match dial.origin(FOREIGN).connect().await {
        Ok(conn) => {
            conn.close_now();
            table.row("origins", "any web page may connect", false);
        }
        Err(error) => match error.refusal() {
            Some(refusal) => {
                table
                    .good("origins", &format!("a foreign page is refused with {}", refusal.status));
            }
            None => table.bad("origins", &exit::chain(&error)),
        },
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Rows of a name and what is to be said about it.
struct Table(Style);

impl Table {
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
