//! How fast is tokio-tungstenite over TLS?

use kit::{Hub, MESSAGE_LIMIT, Options};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

fn main() -> anyhow::Result<()> {
    let options = Options::of_process();
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT));
    let hub = Hub::default();
    kit::serve_tls(options, move |stream| {
        let hub = hub.clone();
        let accepting = Box::pin(accept_async_with_config(stream, Some(config)));
        async move {
            let socket = accepting.await?;
            peers::spawn(socket, options, &hub);
            anyhow::Ok(())
        }
    })
}
