//! Does the page of the example `socketio_chat` work in a browser, with the official client?

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::program::{Example, skip};

/// The official client, as npm installs it for the interop tests.
const CLIENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../ws-events/socketio/tests/peers/node_modules/socket.io-client/dist/socket.io.min.js"
);

fn browser(argument: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/socketio_chat.mjs")).arg(argument);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn two_pages_and_a_plain_websocket_talk_in_a_browser() {
    let found = browser("--version").output().await;
    let has_browser = found.is_ok_and(|output| output.status.success());
    if !has_browser || !std::path::Path::new(CLIENT).exists() {
        return skip(
            "chromium with `playwright-core`, or `socket.io-client` is missing: npm ci in \
             ws-client/tests/peers and ws-events/socketio/tests/peers, and your distribution's \
             chromium",
        );
    }
    let args = ["--listen", "127.0.0.1:0", "--client", CLIENT];
    let chat = Example::start_for("socketio_chat", &args, Duration::from_secs(200));
    let url = format!("http://{}", chat.address());
    let played = tokio::time::timeout(Duration::from_secs(180), browser(&url).output()).await;
    let played = played.unwrap().unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
}
