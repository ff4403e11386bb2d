//! What does a hub take by itself, without a network?

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use clap::ValueEnum;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, PreparedMessage, Role};
use ws_events::{Hub, Outbox, Socket};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum What {
    /// Memory of connections, each with a task that reads it.
    Conns,
    /// Memory of members, in one room.
    Members,
    /// Times, with members in one room.
    Times,
}

/// A transport on which nothing ever happens.
struct Silence;

impl AsyncRead for Silence {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Silence {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn run(what: What, members: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match what {
            What::Conns => {
                let each = grow(members, |conn| async move { drop(conn.read().await) }).await?;
                println!("{each:.0} B for each of {members} connections, with a task that reads");
            }
            What::Members => {
                let hub = hub();
                let each = grow(members, |conn| {
                    let hub = hub.clone();
                    async move { hub.serve(conn).await }
                })
                .await?;
                anyhow::ensure!(hub.to("room").count() == members);
                println!("{each:.0} B for each of {members} members of a room");
            }
            What::Times => times(members).await?,
        }
        Ok(())
    })
}

fn hub() -> Hub {
    let hub = Hub::builder().outbox(Outbox::new()).build();
    hub.on_connect(async |socket: Socket| socket.join("room"));
    hub
}

fn conn(config: &std::sync::Arc<Config>) -> Conn {
    let config = std::sync::Arc::clone(config);
    Conn::from_stream(Silence, Role::Server, Negotiated::default(), Bytes::new(), config)
}

/// How much memory each of so many connections takes.
async fn grow<F, Fut>(count: usize, serve: F) -> Result<f64>
where
    F: Fn(Conn) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let config = std::sync::Arc::new(Config::new());
    let pid = i32::try_from(std::process::id())?;
    // What is allocated once is not counted.
    tokio::spawn(serve(conn(&config)));
    settle(1).await;
    let before = load::meter::resident_bytes(pid)?;
    for _ in 1..count {
        tokio::spawn(serve(conn(&config)));
    }
    settle(count).await;
    Ok((load::meter::resident_bytes(pid)? - before) as f64 / count as f64)
}

/// Gives so many tasks their turns, several times over.
async fn settle(tasks: usize) {
    for _ in 0..tasks.max(100) / 8 {
        tokio::task::yield_now().await;
    }
}

async fn times(members: usize) -> Result<()> {
    let hub = hub();
    grow(members, |conn| {
        let hub = hub.clone();
        async move { hub.serve(conn).await }
    })
    .await?;
    let sockets = hub.everyone().sockets();
    let message = PreparedMessage::new("x".repeat(100));
    let (room, other) = (hub.to("room"), hub.to("room").except("nobody").volatile());
    let mut best = [f64::MAX; 5];
    for _ in 0..7 {
        let times = [
            per(members, || assert_eq!(room.send_prepared(&message).queued, members)),
            // Their tasks have been woken, and have not run yet.
            per(members, || assert_eq!(other.send_prepared(&message).queued, members)),
            per(members, || sockets.iter().for_each(|socket| _ = socket.join("new"))),
            per(members, || sockets.iter().for_each(|socket| _ = socket.leave("new"))),
            per(members, || assert_eq!(hub.everyone().except_room("none").count(), members)),
        ];
        for (best, time) in best.iter_mut().zip(times) {
            *best = best.min(time);
        }
        settle(members).await;
    }
    let [asleep, awake, join, leave, walk] = best;
    println!("{asleep:.0} ns to put a message into an outbox, and wake; {members} members");
    println!("{awake:.0} ns to put a message into the outbox of one who is awake");
    println!("{:.0} ns to join and leave a room of {members}", join + leave);
    println!("{walk:.1} ns for each member on the way through a room");
    Ok(())
}

/// How many nanoseconds for each of so many.
fn per(count: usize, run: impl FnOnce()) -> f64 {
    let started = Instant::now();
    run();
    started.elapsed().as_nanos() as f64 / count as f64
}
