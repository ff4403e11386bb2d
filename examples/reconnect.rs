//! How do I reconnect automatically, and resend what was not delivered?
//!
//! Pass the URL of a server, such as the `echo` example, and restart the server.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::time::Duration;

use ws_client::reconnect::{
    Backoff, ConnectionFailure, ReconnectError, ReconnectEvents, ReconnectState, SendQueueConfig,
};
use ws_client::{CloseInitiator, Conn, Dial, Error, Escaped, Reconnect, StatusCode};

/// The first message of each connection, to restore the server's state.
async fn subscribe(conn: Conn) -> Result<(), Error> {
    conn.write("subscribe to the news").await
}

/// Prints the state changes of the connection.
async fn print_states(mut events: ReconnectEvents) {
    while let Some(state) = events.next().await {
        match state {
            ReconnectState::Connected => println!("connected"),
            ReconnectState::Waiting { failure, wait, .. } => {
                println!("{failure}; retrying in {wait:.1?}")
            }
            _ => {}
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = examples::url("Subscribes to news, and reconnects automatically.");
    let conn = Reconnect::new(Dial::new(url))
        .backoff(Backoff::new().first(Duration::from_millis(200)).max(Duration::from_secs(5)))
        .send_queue(SendQueueConfig::at_least_once())
        .on_connect(subscribe)
        .start();
    tokio::spawn(print_states(conn.events()));
    // Does not wait for the connection: the message is queued until the server confirms it.
    conn.write("hello").await?;
    let ended = loop {
        match conn.read().await {
            // A peer must not control the terminal.
            Ok(message) => println!("{}", Escaped::new(message.as_text().unwrap_or("(bytes)"))),
            Err(ended) => break ended,
        }
    };
    match &ended {
        // The server closed the connection normally.
        ReconnectError::GaveUp(ConnectionFailure::Ended(end))
            if end.by == CloseInitiator::Peer
                && end.error.is_close(&[StatusCode::NORMAL_CLOSURE]) =>
        {
            Ok(())
        }
        _ => Err(ended.into()),
    }
}
