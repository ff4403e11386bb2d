//! How fast is axum?

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt as _;
use kit::{Hub, MESSAGE_LIMIT, Mode, Options};
use peers::{echo, pass_on};

fn main() -> Result<()> {
    let options = Options::of_process();
    let router = Router::new().route("/", any(answer)).with_state((options, Hub::default()));
    kit::runtime(options.workers)?.block_on(async {
        let listener = kit::listener(options).await?.tap_io(|stream| {
            // An error only makes the connection slower.
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, router).await?)
    })
}

async fn answer(
    State((options, hub)): State<(&'static Options, Hub)>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = upgrade.max_message_size(MESSAGE_LIMIT);
    let upgrade = match options.is("rb16k") {
        true => upgrade.read_buffer_size(16 * 1024),
        false => upgrade,
    };
    upgrade.on_upgrade(move |socket| async move {
        // Errors do not matter: the load generator closes connections without a handshake.
        let _ = match options.mode {
            Mode::Echo | Mode::Burst => echo(socket).await,
            Mode::Fanout => pass_on(socket, hub.subscribe()).await,
        };
    })
}
