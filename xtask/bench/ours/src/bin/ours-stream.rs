//! How fast is a connection that is used as a `Stream` and a `Sink`?

use futures_util::{SinkExt as _, TryStreamExt as _};
use ws_core::{Conn, Error};

fn main() -> anyhow::Result<()> {
    ours::serve_streams(kit::Options::of_process(), echo)
}

async fn echo(conn: Conn) -> Result<(), Error> {
    let mut messages = conn.messages();
    while let Some(message) = messages.try_next().await? {
        messages.send(message).await?;
    }
    Ok(())
}
