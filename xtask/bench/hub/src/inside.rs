//! How much memory and time does a hub take without a network?

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use clap::ValueEnum;
use tokio::io::{AsyncRead, ReadBuf};
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Limits, PreparedMessage, Role};
use ws_events::engine::{EngineConfig, EngineSession, EngineSessions};
use ws_events::{Hub, SendQueueLimits, Socket};

use crate::Protocol;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Measurement {
    /// Memory of connections, each with a task that reads.
    Conns,
    /// Memory of members of one room.
    Members,
    /// Memory of members of one room that speak Socket.IO, by WebSockets.
    Socketio,
    /// Memory of members of one room that speak Socket.IO, and poll.
    Polling,
    /// Times of operations on one room.
    Times,
}

impl Measurement {
    /// What is measured of members with this protocol, in this order.
    pub(crate) const fn of(protocol: Protocol) -> &'static [Self] {
        match protocol {
            Protocol::Plain => &[Self::Conns, Self::Members, Self::Times],
            Protocol::Socketio => &[Self::Members, Self::Socketio, Self::Polling],
        }
    }
}

/// The half of a transport that has these bytes, and then is never readable.
struct Idle(&'static [u8]);

impl AsyncRead for Idle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

/// A masked frame with the packet by which a client enters the root namespace.
const CONNECT: &[u8] = b"\x81\x82\x00\x00\x00\x0040";

pub(crate) fn run(what: Measurement, members: usize) -> Result<()> {
    kit::runtime(1)?.block_on(async {
        match what {
            Measurement::Conns => {
                let config = config();
                let serve = || {
                    let conn = conn(&config, b"");
                    async move { drop(conn.read().await) }
                };
                let each = grow(members, serve).await?;
                println!("{each:.0} B for each of {members} connections, with a task that reads");
            }
            Measurement::Members => {
                let hub = hub();
                let each = join(&hub, members).await?;
                anyhow::ensure!(hub.to("room").count() == members);
                println!("{each:.0} B for each of {members} members of a room");
            }
            Measurement::Socketio => {
                let hub = hub();
                let sessions = EngineSessions::new(EngineConfig::new());
                // As the service does it: with the limit of the sessions, and in the task.
                let limits = Limits::new().message_size(sessions.config().payload_limit());
                let config = Arc::new(Config::new().limits(limits));
                let serve = || {
                    let (hub, sessions) = (hub.clone(), sessions.clone());
                    let conn = conn(&config, CONNECT);
                    async move {
                        let session = sessions.open_websocket(conn);
                        tokio::join!(session.drive(), hub.serve_engine(session.clone()));
                    }
                };
                let each = grow(members, serve).await?;
                anyhow::ensure!(hub.to("room").count() == members);
                println!("{each:.0} B for each of {members} members with Socket.IO");
            }
            Measurement::Polling => {
                let hub = hub();
                let sessions = EngineSessions::new(EngineConfig::new().max_sessions(usize::MAX));
                let serve = || {
                    let (hub, opened) = (hub.clone(), sessions.open_polling(None));
                    async move {
                        // A session that is missing is counted below.
                        let Ok((session, _)) = opened else { return };
                        tokio::spawn(poll(session.clone()));
                        tokio::join!(session.drive(), hub.serve_engine(session.clone()));
                    }
                };
                let each = grow(members, serve).await?;
                anyhow::ensure!(hub.to("room").count() == members);
                println!(
                    "{each:.0} B for each of {members} members that poll, beside their request"
                );
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

/// Enters the root namespace, and polls.
async fn poll(session: EngineSession) {
    let Ok(post) = session.begin_post() else { return };
    let _ = post.finish(Bytes::from_static(b"40")).await;
    // The answer, and one that does not come.
    while session.get().await.is_ok() {}
}

fn config() -> Arc<Config> {
    Arc::new(Config::new())
}

fn conn(config: &Arc<Config>, input: &'static [u8]) -> Conn {
    let config = Arc::clone(config);
    let transport = tokio::io::join(Idle(input), tokio::io::sink());
    Conn::from_stream(transport, Role::Server, Negotiated::default(), Bytes::new(), config)
}

/// The memory per connection, for `count` connections.
async fn grow<F, Fut>(count: usize, serve: F) -> Result<f64>
where
    F: Fn() -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let pid = i32::try_from(std::process::id())?;
    // The first connection allocates what all share.
    tokio::spawn(serve());
    settle(1).await;
    let before = load::meter::resident_bytes(pid)?;
    for _ in 1..count {
        tokio::spawn(serve());
    }
    settle(count).await;
    Ok((load::meter::resident_bytes(pid)? - before) as f64 / count as f64)
}

/// Adds `members` connections to a hub. Returns the memory of each.
async fn join(hub: &Hub, members: usize) -> Result<f64> {
    let config = config();
    let serve = || {
        let (hub, conn) = (hub.clone(), conn(&config, b""));
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
