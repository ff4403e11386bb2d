//! How do I configure a server: subprotocol, rate limit, keepalive and compression?
//!
//! An echo server over bare TCP, hyper, axum or warp.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use clap::{Parser, ValueEnum};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use warp::Filter as _;
use ws_core::Acceptor;
use ws_core::Limits;
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
    // Any web page may connect, because an echo server has no secrets. The default is same host.
    let options = AcceptOptions::new().origin(Origin::any()).subprotocols(["echo"]).config(
        Config::new()
            .limits(Limits::new().message_size(args.read_limit))
            .keepalive(Keepalive::every(Duration::from_secs(30)))
            .compression(match args.compress {
                Compress::Off => Compression::off(),
                Compress::Takeover => Compression::context_takeover(),
                Compress::NoTakeover => Compression::no_context_takeover(),
            }),
    );
    let listener = TcpListener::bind(args.listen).await.context("failed to listen (--listen)")?;
    print_usage(listener.local_addr()?);
    let rate = args.rate;
    match args.adapter {
        Adapter::Tcp | Adapter::Hyper => accept_loop(listener, options, args).await,
        Adapter::Axum => {
            let route = ws_server_axum::websocket(options, move |conn| echo(conn, rate));
            // Over HTTP/2, the server keeps the stream, so the server has to set it.
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            Ok(axum::serve(listener, Router::new().fallback_service(route)).await?)
        }
        Adapter::Warp => {
            let route = ws_server_warp::websocket(options, move |conn| echo(conn, rate));
            let service = warp::service(route.recover(ws_server_warp::recover));
            Ok(ws_server_warp::serve(listener, service).await?)
        }
    }
}

async fn accept_loop(
    listener: TcpListener,
    options: AcceptOptions,
    args: Args,
) -> anyhow::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (options, args) = (options.clone(), args.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve_stream(stream, &options, &args).await {
                        report(peer, &error);
                    }
                });
            }
            // Probably too many open files. Open connections are not affected.
            Err(error) => {
                report(args.listen, &error.into());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Performs the opening handshake on a stream, and runs the echo.
async fn serve_stream(
    stream: TcpStream,
    options: &AcceptOptions,
    args: &Args,
) -> anyhow::Result<()> {
    let rate = args.rate;
    match args.adapter {
        Adapter::Tcp => Ok(Acceptor::new(options).serve(stream, |conn| echo(conn, rate)).await?),
        _ => {
            stream.set_nodelay(true)?;
            let options = options.clone();
            let service = service_fn(move |request| {
                let response = handle(request, &options, rate);
                async { response }
            });
            let served = ws_server_hyper::serve_stream(stream, None, service);
            served.await.map_err(|error| anyhow::anyhow!(error))
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
    println!("connect to it:  cargo run --release --example dial -- ws://{addr}");
    println!("or in the console of a browser:");
    println!("  ws = new WebSocket('ws://{addr}'); ws.onmessage = e => console.log(e.data);");
    println!("  ws.send('hello')");
}

#[expect(clippy::print_stderr, reason = "a program prints to its terminal")]
fn report(peer: SocketAddr, error: &anyhow::Error) {
    eprintln!("{peer}: {error:#}");
}
