//! How fast is sockudo-ws?

use anyhow::Result;
use futures_util::{FutureExt as _, Sink, SinkExt as _, Stream, StreamExt as _};
use kit::{Deflate, Hub, MESSAGE_LIMIT, Mode, Options, Subscription};
use sockudo_ws::{CompressedWebSocketStream, Compression, Config, Error, Message, WebSocketStream};
use tokio::net::TcpStream;

fn main() -> Result<()> {
    let options = Options::of_process();
    let compression = match options.deflate {
        Deflate::Off => Compression::Disabled,
        Deflate::NoTakeover => Compression::Shared,
        Deflate::Takeover => Compression::Dedicated,
    };
    let config = Config::builder()
        .max_message_size(MESSAGE_LIMIT)
        .max_frame_size(MESSAGE_LIMIT)
        .compression(compression)
        .build();
    let hub = Hub::default();
    kit::serve(options, move |stream| welcome(stream, options, config.clone(), hub.clone()))
}

async fn welcome(
    mut stream: TcpStream,
    options: &'static Options,
    config: Config,
    hub: Hub,
) -> Result<()> {
    // Its own handshake does not negotiate compression.
    Box::pin(kit::open_with(&mut stream, kit::extensions(options.deflate))).await?;
    match config.compression.to_deflate_config() {
        Some(deflate) => {
            serve(CompressedWebSocketStream::server(stream, config, deflate), options, &hub);
        }
        None => serve(WebSocketStream::server(stream, config), options, &hub),
    }
    Ok(())
}

trait Socket:
    Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin + Send + 'static
{
}

impl<T> Socket for T where
    T: Stream<Item = Result<Message, Error>>
        + Sink<Message, Error = Error>
        + Unpin
        + Send
        + 'static
{
}

fn serve(socket: impl Socket, options: &Options, hub: &Hub) {
    match (options.mode, options.is("batch")) {
        (Mode::Fanout, _) => tokio::spawn(pass_on(socket, hub.subscribe())),
        (Mode::Echo | Mode::Burst, false) => tokio::spawn(echo(socket)),
        (Mode::Echo | Mode::Burst, true) => tokio::spawn(echo_in_batches(socket)),
    };
}

async fn echo(mut socket: impl Socket) -> Result<()> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Echoes all messages that are buffered already, then flushes.
async fn echo_in_batches(mut socket: impl Socket) -> Result<()> {
    while let Some(message) = socket.next().await {
        socket.feed(message?).await?;
        while let Some(Some(message)) = socket.next().now_or_never() {
            socket.feed(message?).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn pass_on(mut socket: impl Socket, mut subscription: Subscription) -> Result<()> {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(payload) | Message::Binary(payload))) => {
                    subscription.publish(&payload);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            Some(payload) = subscription.next() => {
                socket.feed(Message::Binary(payload)).await?;
                while let Some(payload) = subscription.ready() {
                    socket.feed(Message::Binary(payload)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
