//! How fast is tokio-tungstenite?

use anyhow::Result;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use kit::{Hub, MESSAGE_LIMIT, Mode, Options, Subscription};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

fn main() -> Result<()> {
    let options = Options::of_process();
    let hub = Hub::default();
    kit::serve(options, move |stream| welcome(stream, options, hub.clone()))
}

type Socket = WebSocketStream<TcpStream>;

async fn welcome(stream: TcpStream, options: &'static Options, hub: Hub) -> Result<()> {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT));
    let config = match options.is("rb16k") {
        true => config.read_buffer_size(16 * 1024),
        false => config,
    };
    let socket = Box::pin(accept_async_with_config(stream, Some(config))).await?;
    match (options.mode, options.is("batch")) {
        (Mode::Fanout, _) => tokio::spawn(pass_on(socket, hub.subscribe())),
        (Mode::Echo | Mode::Burst, false) => tokio::spawn(echo(socket)),
        (Mode::Echo | Mode::Burst, true) => tokio::spawn(echo_in_batches(socket)),
    };
    Ok(())
}

async fn echo(mut socket: Socket) -> Result<()> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Echoes all messages that are buffered already, then flushes.
async fn echo_in_batches(mut socket: Socket) -> Result<()> {
    while let Some(message) = socket.next().await {
        socket.feed(message?).await?;
        while let Some(Some(message)) = socket.next().now_or_never() {
            socket.feed(message?).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn pass_on(mut socket: Socket, mut subscription: Subscription) -> Result<()> {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => subscription.publish(&message?.into_data()),
                None => return Ok(()),
            },
            Some(payload) = subscription.next() => {
                socket.feed(payload.into()).await?;
                while let Some(payload) = subscription.ready() {
                    socket.feed(payload.into()).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
