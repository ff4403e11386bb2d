//! How does an HTTP/1.1 client reach a WebSocket server over HTTP/2?
//!
//! A proxy that copies frames unchanged. `cargo xtask autobahn server --http2` runs it, because
//! the Autobahn suite supports only HTTP/1.1.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use examples::bind;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::header::SEC_WEBSOCKET_KEY;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use ws_core::Acceptor;
use ws_core::handshake::head::{decode_request, encode_response};
use ws_core::{AcceptOptions, Origin};
use ws_server_hyper::shutdown_signal;

/// How long a client may take to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long open WebSockets may go on after Ctrl-C or SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts WebSockets over HTTP/1.1, and forwards them over one HTTP/2 connection.
#[derive(Parser)]
struct Args {
    /// The address to listen on. Port 0 selects a free port.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The server's address. It has to accept HTTP/2 with prior knowledge.
    #[arg(long)]
    to: SocketAddr,
}

type Http2Sender = http2::SendRequest<Empty<Bytes>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = TcpStream::connect(args.to)
        .await
        .with_context(|| format!("cannot connect to {} (--to)", args.to))?;
    server.set_nodelay(true)?;
    let (http2, conn) = http2::handshake(TokioExecutor::new(), TokioIo::new(server)).await?;
    tokio::spawn(conn);
    let listener = bind(args.listen, "--listen").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let mut forwarded = JoinSet::new();
    let mut stop = pin!(shutdown_signal());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                forwarded.spawn(forward(accepted?.0, http2.clone(), args.to));
            }
            Some(_) = forwarded.join_next() => {}
            () = &mut stop => break,
        }
    }
    drop(listener);
    // Frames are copied unchanged, so the close frames are those of the clients and the server.
    let ended = async { while forwarded.join_next().await.is_some() {} };
    let _ = timeout(DRAIN_TIMEOUT, ended).await;
    Ok(())
}

async fn forward(
    mut client: TcpStream,
    mut http2: Http2Sender,
    to: SocketAddr,
) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let mut input = Vec::new();
    let (request, head_len) = timeout(HEAD_TIMEOUT, read_head(&mut client, &mut input)).await??;
    let mut connect = Request::connect(format!("http://{to}{}", request.uri()))
        .extension(Protocol::from_static("websocket"))
        .body(Empty::new())?;
    for (name, value) in request.headers() {
        // The key exists only in HTTP/1.1. The response to the client has the matching accept header.
        if name.as_str().starts_with("sec-websocket-") && name != SEC_WEBSOCKET_KEY {
            connect.headers_mut().append(name, value.clone());
        }
    }
    let response = timeout(HEAD_TIMEOUT, http2.send_request(connect)).await??;
    ensure!(response.status() == 200, "the server responded with {}", response.status());
    let options = AcceptOptions::new().origin(Origin::any());
    let mut upgrade = Acceptor::new(&options).answer(&request)?.response.map(|()| "");
    for (name, value) in response.headers() {
        if name.as_str().starts_with("sec-websocket-") {
            upgrade.headers_mut().append(name, value.clone());
        }
    }
    timeout(HEAD_TIMEOUT, client.write_all(&encode_response(&upgrade))).await??;
    let mut server = TokioIo::new(hyper::upgrade::on(response).await?);
    server.write_all(input.get(head_len..).context("the head is longer than the input")?).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Reads until the head of the request is complete. Returns it, and its length.
async fn read_head(
    client: &mut TcpStream,
    input: &mut Vec<u8>,
) -> anyhow::Result<(Request<()>, usize)> {
    loop {
        ensure!(client.read_buf(input).await? > 0, "the client disconnected");
        if let Some(read) = decode_request(input)? {
            return Ok(read);
        }
    }
}
