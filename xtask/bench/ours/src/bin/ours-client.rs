//! How fast is the client of this workspace?

use anyhow::Result;
use kit::Task;
use tokio::net::TcpStream;
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Message, Role};

fn main() -> Result<()> {
    kit::run_client(echo)
}

async fn echo(stream: TcpStream, task: Task) -> Result<()> {
    let (negotiated, config) = (Negotiated::default(), Config::new());
    let conn = Conn::from_stream(stream, Role::Client, negotiated, Default::default(), config);
    let message = match task.text {
        true => Message::text(std::str::from_utf8(&task.payload)?),
        false => Message::binary(task.payload.clone()),
    };
    loop {
        conn.write(&message).await?;
        let reply = conn.read().await?;
        task.answered(reply.is_text(), reply.as_bytes())?;
    }
}
