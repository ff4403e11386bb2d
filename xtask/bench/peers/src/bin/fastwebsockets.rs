//! How fast is fastwebsockets, on a bare stream and through hyper?

use anyhow::Result;
use bytes::Bytes;
use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError, upgrade};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kit::{MESSAGE_LIMIT, Options};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

fn main() -> Result<()> {
    let options = Options::of_process();
    kit::serve(options, move |stream| welcome(stream, options))
}

async fn welcome(mut stream: TcpStream, options: &'static Options) -> Result<()> {
    if options.is("hyper") {
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .with_upgrades()
            .await?;
        return Ok(());
    }
    // fastwebsockets has no handshake for bare streams.
    Box::pin(kit::open(&mut stream)).await?;
    tokio::spawn(echo(WebSocket::after_handshake(stream, Role::Server)));
    Ok(())
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgrade) = upgrade::upgrade(&mut request)?;
    tokio::spawn(async move { echo(upgrade.await?).await });
    Ok(response)
}

async fn echo<T: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocket<T>) -> Result<()> {
    socket.set_max_message_size(MESSAGE_LIMIT);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}
