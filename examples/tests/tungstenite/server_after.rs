//! How does the chat look on a `ws-core` connection?

use std::io;

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio_tungstenite::tungstenite::{Error, Message};
use ws_core::compat::Tungstenite;
use ws_core::{AcceptOptions, Acceptor};

pub(super) async fn server(listener: TcpListener) -> io::Result<()> {
    let (room, _) = channel(100);
    loop {
        let (stream, _) = listener.accept().await?;
        let (room, news) = (room.clone(), room.subscribe());
        tokio::spawn(async move { chat(stream, room, news).await.unwrap() });
    }
}

async fn chat(
    stream: TcpStream,
    room: Sender<Message>,
    mut news: Receiver<Message>,
) -> Result<(), Error> {
    let accepted = Acceptor::new(&AcceptOptions::new()).accept(stream).await;
    let socket = Tungstenite::new(accepted.map_err(io::Error::other)?);
    let (mut write, mut read) = socket.split();
    loop {
        tokio::select! {
            said = read.next() => match said {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let _ = room.send(message);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return write.close().await,
                Some(other) => return other.map(drop),
            },
            Ok(message) = news.recv() => write.send(message).await?,
        }
    }
}
