//! How fast is the client of yawc?

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use kit::Task;
use tokio::net::TcpStream;
use yawc::{Frame, OpCode, Options, Role, WebSocket};

fn main() -> Result<()> {
    kit::run_client(echo)
}

async fn echo(stream: TcpStream, task: Task) -> Result<()> {
    let options = Options::default().with_utf8().without_compression();
    let mut socket = WebSocket::from_stream(stream, Role::Client, options)?;
    loop {
        let payload = task.payload.clone();
        let frame = if task.text { Frame::text(payload) } else { Frame::binary(payload) };
        socket.send(frame).await?;
        let reply = socket.next().await.context("it ends")?;
        task.answered(reply.opcode() == OpCode::Text, reply.payload())?;
    }
}
