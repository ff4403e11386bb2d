//! How fast is tokio-websockets?

use anyhow::Result;
use kit::{Hub, MESSAGE_LIMIT, Options};
use tokio::net::TcpStream;
use tokio_websockets::{Limits, ServerBuilder};

fn main() -> Result<()> {
    let options = Options::of_process();
    let hub = Hub::default();
    kit::serve(options, move |stream| welcome(stream, options, hub.clone()))
}

async fn welcome(stream: TcpStream, options: &'static Options, hub: Hub) -> Result<()> {
    let limits = Limits::default().max_payload_len(Some(MESSAGE_LIMIT));
    let server = ServerBuilder::new().limits(limits);
    let (_, socket) = Box::pin(server.accept(stream)).await?;
    peers::spawn(socket, options, &hub);
    Ok(())
}
