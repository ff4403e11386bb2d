//! How fast is yawc?

use anyhow::Result;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use kit::{Deflate, Hub, MESSAGE_LIMIT, Mode, Options, Subscription};
use tokio::net::TcpStream;
use yawc::{Frame, OpCode, Role, WebSocket};

fn main() -> Result<()> {
    let options = Options::of_process();
    let settings = settings(options);
    let hub = Hub::default();
    kit::serve(options, move |stream| welcome(stream, options, settings.clone(), hub.clone()))
}

type Socket = WebSocket<TcpStream>;

/// UTF-8 checks are off by default in yawc.
fn settings(options: &Options) -> yawc::Options {
    let settings = yawc::Options::default()
        .with_utf8()
        .with_limits(MESSAGE_LIMIT, 2 * MESSAGE_LIMIT)
        .without_compression();
    match options.deflate {
        Deflate::Off => settings,
        Deflate::Takeover => settings.with_balanced_compression(),
        Deflate::NoTakeover => settings
            .with_balanced_compression()
            .server_no_context_takeover()
            .client_no_context_takeover(),
    }
}

async fn welcome(
    mut stream: TcpStream,
    options: &'static Options,
    settings: yawc::Options,
    hub: Hub,
) -> Result<()> {
    // The handshake of yawc needs hyper.
    let extensions = kit::extensions(options.deflate);
    Box::pin(kit::open_with(&mut stream, extensions)).await?;
    let socket =
        WebSocket::from_stream_with_extensions(stream, Role::Server, extensions, settings)?;
    match (options.mode, options.is("batch")) {
        (Mode::Fanout, _) => tokio::spawn(pass_on(socket, hub.subscribe())),
        (Mode::Echo | Mode::Burst, false) => tokio::spawn(echo(socket)),
        (Mode::Echo | Mode::Burst, true) => tokio::spawn(echo_in_batches(socket)),
    };
    Ok(())
}

fn is_data(frame: &Frame) -> bool {
    matches!(frame.opcode(), OpCode::Text | OpCode::Binary)
}

async fn echo(mut socket: Socket) -> Result<()> {
    while let Some(frame) = socket.next().await {
        if is_data(&frame) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

/// Echoes all messages that are buffered already, then flushes.
async fn echo_in_batches(mut socket: Socket) -> Result<()> {
    while let Some(frame) = socket.next().await {
        socket.feed(frame).await?;
        while let Some(Some(frame)) = socket.next().now_or_never() {
            socket.feed(frame).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn pass_on(mut socket: Socket, mut subscription: Subscription) -> Result<()> {
    loop {
        tokio::select! {
            frame = socket.next() => match frame {
                Some(frame) => subscription.publish(frame.payload()),
                None => return Ok(()),
            },
            Some(payload) = subscription.next() => {
                socket.feed(Frame::binary(payload)).await?;
                while let Some(payload) = subscription.ready() {
                    socket.feed(Frame::binary(payload)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
