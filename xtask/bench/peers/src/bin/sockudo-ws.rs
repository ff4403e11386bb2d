//! How fast is sockudo-ws?

use anyhow::Result;
use kit::{Deflate, Hub, MESSAGE_LIMIT, Options};
use peers::spawn;
use sockudo_ws::{CompressedWebSocketStream, Compression, Config, WebSocketStream};
use tokio::net::TcpStream;

fn main() -> Result<()> {
    let options = Options::of_process();
    let compression = match options.deflate {
        Deflate::Off => Compression::Disabled,
        Deflate::NoTakeover => Compression::Shared,
        Deflate::Takeover => Compression::Dedicated,
    };
    let config = Config::builder()
        .max_message_size(MESSAGE_LIMIT)
        .max_frame_size(MESSAGE_LIMIT)
        .compression(compression)
        .build();
    let hub = Hub::default();
    kit::serve(options, move |stream| welcome(stream, options, config.clone(), hub.clone()))
}

async fn welcome(
    mut stream: TcpStream,
    options: &'static Options,
    config: Config,
    hub: Hub,
) -> Result<()> {
    // Its own handshake does not negotiate compression.
    Box::pin(kit::open_with(&mut stream, options.deflate)).await?;
    match config.compression.to_deflate_config() {
        Some(deflate) => {
            spawn(CompressedWebSocketStream::server(stream, config, deflate), options, &hub);
        }
        None => spawn(WebSocketStream::server(stream, config), options, &hub),
    }
    Ok(())
}
