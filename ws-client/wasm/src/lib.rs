//! Which part of a program is the same on Linux and in a browser?
//!
//! `tests/browser.rs` runs [`bot`] in both: a test calls it, and so does the example `scenes`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use ws_client::reconnect::{Backoff, ReconnectError};
use ws_client::{Conn, Dial, Error, Reconnect, StatusCode};

/// A question, or the end of them.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// Asks for the sum.
    Add(Vec<i64>),
    /// The bot has done its work.
    Leave,
}

/// What the bot sends.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The first message on each connection.
    Subscribe(String),
    /// The answer to [`Command::Add`].
    Sum(i64),
}

/// Answers the commands of a server until one says `Leave`, over as many connections as needed.
/// Returns the number of answers.
///
/// # Errors
///
/// When the connection is given up.
pub async fn bot(url: &str, room: &str) -> Result<usize, ReconnectError> {
    let room = room.to_owned();
    let conn = Reconnect::new(Dial::new(url).subprotocols(["bot.v1"]))
        .backoff(Backoff::new().first(Duration::from_millis(10)))
        .on_connect(move |conn| subscribe(conn, room.clone()))
        .connect()
        .await?;
    let mut answers = 0;
    while let Command::Add(numbers) = conn.read_json().await? {
        conn.write_json(&Answer::Sum(numbers.iter().sum())).await?;
        answers += 1;
    }
    conn.flush().await?;
    // The server may have closed first.
    let _ = conn.close(StatusCode::NORMAL_CLOSURE, "").await;
    Ok(answers)
}

async fn subscribe(conn: Conn, room: String) -> Result<(), Error> {
    conn.write_json(&Answer::Subscribe(room)).await
}
