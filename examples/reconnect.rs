//! How does one stay connected to a server that comes and goes?
//!
//! Give it the URL of a server, such as one of the `echo` example, and restart that.
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use std::time::Duration;

use anyhow::Context as _;
use ws_client::reconnect::{Backoff, Events, Loss, Outbox, ReconnectError, State};
use ws_client::{Conn, Dial, Error, Reconnect, StatusCode};

/// The first thing that each connection says: what the server has to be told again.
async fn subscribe(conn: Conn) -> Result<(), Error> {
    conn.write("subscribe to the news").await
}

/// Shows what becomes of the connection.
async fn tell(mut events: Events) {
    while let Some(state) = events.next().await {
        match state {
            State::Connected => println!("connected"),
            // With all that caused it.
            State::Waiting { loss, wait, .. } => {
                println!("{:#}; again in {wait:.1?}", anyhow::Error::new(loss))
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
        .outbox(Outbox::at_least_once())
        .on_connect(subscribe)
        .start();
    tokio::spawn(tell(conn.events()));
    // It need not wait for a connection: the outbox does.
    conn.write("hello").await?;
    let ended = loop {
        match conn.read().await {
            Ok(message) => println!("{}", message.as_text().unwrap_or("(bytes)")),
            Err(ended) => break ended,
        }
    };
    match &ended {
        // The server is done with us, and says so.
        ReconnectError::GaveUp(loss @ Loss::Ended(_))
            if loss.close_status() == Some(StatusCode::NORMAL_CLOSURE) =>
        {
            Ok(())
        }
        _ => Err(ended.into()),
    }
}
