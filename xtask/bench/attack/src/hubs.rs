//! Which hubs are attacked and loaded?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::routing::any_service;
use tokio::net::TcpListener;
use ws_core::{AcceptOptions, Conn, Message};
use ws_events::cluster::ClusterConfig;
use ws_events::{Event, History, Hub, PresenceOptions, Protocol, Recovery, Socket};
use ws_events_nats::{NatsBroker, NatsConfig};
use ws_events_redis::{RedisBroker, RedisConfig, RedisHistory, RedisSessions};
use ws_events_socketio::SocketIo;

use crate::serve::Use;

/// What the hub has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<[AtomicU64; 3]>);

impl Counters {
    const CONNECTS: usize = 0;
    const DISCONNECTS: usize = 1;
    const ERRORS: usize = 2;

    /// The counts of `connect`, `disconnect` and `error`.
    pub(crate) fn get(&self) -> [u64; 3] {
        [0, 1, 2].map(|which| self.0[which].load(Relaxed))
    }

    fn add(&self, which: usize) {
        self.0[which].fetch_add(1, Relaxed);
    }
}

/// The hub of a use, if it has one.
pub(crate) fn hub(usage: Use, broker: Option<&str>, counters: &Counters) -> Result<Option<Hub>> {
    let hub = match usage {
        Use::Echo | Use::EchoSelect => return Ok(None),
        Use::Hub => Hub::builder().envelope().build(),
        Use::HubPlain | Use::HubSocketIo => Hub::builder().build(),
        Use::HubService => service(broker)?,
    };
    if usage == Use::HubPlain {
        hub.on_message(async |socket: Socket, message: Message| {
            // A client that floods does not read enough.
            if message.len() == 16 {
                let _ = socket.send(message);
            }
        });
    }
    for (event, which) in [
        (Event::Connect, Counters::CONNECTS),
        (Event::Disconnect, Counters::DISCONNECTS),
        (Event::Error, Counters::ERRORS),
    ] {
        let counters = counters.clone();
        hub.on(event, move |_: Socket| {
            counters.add(which);
            std::future::ready(())
        });
    }
    hub.on("join", async |socket: Socket, message: Message| {
        let _ = socket.join(message.as_text().unwrap_or_default().trim_matches('"'));
    });
    // `"ROOM:TEXT"`, to all others in the room.
    hub.on("say", async |socket: Socket, message: Message| {
        let text = message.as_text().unwrap_or_default().trim_matches('"');
        let room = text.split_once(':').map_or(text, |(room, _)| room);
        let _ = socket.to(room).emit("said", text);
    });
    hub.on("kick", async |socket: Socket| socket.close(ws_core::StatusCode::GOING_AWAY, "kick"));
    hub.on("all", async |socket: Socket, message: Message| {
        let text: String = message.as_text().unwrap_or_default().into();
        let _ = socket.hub().emit("said", &text);
    });
    hub.on("echo", async |socket: Socket, message: Message| {
        socket.emit("echo", message.as_text().unwrap_or_default())
    });
    if usage == Use::HubService {
        add_handlers(&hub);
    }
    Ok(Some(hub))
}

/// How long a lost session waits, and a device in the list of presence. The end of the load waits, too.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_millis(500);

/// A hub with sessions, histories and presence, which may be a node of a cluster. Each conversation makes
/// a room, so histories are short: memory would grow otherwise.
fn service(broker: Option<&str>) -> Result<Hub> {
    let recovery = Recovery::new().window(WINDOW);
    let builder = Hub::builder()
        .envelope()
        .presence(PresenceOptions::new().grace(GRACE).interval(Duration::from_millis(20)))
        .history("kept-*", History::new().age(3 * WINDOW));
    match broker {
        None => Ok(builder.recovery(recovery).build()),
        Some(url) if url.starts_with("redis:") => {
            let config = RedisConfig::new(url);
            let sessions = RedisSessions::new(config.clone())?;
            let builder = builder
                .history_store(RedisHistory::new(config.clone())?)
                .recovery(recovery.store(sessions).stored_only());
            Ok(builder.build_clustered(ClusterConfig::new(RedisBroker::new(config)?))?)
        }
        Some(url) => {
            let broker = NatsBroker::new(NatsConfig::new(url))?;
            Ok(builder.recovery(recovery).build_clustered(ClusterConfig::new(broker))?)
        }
    }
}

/// `"ROOM:TEXT"` of a message.
fn pair(message: &Message) -> (&str, &str) {
    let text = message.as_text().unwrap_or_default().trim_matches('"');
    text.split_once(':').unwrap_or((text, ""))
}

/// More events, for sessions and presence.
fn add_handlers(hub: &Hub) {
    // To all in the room, in the order of its history.
    hub.on("note", async |socket: Socket, message: Message| {
        let (room, text) = pair(&message);
        let _ = socket.hub().to(room).emit("noted", text);
    });
    hub.on("track", async |socket: Socket, message: Message| {
        let (room, key) = pair(&message);
        let _ = socket.hub().presence(room).track(&socket, key, &0);
    });
    hub.on("untrack", async |socket: Socket, message: Message| {
        let (room, key) = pair(&message);
        socket.hub().presence(room).untrack(&socket, key);
    });
    hub.on("who", async |socket: Socket, message: Message| {
        let list = socket.hub().presence(pair(&message).0).list();
        let keys: Vec<_> = list.keys().map(|key| &**key).collect();
        socket.emit("who", &keys)
    });
}

/// Serves a hub to clients with and without sessions, and to those of Socket.IO.
pub(crate) async fn serve_all(
    listener: TcpListener,
    hub: &Hub,
    options: AcceptOptions,
) -> Result<()> {
    let sessions = hub.clone();
    let resumable = move |conn: Conn| {
        let hub = sessions.clone();
        async move { hub.serve_as(conn, Protocol::Resumable).await }
    };
    let socketio = SocketIo::new(hub).options(options.clone());
    let plain = ws_server_axum::websocket::<(), _, _>(options.clone(), hub.handler());
    let resumable = ws_server_axum::websocket::<(), _, _>(options, resumable);
    let app: Router = Router::new()
        .route("/", any_service(plain))
        .route("/resume", any_service(resumable))
        .nest_service("/socket.io/", ws_server_axum::nested(socketio));
    Ok(ws_server_axum::serve(listener, app).await?)
}
