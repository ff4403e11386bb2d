//! How does a server take its listening socket from systemd, so that restarts refuse no client?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use tokio::select;
use tokio::time::sleep;
use ws_server_axum::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, serve_stream, shutdown_signal,
    websocket,
};

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Takes the socket of systemd, as each example with `examples::Listen` does: see `src/lib.rs`.
    let listener = examples::listen("Echoes, on a socket of systemd or on an address").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let app = Router::new().route("/", websocket(options, echo));
    // Not `serve_until`: its signal ends the drain, and it accepts until then.
    let mut stop = pin!(shutdown_signal());
    loop {
        let accepted = select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                stream.set_nodelay(true)?;
                tokio::spawn(serve_stream(stream, Some(peer), app.clone()));
            }
            // Too many open files, or the client has left.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    // systemd keeps the socket open: from now on, clients wait there for the next process.
    drop(listener);
    // Those that were accepted just now are about to send their handshakes.
    sleep(Duration::from_secs(1)).await;
    tracker.drain(DrainConfig::timeout(Duration::from_secs(30))).await;
    Ok(())
}
