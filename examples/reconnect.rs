//! How does one stay connected to a server that comes and goes?
//!
//! Give it the URL of a server, such as one of the `echo` example, and restart that.
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use std::time::Duration;

use anyhow::Context as _;
use ws_client::reconnect::{
    Backoff, ConnectionFailure, ReconnectError, ReconnectEvents, ReconnectState, SendQueueConfig,
};
use ws_client::{Conn, Dial, Error, Reconnect, StatusCode};

/// The first thing that each connection says: what the server has to be told again.
async fn subscribe(conn: Conn) -> Result<(), Error> {
    conn.write("subscribe to the news").await
}

/// Shows what becomes of the connection.
async fn tell(mut events: ReconnectEvents) {
    while let Some(state) = events.next().await {
        match state {
            ReconnectState::Connected => println!("connected"),
            // With all that caused it.
            ReconnectState::Waiting { failure, wait, .. } => {
                println!("{:#}; again in {wait:.1?}", anyhow::Error::new(failure))
            }
            _ => {}
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("where to? ws://… or wss://…")?;
    let conn = Reconnect::new(Dial::new(url))
        .backoff(Backoff::new().first(Duration::from_millis(200)).max(Duration::from_secs(5)))
        .send_queue(SendQueueConfig::at_least_once())
        .on_connect(subscribe)
        .start();
    tokio::spawn(tell(conn.events()));
    // It need not wait for a connection: the send queue does.
    conn.write("hello").await?;
    let ended = loop {
        match conn.read().await {
            Ok(message) => println!("{}", message.as_text().unwrap_or("(bytes)")),
            Err(ended) => break ended,
        }
    };
    match &ended {
        // The server is done with us, and says so.
        ReconnectError::GaveUp(failure @ ConnectionFailure::Ended(_))
            if failure.close_status() == Some(StatusCode::NORMAL_CLOSURE) =>
        {
            Ok(())
        }
        _ => Err(ended.into()),
    }
}
