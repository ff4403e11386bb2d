//! How does `ws listen` serve one connection: echo, broadcast, print, close, or run a command?

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::block_in_place;
use ws_client::{Compression, Config, Conn, Message};
use ws_core::handler::ConnectionTracker;
use ws_core::redact::Redacted;
use ws_core::{AcceptOptions, Acceptor, Limits, Origin, PreparedMessage};

use super::args::ListenArgs;
use super::exec;
use crate::connect_options::{CompressionMode, describe};
use crate::exit_code::describe_end;
use crate::print;

pub(super) struct ListenServer {
    args: ListenArgs,
    pub(super) options: AcceptOptions,
    receivers: Receivers,
    /// Broadcast messages that a slow connection did not take.
    missed: AtomicU64,
}

impl ListenServer {
    pub(super) fn new(args: ListenArgs, tracker: &ConnectionTracker) -> Self {
        let compression = args.compress.map_or(Compression::off(), CompressionMode::settings);
        let config = Config::new()
            .limits(Limits::new().message_size(args.max_size))
            .compression(compression);
        let mut options =
            AcceptOptions::new().config(config).subprotocols(&args.subprotocol).tracker(tracker);
        if args.any_origin {
            options = options.origin(Origin::any());
        } else if !args.origin.is_empty() {
            options = options.origin(Origin::patterns(&args.origin));
        }
        Self { args, options, receivers: Receivers::default(), missed: AtomicU64::new(0) }
    }

    pub(super) async fn serve_stream(&self, stream: TcpStream, peer: SocketAddr) {
        let acceptor = Acceptor::new(&self.options);
        self.report(peer, acceptor.serve(stream, |conn| self.serve(conn, peer)).await);
    }

    /// Prints why a connection could not be opened.
    pub(super) fn report(&self, peer: SocketAddr, served: Result<(), impl Error + 'static>) {
        if let Err(error) = served {
            self.note(format_args!("{peer}: {}", describe_error(&error)));
        }
    }

    pub(super) async fn serve(&self, conn: Conn, peer: SocketAddr) -> Result<()> {
        // Over HTTP/2, the URI has a host.
        let request_uri = conn.request().and_then(|it| Some(it.uri.path_and_query()?.to_string()));
        let request_uri = request_uri.unwrap_or_default();
        self.note(format_args!("{peer}: connected, {}", Redacted(&*request_uri)));
        let served = self.exchange(&conn, peer, &request_uri).await;
        let messages = conn.stats().messages_in;
        let end = match conn.close_info() {
            Some(ending) => describe_end(&ending).0,
            None => "closing".to_owned(),
        };
        self.note(format_args!("{peer}: {end}, after {messages} messages"));
        self.receivers.remove(&conn);
        served
    }

    async fn exchange(&self, conn: &Conn, peer: SocketAddr, request_uri: &str) -> Result<()> {
        if let Some((code, reason)) = &self.args.close {
            // The client may have gone.
            let _ = conn.close(*code, reason).await;
            return Ok(());
        }
        if let Some((program, arguments)) = self.args.command.split_first() {
            return exec::run(conn, program, arguments, peer, request_uri).await;
        }
        if self.args.broadcast {
            self.receivers.add(conn);
        }
        // `serve` reports the end.
        while let Ok(message) = conn.read().await {
            // It waits for the reader of the output. Other connections go on.
            if self.args.print && !block_in_place(|| print_message(&message)) {
                break;
            }
            if self.args.broadcast {
                self.broadcast(conn, message);
            } else if !self.args.sink && conn.write(message).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Sends a message to all other connections. A slow connection misses it.
    fn broadcast(&self, from: &Conn, message: Message) {
        for _ in 0..self.receivers.broadcast(from, message) {
            let missed = self.missed.fetch_add(1, Ordering::Relaxed) + 1;
            // Prints at powers of two.
            if missed.is_power_of_two() {
                self.note(format_args!("{missed} messages missed by slow connections"));
            }
        }
    }

    pub(super) fn note(&self, text: std::fmt::Arguments<'_>) {
        if !self.args.quiet {
            block_in_place(|| print::note(text));
        }
    }
}

/// Describes an error in one line, with the option to change.
pub(super) fn describe_error(error: &(dyn Error + 'static)) -> String {
    const ORIGIN: &str = "`AcceptOptions::origin`, for example with `Origin::patterns`";
    describe(error).replace(ORIGIN, "--origin or --any-origin")
}

/// The connections that receive broadcasts, by their id.
#[derive(Default)]
pub(super) struct Receivers(Mutex<HashMap<u64, Conn>>);

impl Receivers {
    /// Sends each message of a connection to all others.
    pub(super) async fn serve(&self, conn: Conn) {
        self.add(&conn);
        while let Ok(message) = conn.read().await {
            self.broadcast(&conn, message);
        }
        self.remove(&conn);
    }

    fn add(&self, conn: &Conn) {
        self.0.lock().insert(conn.id(), conn.clone());
    }

    fn remove(&self, conn: &Conn) {
        self.0.lock().remove(&conn.id());
    }

    /// Sends a message to all other connections. Returns how many were too slow, and miss it.
    fn broadcast(&self, from: &Conn, message: Message) -> usize {
        let message = PreparedMessage::new(message);
        let receivers = self.0.lock();
        let others = receivers.values().filter(|conn| conn.id() != from.id());
        let missed = others.filter(|conn| {
            conn.try_write_prepared(&message).is_err() && conn.close_info().is_none()
        });
        missed.count()
    }
}

fn print_message(message: &Message) -> bool {
    match message.as_text() {
        Some(text) => print::out(format_args!("{}", print::peer_text(text))),
        None => print::out(format_args!("({} bytes)", message.len())),
    }
}
