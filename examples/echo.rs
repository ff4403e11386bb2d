//! How does one serve? An echo server over bare TCP, hyper, axum or warp, with a
//! subprotocol, a rate limit for each client, keepalive and compression.

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
use ws_core::{AcceptOptions, Compression, Config, Conn, Error, Keepalive, Origin, StatusCode};

/// Sends every message back to whoever sent it.
#[derive(Clone, Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// What makes the opening handshake.
    #[arg(long, value_enum, default_value = "hyper")]
    adapter: Adapter,
    /// Whether to compress, and whether messages may refer to earlier ones.
    #[arg(long, value_enum, default_value = "no-takeover")]
    compress: Compress,
    /// How many threads serve; by default one for each core.
    #[arg(long)]
    workers: Option<usize>,
    /// The longest message to accept, in bytes.
    #[arg(long, default_value_t = 1024 * 1024)]
    read_limit: usize,
    /// How many messages a client may send in a second; by default any number.
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
    // Any page may connect: an echo has nothing to protect. By default only those of the
    // same host may.
    let options = AcceptOptions::new().origin(Origin::any()).subprotocols(["echo"]).config(
        Config::new()
            .read_limit(args.read_limit)
            .keepalive(Keepalive::every(Duration::from_secs(30)))
            .compression(match args.compress {
                Compress::Off => Compression::off(),
                Compress::Takeover => Compression::context_takeover(),
                Compress::NoTakeover => Compression::no_context_takeover(),
            }),
    );
    let listener = TcpListener::bind(args.listen).await.context("cannot listen (--listen)")?;
    say_hello(listener.local_addr()?);
    let rate = args.rate;
    match args.adapter {
        Adapter::Tcp | Adapter::Hyper => welcome_all(listener, options, args).await,
        Adapter::Axum => {
            let echoes = ws_server_axum::websocket(options, move |conn| echo(conn, rate));
            // Over HTTP/2, nobody takes the stream over who would say so.
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            Ok(axum::serve(listener, Router::new().fallback_service(echoes)).await?)
        }
        Adapter::Warp => {
            let echoes = ws_server_warp::websocket(options, move |conn| echo(conn, rate));
            let service = warp::service(echoes.recover(ws_server_warp::recover));
            Ok(ws_server_warp::serve(listener, service).await?)
        }
    }
}

async fn welcome_all(
    listener: TcpListener,
    options: AcceptOptions,
    args: Args,
) -> anyhow::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (options, args) = (options.clone(), args.clone());
                tokio::spawn(async move {
                    if let Err(error) = welcome(stream, &options, &args).await {
                        report(peer, &error);
                    }
                });
            }
            // Out of file descriptors, say: those that are here go on.
            Err(error) => {
                report(args.listen, &error.into());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Makes a connection of a stream, and serves it.
async fn welcome(stream: TcpStream, options: &AcceptOptions, args: &Args) -> anyhow::Result<()> {
    let rate = args.rate;
    match args.adapter {
        Adapter::Tcp => Ok(Conn::serve(stream, options, |conn| echo(conn, rate)).await?),
        _ => {
            stream.set_nodelay(true)?;
            let options = options.clone();
            let service = service_fn(move |request| {
                let answered = answer(request, &options, rate);
                async { answered }
            });
            let served = ws_server_hyper::serve_stream(stream, None, service);
            served.await.map_err(|error| anyhow::anyhow!(error))
        }
    }
}

/// What a hyper service does with a request that may ask for a WebSocket.
fn answer(
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

/// Sends every message back, until the peer is gone or sends too many.
async fn echo(conn: Conn, rate: Option<u32>) -> Result<(), Error> {
    let mut second = (Instant::now(), 0);
    loop {
        let message = match conn.read().await {
            Ok(message) => message,
            // That is how it ends.
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

#[expect(clippy::print_stdout, reason = "that is what a program is for")]
fn say_hello(addr: SocketAddr) {
    println!("listening on ws://{addr}");
    println!("talk to it:  cargo run --release --example dial -- ws://{addr}");
    println!("or from the console of a browser:");
    println!("  ws = new WebSocket('ws://{addr}'); ws.onmessage = e => console.log(e.data);");
    println!("  ws.send('hello')");
}

#[expect(clippy::print_stderr, reason = "that is what a program is for")]
fn report(peer: SocketAddr, error: &anyhow::Error) {
    eprintln!("{peer}: {error:#}");
}
