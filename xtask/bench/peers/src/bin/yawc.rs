//! How fast is yawc?

use anyhow::Result;
use futures_util::StreamExt as _;
use kit::{Deflate, Hub, MESSAGE_LIMIT, Options};
use tokio::net::TcpStream;
use yawc::{Role, WebSocket};

fn main() -> Result<()> {
    let options = Options::of_process();
    let settings = settings(options);
    let hub = Hub::default();
    kit::serve(options, move |stream| welcome(stream, options, settings.clone(), hub.clone()))
}

/// UTF-8 checks are off by default in yawc.
fn settings(options: &Options) -> yawc::Options {
    let settings = yawc::Options::default()
        .with_utf8()
        .with_limits(MESSAGE_LIMIT, 2 * MESSAGE_LIMIT)
        .without_compression();
    match options.deflate {
        Deflate::Off => settings,
        Deflate::Takeover => settings.with_balanced_compression(),
        Deflate::NoTakeover => settings
            .with_balanced_compression()
            .server_no_context_takeover()
            .client_no_context_takeover(),
    }
}

async fn welcome(
    mut stream: TcpStream,
    options: &'static Options,
    settings: yawc::Options,
    hub: Hub,
) -> Result<()> {
    // The handshake of yawc needs hyper.
    Box::pin(kit::open_with(&mut stream, options.deflate)).await?;
    let extensions = options.deflate.extensions();
    let socket =
        WebSocket::from_stream_with_extensions(stream, Role::Server, extensions, settings)?;
    // Its stream has frames and no errors.
    peers::spawn(socket.map(Ok), options, &hub);
    Ok(())
}
