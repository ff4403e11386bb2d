//! How much memory and time does a hub take without a network?

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use clap::ValueEnum;
use tokio::io::{AsyncRead, ReadBuf};
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, PreparedMessage, Role};
use ws_events::{Hub, SendQueueLimits, Socket};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Measurement {
    /// Memory of connections, each with a task that reads.
    Conns,
    /// Memory of members of one room.
    Members,
    /// Times of operations on one room.
    Times,
}

/// The half of a transport that is never readable.
struct Idle;

impl AsyncRead for Idle {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

pub(crate) fn run(what: Measurement, members: usize) -> Result<()> {
    kit::runtime(1)?.block_on(async {
        match what {
            Measurement::Conns => {
                let each = grow(members, |conn| async move { drop(conn.read().await) }).await?;
                println!("{each:.0} B for each of {members} connections, with a task that reads");
            }
            Measurement::Members => {
                let hub = hub();
                let each = join(&hub, members).await?;
                anyhow::ensure!(hub.to("room").count() == members);
                println!("{each:.0} B for each of {members} members of a room");
            }
            Measurement::Times => times(members).await?,
        }
        Ok(())
    })
}

fn hub() -> Hub {
    let hub = Hub::builder().send_queue(SendQueueLimits::new()).build();
    hub.on_connect(async |socket: Socket| socket.join("room"));
    hub
}

fn conn(config: &std::sync::Arc<Config>) -> Conn {
    let config = std::sync::Arc::clone(config);
    let transport = tokio::io::join(Idle, tokio::io::sink());
    Conn::from_stream(transport, Role::Server, Negotiated::default(), Bytes::new(), config)
}

/// The memory per connection, for `count` connections.
async fn grow<F, Fut>(count: usize, serve: F) -> Result<f64>
where
    F: Fn(Conn) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let config = std::sync::Arc::new(Config::new());
    let pid = i32::try_from(std::process::id())?;
    // The first connection allocates what all share.
    tokio::spawn(serve(conn(&config)));
    settle(1).await;
    let before = load::meter::resident_bytes(pid)?;
    for _ in 1..count {
        tokio::spawn(serve(conn(&config)));
    }
    settle(count).await;
    Ok((load::meter::resident_bytes(pid)? - before) as f64 / count as f64)
}

/// Adds `members` connections to a hub. Returns the memory of each.
async fn join(hub: &Hub, members: usize) -> Result<f64> {
    let serve = |conn| {
        let hub = hub.clone();
        async move { hub.serve(conn).await }
    };
    grow(members, serve).await
}

/// Lets `tasks` tasks run several times.
async fn settle(tasks: usize) {
    for _ in 0..tasks.max(100) / 8 {
        tokio::task::yield_now().await;
    }
}

async fn times(members: usize) -> Result<()> {
    let hub = hub();
    join(&hub, members).await?;
    let sockets = hub.everyone().sockets();
    let message = PreparedMessage::new("x".repeat(100));
    let (room, other) = (hub.to("room"), hub.to("room").except("nobody").volatile());
    let mut best = [f64::MAX; 5];
    for _ in 0..7 {
        let times = [
            per(members, || assert_eq!(room.send_prepared(&message).queued, members)),
            // The tasks are woken already, and have not run yet.
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
    println!("{asleep:.0} ns to enqueue a message and wake; {members} members");
    println!("{awake:.0} ns to enqueue a message for a member whose task is woken already");
    println!("{:.0} ns to join and leave a room of {members}", join + leave);
    println!("{walk:.1} ns per member to iterate a room");
    Ok(())
}

/// The nanoseconds of `run`, divided by `count`.
fn per(count: usize, run: impl FnOnce()) -> f64 {
    let started = Instant::now();
    run();
    started.elapsed().as_nanos() as f64 / count as f64
}
