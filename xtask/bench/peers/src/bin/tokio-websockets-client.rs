//! How fast is the client of tokio-websockets?

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use kit::Task;
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Message};

fn main() -> Result<()> {
    kit::run_client(echo)
}

async fn echo(stream: TcpStream, task: Task) -> Result<()> {
    let mut socket = ClientBuilder::new().take_over(stream);
    let message = match task.text {
        true => Message::text(std::str::from_utf8(&task.payload)?.to_owned()),
        false => Message::binary(task.payload.clone()),
    };
    loop {
        socket.send(message.clone()).await?;
        let reply = socket.next().await.context("it ends")??;
        task.answered(reply.is_text(), reply.as_payload())?;
    }
}
