//! How fast is the client of tokio-tungstenite?

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use kit::Task;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

fn main() -> Result<()> {
    kit::run_client(echo)
}

async fn echo(stream: TcpStream, task: Task) -> Result<()> {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let message = match task.text {
        true => Message::text(std::str::from_utf8(&task.payload)?),
        false => Message::binary(task.payload.clone()),
    };
    loop {
        socket.send(message.clone()).await?;
        let reply = socket.next().await.context("it ends")??;
        let text = reply.is_text();
        task.answered(text, &reply.into_data())?;
    }
}
