//! How fast is the client of this workspace that reconnects?

use std::net::SocketAddr;

use anyhow::Result;
use kit::Task;
use ws_client::{Dial, Message, Reconnect};

fn main() -> Result<()> {
    kit::run_dialling_client(echo)
}

async fn echo(server: SocketAddr, task: Task) -> Result<()> {
    let conn = Reconnect::new(Dial::new(format!("ws://{server}/"))).connect().await?;
    let message = match task.text {
        true => Message::text(std::str::from_utf8(&task.payload)?),
        false => Message::binary(task.payload.clone()),
    };
    loop {
        conn.write(message.clone()).await?;
        let reply = conn.read().await?;
        task.answered(reply.is_text(), reply.as_bytes())?;
    }
}
