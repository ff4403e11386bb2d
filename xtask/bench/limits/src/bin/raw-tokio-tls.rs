//! How fast is an echo of bytes over TLS, without a protocol, and how little memory can it hold?

use std::io::Result;

use kit::Options;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _};

fn main() -> anyhow::Result<()> {
    kit::serve_tls(Options::of_process(), echo)
}

/// Holds no memory beside that of TLS while idle.
async fn echo<T>(mut stream: T) -> Result<()>
where
    T: AsyncRead + AsyncWrite + tokio::io::AsyncBufRead + Unpin,
{
    if Box::pin(kit::open(&mut stream)).await.is_err() {
        return Ok(());
    }
    loop {
        let received = stream.fill_buf().await?.to_vec();
        if received.is_empty() {
            return Ok(());
        }
        stream.consume(received.len());
        stream.write_all(&received).await?;
        stream.flush().await?;
    }
}
