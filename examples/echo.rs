//! How do I configure a server: subprotocol, rate limit, keepalive and compression?
//!
//! An echo server over bare TCP, hyper, axum or warp.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use clap::{Parser, ValueEnum};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::time::Instant;
use warp::Filter as _;
use ws_core::Acceptor;
use ws_core::Limits;
use ws_core::handler::{ConnectionTracker, DrainConfig};
use ws_core::{AcceptOptions, Compression, Config, Conn, Error, Keepalive, Origin, StatusCode};

/// Sends every message back to its sender.
#[derive(Clone, Parser)]
struct Args {
    /// The address to listen on. Port 0 selects a free port.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// The HTTP server for the opening handshake.
    #[arg(long, value_enum, default_value = "hyper")]
    adapter: Adapter,
    /// The compression: off, or permessage-deflate with or without context takeover.
    #[arg(long, value_enum, default_value = "no-takeover")]
    compress: Compress,
    /// The number of worker threads. Default: one per core.
    #[arg(long)]
    workers: Option<usize>,
    /// The maximum size of a received message, in bytes.
    #[arg(long, default_value_t = 1024 * 1024)]
    read_limit: usize,
    /// The maximum number of messages per second and client. Default: unlimited.
    #[arg(long)]
    rate: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Adapter {
    Tcp,
    Hyper,
    Axum,
    Warp,
}

#[derive(Clone, Copy, ValueEnum)]
enum Compress {
    Off,
    Takeover,
    NoTakeover,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = args.workers {
        runtime.worker_threads(workers.max(1));
    }
    runtime.enable_all().build()?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let tracker = ConnectionTracker::new();
    // Any web page may connect, because an echo server has no secrets. The default is same host.
    let options =
        AcceptOptions::new().origin(Origin::any()).subprotocols(["echo"]).tracker(&tracker).config(
            Config::new()
                .limits(Limits::new().message_size(args.read_limit))
                .keepalive(Keepalive::every(Duration::from_secs(30)))
                .compression(match args.compress {
                    Compress::Off => Compression::off(),
                    Compress::Takeover => Compression::context_takeover(),
                    Compress::NoTakeover => Compression::no_context_takeover(),
                }),
        );
    let listener = examples::bind(args.listen, "--listen").await?;
    print_usage(listener.local_addr()?);
    // At Ctrl-C or SIGTERM, closes all connections with 1001.
    let stop = async {
        ws_server_hyper::shutdown_signal().await;
        tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    };
    let rate = args.rate;
    match args.adapter {
        Adapter::Tcp => tokio::select! {
            never = accept_loop(listener, options, rate) => match never {},
            () = stop => Ok(()),
        },
        Adapter::Hyper => {
            let service = service_fn(move |request| {
                let response = handle(request, &options, rate);
                async { response }
            });
            Ok(ws_server_hyper::serve_until(listener, service, stop).await?)
        }
        Adapter::Axum => {
            let route = ws_server_axum::websocket(options, move |conn| echo(conn, rate));
            let app = Router::new().fallback_service(route);
            Ok(ws_server_axum::serve_until(listener, app, stop).await?)
        }
        Adapter::Warp => {
            let route = ws_server_warp::websocket(options, move |conn| echo(conn, rate));
            let service = warp::service(route.recover(ws_server_warp::recover));
            Ok(ws_server_warp::serve_until(listener, service, stop).await?)
        }
    }
}

/// Performs the opening handshake on each TCP stream, and runs the echo.
async fn accept_loop(
    listener: TcpListener,
    options: AcceptOptions,
    rate: Option<u32>,
) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let options = options.clone();
                tokio::spawn(async move {
                    let acceptor = Acceptor::new(&options);
                    if let Err(error) = acceptor.serve(stream, |conn| echo(conn, rate)).await {
                        report(format_args!("{peer}: {error}"));
                    }
                });
            }
            // Probably too many open files. Open connections are not affected.
            Err(error) => {
                report(format_args!("{error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The hyper service: accepts WebSocket requests, and rejects others.
fn handle(
    mut request: Request<Incoming>,
    options: &AcceptOptions,
    rate: Option<u32>,
) -> hyper::Result<Response<Full<Bytes>>> {
    match ws_server_hyper::accept(&mut request, options) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(move |conn| echo(conn, rate)));
            Ok(response)
        }
        Err(rejection) => Ok(rejection.into_response().map(Full::from)),
    }
}

/// Sends every message back until the connection closes or exceeds the rate.
async fn echo(conn: Conn, rate: Option<u32>) -> Result<(), Error> {
    let mut second = (Instant::now(), 0);
    loop {
        let message = match conn.read().await {
            Ok(message) => message,
            // A close, by either side, is the normal end.
            Err(Error::Closed(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(rate) = rate {
            if second.0.elapsed() >= Duration::from_secs(1) {
                second = (Instant::now(), 0);
            }
            second.1 += 1;
            if second.1 > rate {
                return conn.close(StatusCode::POLICY_VIOLATION, "too many messages").await;
            }
        }
        conn.write(message).await?;
    }
}

#[expect(clippy::print_stdout, reason = "a program prints to its terminal")]
fn print_usage(addr: SocketAddr) {
    println!("listening on ws://{addr}");
    println!("connect to it:  cargo run --profile quick --example dial -- ws://{addr}");
    println!("or in the console of a browser:");
    println!("  ws = new WebSocket('ws://{addr}'); ws.onmessage = e => console.log(e.data);");
    println!("  ws.send('hello')");
}

#[expect(clippy::print_stderr, reason = "a program prints to its terminal")]
fn report(line: fmt::Arguments<'_>) {
    eprintln!("{line}");
}
