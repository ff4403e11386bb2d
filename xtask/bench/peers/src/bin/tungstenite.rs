//! How fast is tokio-tungstenite?

use anyhow::Result;
use kit::{Hub, MESSAGE_LIMIT, Options};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

fn main() -> Result<()> {
    let options = Options::of_process();
    let hub = Hub::default();
    kit::serve(options, move |stream| welcome(stream, options, hub.clone()))
}

async fn welcome(stream: TcpStream, options: &'static Options, hub: Hub) -> Result<()> {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT));
    let config = match options.is("rb16k") {
        true => config.read_buffer_size(16 * 1024),
        false => config,
    };
    let socket = Box::pin(accept_async_with_config(stream, Some(config))).await?;
    peers::spawn(socket, options, &hub);
    Ok(())
}
