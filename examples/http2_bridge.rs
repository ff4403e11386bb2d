//! How does a client that knows only HTTP/1.1 reach a server over HTTP/2? What
//! `cargo xtask autobahn server --http2` runs: frames pass as they are.
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use clap::Parser;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::header::SEC_WEBSOCKET_KEY;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use ws_core::handshake::head::{decode_request, encode_response};
use ws_core::{AcceptOptions, Origin};

/// Takes WebSockets over HTTP/1.1, and makes them over one connection of HTTP/2.
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The server, which is spoken to in HTTP/2 without further ado.
    #[arg(long)]
    to: SocketAddr,
}

type Client = http2::SendRequest<Empty<Bytes>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = TcpStream::connect(args.to).await?;
    server.set_nodelay(true)?;
    let (client, conn) = http2::handshake(TokioExecutor::new(), TokioIo::new(server)).await?;
    tokio::spawn(conn);
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    loop {
        let (near, _) = listener.accept().await?;
        tokio::spawn(pass(near, client.clone(), args.to));
    }
}

async fn pass(mut near: TcpStream, mut client: Client, to: SocketAddr) -> anyhow::Result<()> {
    near.set_nodelay(true)?;
    let mut input = Vec::new();
    let (request, taken) = loop {
        ensure!(near.read_buf(&mut input).await? > 0, "the client is gone");
        if let Some(read) = decode_request(&input)? {
            break read;
        }
    };
    let mut connect = Request::connect(format!("http://{to}{}", request.uri()))
        .extension(Protocol::from_static("websocket"))
        .body(Empty::new())?;
    for (name, value) in request.headers() {
        // The key is of HTTP/1.1 alone: we answer it.
        if name.as_str().starts_with("sec-websocket-") && name != SEC_WEBSOCKET_KEY {
            connect.headers_mut().append(name, value.clone());
        }
    }
    let answer = client.send_request(connect).await?;
    ensure!(answer.status() == 200, "the server answered {}", answer.status());
    let options = AcceptOptions::new().origin(Origin::any());
    let mut upgrade = options.answer(&request)?.response.map(|()| "");
    for (name, value) in answer.headers() {
        if name.as_str().starts_with("sec-websocket-") {
            upgrade.headers_mut().append(name, value.clone());
        }
    }
    near.write_all(&encode_response(&upgrade)).await?;
    let mut far = TokioIo::new(hyper::upgrade::on(answer).await?);
    far.write_all(input.get(taken..).context("no such bytes")?).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}
