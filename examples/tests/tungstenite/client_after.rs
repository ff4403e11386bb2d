//! How does the client look on a `ws-core` connection?

use std::io;

use futures::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use ws_client::compat::Tungstenite;
use ws_client::dial;

pub(super) async fn client(url: String) -> Result<Vec<Message>, Error> {
    let mut socket = Tungstenite::new(dial(url).await.map_err(io::Error::other)?);
    socket.send(Message::text("hello")).await?;
    socket.send(Message::Ping("are you there?".into())).await?;
    socket.send(Message::binary(vec![7; 100_000])).await?;
    let mut received = Vec::new();
    while let Some(message) = socket.next().await {
        let message = message?;
        received.push(message.clone());
        match message {
            Message::Binary(_) => {
                let reason = "seen enough".into();
                socket.close(Some(CloseFrame { code: CloseCode::Normal, reason })).await?;
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(received)
}
