//! How fast is wtx?

// wtx enables simdutf8 without run-time detection of processor features. With detection, its UTF-8
// check is several times faster.
use simdutf8 as _;

use anyhow::Result;
use kit::{MESSAGE_LIMIT, Options};
use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::rng::{Xorshift64, simple_seed};
use wtx::web_socket::{OpCode, WebSocket, WebSocketBuffer, WebSocketPayloadOrigin};

fn main() -> Result<()> {
    let options = Options::of_process();
    kit::serve(options, welcome)
}

async fn welcome(mut stream: TcpStream) -> Result<()> {
    // The handshake of wtx needs a cryptography library.
    Box::pin(kit::open(&mut stream)).await?;
    tokio::spawn(echo(stream));
    Ok(())
}

async fn echo(stream: TcpStream) -> Result<()> {
    let random = Xorshift64::from(simple_seed());
    let buffer = WebSocketBuffer::new();
    let mut socket = WebSocket::<(), _, _, _, false>::new((), false, random, stream, buffer);
    socket.set_max_payload_len(MESSAGE_LIMIT);
    let (mut common, mut reader, mut writer) = socket.split_mut();
    let mut payload = Vector::new();
    loop {
        let origin = WebSocketPayloadOrigin::Adaptive;
        let mut frame = reader.read_frame(&mut payload, &mut common, origin).await?;
        match frame.op_code() {
            OpCode::Text | OpCode::Binary => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
        payload.clear();
    }
}
