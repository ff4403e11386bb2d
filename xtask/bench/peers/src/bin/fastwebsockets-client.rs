//! How fast is the client of fastwebsockets?

use anyhow::Result;
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role, WebSocket};
use kit::Task;
use tokio::net::TcpStream;

fn main() -> Result<()> {
    kit::run_client(echo)
}

async fn echo(stream: TcpStream, task: Task) -> Result<()> {
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Client));
    let opcode = if task.text { OpCode::Text } else { OpCode::Binary };
    loop {
        let payload = Payload::Borrowed(&task.payload);
        socket.write_frame(Frame::new(true, opcode, None, payload)).await?;
        let reply = socket.read_frame().await?;
        task.answered(reply.opcode == OpCode::Text, &reply.payload)?;
    }
}
