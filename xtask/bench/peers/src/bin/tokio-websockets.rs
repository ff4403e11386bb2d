//! How fast is tokio-websockets?

use anyhow::Result;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use kit::{Hub, MESSAGE_LIMIT, Mode, Options, Subscription};
use tokio::net::TcpStream;
use tokio_websockets::{Limits, Message, ServerBuilder, WebSocketStream};

fn main() -> Result<()> {
    let options = Options::of_process();
    let hub = Hub::default();
    kit::serve(options, move |stream| welcome(stream, options, hub.clone()))
}

type Socket = WebSocketStream<TcpStream>;

async fn welcome(stream: TcpStream, options: &'static Options, hub: Hub) -> Result<()> {
    let limits = Limits::default().max_payload_len(Some(MESSAGE_LIMIT));
    let server = ServerBuilder::new().limits(limits);
    let (_, socket) = Box::pin(server.accept(stream)).await?;
    match options.mode {
        Mode::Fanout => tokio::spawn(pass_on(socket, hub.subscribe())),
        Mode::Echo | Mode::Burst => tokio::spawn(echo(socket)),
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

async fn pass_on(mut socket: Socket, mut subscription: Subscription) -> Result<()> {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => subscription.publish(&Bytes::from(message?.into_payload())),
                None => return Ok(()),
            },
            Some(payload) = subscription.next() => {
                socket.feed(Message::binary(payload)).await?;
                while let Some(payload) = subscription.ready() {
                    socket.feed(Message::binary(payload)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
