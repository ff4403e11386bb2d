//! How does one get a server to try things with?

mod encrypted;
mod exec;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio_rustls::TlsAcceptor;
use ws_client::{Compression, Config, Conn, Error, Message, StatusCode};
use ws_core::handler::{ConnectionTracker, DrainConfig};
use ws_core::{AcceptOptions, Origin, PreparedMessage};

use crate::exit;
use crate::print;
use crate::reach::Compress;

/// Listens, and sends each message back, to all others, or through a command.
///
/// Without an option it is an echo server. Ctrl-C closes all connections with 1001, and ends.
#[derive(clap::Args)]
#[command(after_help = HELP, after_long_help = HELP)]
pub(crate) struct Args {
    /// Where to listen: an address, or a port of this machine; port 0 takes a free one
    #[arg(default_value = "127.0.0.1:9000", value_parser = address)]
    address: SocketAddr,
    /// Sends each message to all connections but the one it came from
    #[arg(short, long)]
    broadcast: bool,
    /// Sends nothing back
    #[arg(long, conflicts_with = "broadcast")]
    sink: bool,
    /// Closes each connection at once: with 4001, or '4001 come back later'
    #[arg(long, value_name = "CODE REASON", value_parser = close, conflicts_with_all = ["broadcast", "sink"])]
    close: Option<(StatusCode, String)>,
    /// Prints each message as a line
    #[arg(short, long)]
    print: bool,
    /// The subprotocols to speak, the preferred one first; may be repeated
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    subprotocol: Vec<String>,
    /// Agrees to compression (permessage-deflate)
    #[arg(short, long, value_name = "HOW", num_args = 0..=1, default_missing_value = "takeover", require_equals = true)]
    compress: Option<Compress>,
    /// Web pages that may connect, as https://*.example.com; may be repeated. By default those
    /// of this host
    #[arg(short, long, value_name = "PATTERN")]
    origin: Vec<String>,
    /// Any web page may connect
    #[arg(long, conflicts_with = "origin")]
    any_origin: bool,
    /// The longest message to accept, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    max_size: usize,
    /// Listens behind TLS (wss://), for HTTP/1.1 and HTTP/2, with this certificate, as PEM, and
    /// behind it its key unless --key has it
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Does not tell who comes and goes
    #[arg(short, long)]
    quiet: bool,
    /// Runs a command for each connection: messages are lines of its input, lines of its output
    /// are messages
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["broadcast", "sink", "close"])]
    command: Vec<String>,
}

const HELP: &str = "\
Examples:
  ws listen                                  # an echo server on port 9000 of this machine
  ws listen --print --broadcast 0.0.0.0:9000
  ws listen --compress -s chat.v2 -s chat.v1 9001
  ws listen --close '1013 too busy'          # to see what a client makes of it
  ws listen --cert cert.pem --key key.pem    # wss://, HTTP/2 as well
  ws listen -- bc -l                         # a calculator for each connection

A command finds the address of the client in REMOTE_ADDR, and what it asked for in
REQUEST_URI.";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let listener = TcpListener::bind(args.address).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.address))?;
    let tls = match &args.cert {
        Some(cert) => Some(encrypted::acceptor(cert, args.key.as_deref())?),
        None => None,
    };
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    print::note(format_args!("listening on {scheme}://{}", listener.local_addr()?));
    let tracker = ConnectionTracker::new();
    let server = Arc::new(Server::new(args, &tracker));
    select! {
        () = welcome_all(&listener, &server, tls.as_ref()) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    // A second Ctrl-C is for those who cannot wait.
    select! {
        _ = tracker.drain(DrainConfig::timeout(Duration::from_secs(5))) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn welcome_all(listener: &TcpListener, server: &Arc<Server>, tls: Option<&TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (server, tls) = (Arc::clone(server), tls.cloned());
                tokio::spawn(async move {
                    match tls {
                        None => server.welcome(stream, peer).await,
                        Some(tls) => encrypted::welcome(&server, &tls, stream, peer).await,
                    }
                });
            }
            // Out of file descriptors, say: those that are here go on.
            Err(error) => {
                print::note(format_args!("cannot accept: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Echoes on a free port of this machine; the address.
pub(crate) async fn echo_here() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async { Conn::serve(stream, &AcceptOptions::new(), echo).await });
        }
    });
    Ok(address)
}

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

struct Server {
    args: Args,
    options: AcceptOptions,
    everybody: Mutex<HashMap<u64, Conn>>,
    /// Messages that were too much for somebody who was to hear them.
    missed: AtomicU64,
}

impl Server {
    fn new(args: Args, tracker: &ConnectionTracker) -> Self {
        let compression = args.compress.map_or(Compression::off(), Compress::settings);
        let config = Config::new().read_limit(args.max_size).compression(compression);
        let mut options =
            AcceptOptions::new().config(config).subprotocols(&args.subprotocol).tracker(tracker);
        if args.any_origin {
            options = options.origin(Origin::any());
        } else if !args.origin.is_empty() {
            options = options.origin(Origin::patterns(&args.origin));
        }
        Self { args, options, everybody: Mutex::default(), missed: AtomicU64::new(0) }
    }

    async fn welcome(&self, stream: TcpStream, peer: SocketAddr) {
        let served = Conn::serve(stream, &self.options, |conn| self.serve(conn, peer)).await;
        self.told(peer, served);
    }

    /// Says what went wrong before there was a connection.
    fn told<E: std::error::Error + 'static>(&self, peer: SocketAddr, served: Result<(), E>) {
        if let Err(error) = served {
            self.note(format_args!("{peer}: {}", exit::chain(&error)));
        }
    }

    async fn serve(&self, conn: Conn, peer: SocketAddr) -> Result<()> {
        // Over HTTP/2, there is a host in it.
        let asked = conn.request().and_then(|it| Some(it.uri.path_and_query()?.to_string()));
        let asked = asked.unwrap_or_default();
        self.note(format_args!("{peer}: connected, {asked}"));
        let served = self.talk(&conn, peer, &asked).await;
        let messages = conn.stats().messages_in;
        let ended = match conn.close_info() {
            Some(ending) => exit::of(&ending).0,
            None => "closing".to_owned(),
        };
        self.note(format_args!("{peer}: {ended}, after {messages} messages"));
        self.everybody.lock().remove(&conn.id());
        served
    }

    async fn talk(&self, conn: &Conn, peer: SocketAddr, asked: &str) -> Result<()> {
        if let Some((code, reason)) = &self.args.close {
            // How it went is of no interest.
            let _ = conn.close(*code, reason).await;
            return Ok(());
        }
        if let Some((program, arguments)) = self.args.command.split_first() {
            return exec::run(conn, program, arguments, peer, asked).await;
        }
        if self.args.broadcast {
            self.everybody.lock().insert(conn.id(), conn.clone());
        }
        // The end is told by `serve`.
        while let Ok(message) = conn.read().await {
            if self.args.print && !show(&message) {
                break;
            }
            if self.args.broadcast {
                self.tell_others(conn, message);
            } else if !self.args.sink && conn.write(message).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Sends a message to all others. Who is slow misses it.
    fn tell_others(&self, from: &Conn, message: Message) {
        let message = PreparedMessage::new(message);
        let everybody = self.everybody.lock();
        for conn in everybody.values().filter(|conn| conn.id() != from.id()) {
            if conn.try_write_prepared(&message).is_err() && conn.close_info().is_none() {
                let missed = self.missed.fetch_add(1, Ordering::Relaxed) + 1;
                // The first, and then seldom.
                if missed.is_power_of_two() {
                    self.note(format_args!("{missed} messages missed by those who read slowly"));
                }
            }
        }
    }

    fn note(&self, text: std::fmt::Arguments<'_>) {
        if !self.args.quiet {
            print::note(text);
        }
    }
}

fn show(message: &Message) -> bool {
    match message.as_text() {
        Some(text) => print::out(format_args!("{}", print::foreign(text))),
        None => print::out(format_args!("({} bytes)", message.len())),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("ws://").unwrap_or(text).trim_start_matches(':');
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.replace("localhost", "127.0.0.1")
        .parse()
        .map_err(|_| "write it as 127.0.0.1:9000, [::1]:9000, or 9000".to_owned())
}

fn close(text: &str) -> Result<(StatusCode, String), String> {
    let (code, reason) = text.split_once([' ', ':']).unwrap_or((text, ""));
    let code = code.parse().ok().and_then(StatusCode::from_u16);
    let code = code.ok_or("a code is 1000 to 1014, or 3000 to 4999")?;
    ws_core::proto::CloseFrame::new(code, reason).map_err(|error| error.to_string())?;
    Ok((code, reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_a_port() {
        for (typed, expected) in [
            ("9000", "127.0.0.1:9000"),
            (":9000", "127.0.0.1:9000"),
            ("localhost:0", "127.0.0.1:0"),
            ("ws://[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(address(typed).unwrap().to_string(), expected);
        }
        assert!(address("example.com:80").is_err());
    }

    #[test]
    fn a_close_is_checked_before_it_is_needed() {
        assert_eq!(close("4001 see you").unwrap().1, "see you");
        assert_eq!(close("1000").unwrap().1, "");
        for bad in ["", "1006", "soon", "999"] {
            assert!(close(bad).is_err(), "{bad}");
        }
    }
}
