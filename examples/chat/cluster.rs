//! How do several processes of the chat act as one?
//!
//! With Redis, all processes share the histories of the rooms and the sessions of the users, and these
//! outlive each process: a user whose process dies goes on at another one. With NATS, each process keeps
//! what was said since its start. Presence knows the members of all processes. A hub
//! without a broker has no other nodes, so the same code serves a single process.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ws_events::cluster::{ClusterConfig, ClusterStats, HubEvent, OutagePolicy};
use ws_events::{Hub, HubBuilder, Recovery, ServerEvent};
use ws_events_nats::{NatsBroker, NatsConfig};
use ws_events_redis::{RedisBroker, RedisConfig, RedisHistory, RedisSessions};

use crate::rules::{self, Chat};

/// Builds a hub for the URL of a broker.
pub(crate) fn build(mut builder: HubBuilder, mut recovery: Recovery, url: &str) -> Result<Hub> {
    let scheme = url.split_once("://").context("the URL of a broker has a scheme")?.0;
    let config = match scheme {
        "nats" | "tls" => ClusterConfig::new(NatsBroker::new(NatsConfig::new(url))?),
        _ => {
            let config = RedisConfig::new(url);
            builder = builder.history_store(RedisHistory::new(config.clone())?.prefix("chat")?);
            let sessions = RedisSessions::new(config.clone())?.prefix("chat")?;
            // What is in no history is sent again soon, such as who is here.
            recovery = recovery.store(sessions).stored_only();
            ClusterConfig::new(RedisBroker::new(config)?)
        }
    };
    // A short restart of the broker loses nothing. A node that was killed delays a user who connects.
    let outage = OutagePolicy::buffer(1024 * 1024, Duration::from_secs(10));
    let config = config.prefix("chat").outage(outage).request_timeout(Duration::from_secs(1));
    Ok(builder.recovery(recovery).build_clustered(config)?)
}

/// Learns from the other processes which rooms there are, and tells new ones.
pub(crate) fn join(hub: &Hub) {
    let own = hub.clone();
    hub.on_server("room", move |event| {
        let hub = own.clone();
        async move { opened(&hub, &event) }
    });
    if ClusterStats::of(hub).is_some() {
        tokio::spawn(watch(hub.clone()));
    }
}

/// Another process has a room.
fn opened(hub: &Hub, event: &ServerEvent) {
    if let (Ok(room), Some(chat)) = (event.json::<String>(), hub.state::<Chat>()) {
        rules::open_room(hub, &chat, &mut chat.rooms.lock(), &room);
    }
}

/// Tells new processes which rooms this one has.
async fn watch(hub: Hub) {
    let mut events = hub.events();
    while let Some(event) = events.next().await {
        let Some(chat) = hub.state::<Chat>() else { return };
        if let HubEvent::NodeUp { .. } = event {
            for room in chat.rooms.lock().names() {
                let _ = hub.server_emit("room", room);
            }
        }
    }
}
