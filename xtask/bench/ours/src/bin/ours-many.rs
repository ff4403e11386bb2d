//! How fast is the server of this workspace when it sends many messages for one?

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use kit::{BURST, Mode, Options};
use ours::Handler;
use ws_core::{Conn, Error, PreparedMessage};

fn main() -> Result<()> {
    let options = Options::of_process();
    match options.mode {
        Mode::Burst => serve(options, |conn| burst(conn, options.writers)),
        Mode::Echo | Mode::Fanout => {
            let room: &'static Room = Box::leak(Box::default());
            serve(options, |conn| publish(conn, room))
        }
    }
}

fn serve(options: &'static Options, handler: impl Handler) -> Result<()> {
    match options.is("axum") || options.is("warp") {
        true => ours::serve_frameworks(options, handler),
        false => ours::serve_streams(options, handler),
    }
}

/// Sends each message many times, by several tasks that write to one connection.
async fn burst(conn: Conn, writers: usize) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        for _ in 0..writers {
            let (conn, message) = (conn.clone(), message.clone());
            tokio::spawn(async move {
                for _ in 0..BURST / writers {
                    conn.write(message.clone()).await?;
                }
                Ok::<(), Error>(())
            });
        }
    }
}

/// All connections.
#[derive(Default)]
struct Room(Mutex<Vec<Conn>>);

/// Sends each message of a connection to all others.
async fn publish(conn: Conn, room: &Room) -> Result<(), Error> {
    room.0.lock().unwrap_or_else(PoisonError::into_inner).push(conn.clone());
    loop {
        let prepared = PreparedMessage::new(conn.read().await?);
        // The lock is not held across an await.
        let all = room.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for other in all.iter().filter(|other| other.id() != conn.id()) {
            other.write_prepared(&prepared).await?;
        }
    }
}
