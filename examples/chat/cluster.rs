//! How do several processes of the chat act as one?
//!
//! Each process has the history of all rooms since its start: messages go to the others as server
//! events. Presence knows the members of all processes. A hub without a broker has no other nodes, so the
//! same code serves a single process.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ws_events::cluster::{ClusterConfig, ClusterStats, HubEvent, OutagePolicy};
use ws_events::{Hub, ServerEvent};
use ws_events_nats::{NatsBroker, NatsConfig};
use ws_events_redis::{RedisBroker, RedisConfig};

use crate::history::ChatMessage;
use crate::rules::{self, Chat};

/// The settings of a cluster for the URL of a broker.
pub(crate) fn config(url: &str) -> Result<ClusterConfig> {
    let scheme = url.split_once("://").context("the URL of a broker has a scheme")?.0;
    let config = match scheme {
        "nats" | "tls" => ClusterConfig::new(NatsBroker::new(NatsConfig::new(url))?),
        _ => ClusterConfig::new(RedisBroker::new(RedisConfig::new(url))?),
    };
    // A short restart of the broker loses nothing. A node that was killed delays a user who connects.
    let outage = OutagePolicy::buffer(1024 * 1024, Duration::from_secs(10));
    Ok(config.prefix("chat").outage(outage).request_timeout(Duration::from_secs(1)))
}

/// Handles what the other processes send, and tells new ones which rooms there are.
pub(crate) fn join(hub: &Hub) {
    let own = hub.clone();
    hub.on_server("said", move |event| {
        let hub = own.clone();
        async move { said(&hub, &event) }
    });
    let own = hub.clone();
    hub.on_server("room", move |event| {
        let hub = own.clone();
        async move { opened(&hub, &event) }
    });
    if ClusterStats::of(hub).is_some() {
        tokio::spawn(watch(hub.clone()));
    }
}

/// A message to a room, from another process.
fn said(hub: &Hub, event: &ServerEvent) {
    let (Ok(message), Some(chat)) = (event.json::<ChatMessage>(), hub.state::<Chat>()) else {
        return;
    };
    let mut history = chat.history.lock();
    rules::open_room(hub, &chat, &mut history, &message.to);
    if history.find(&message).is_none() {
        let _ = hub.to(&message.to).local().emit("said", &message);
        history.push(message);
    }
}

/// Another process has a room.
fn opened(hub: &Hub, event: &ServerEvent) {
    if let (Ok(room), Some(chat)) = (event.json::<String>(), hub.state::<Chat>()) {
        rules::open_room(hub, &chat, &mut chat.history.lock(), &room);
    }
}

/// Tells new processes which rooms this one has.
async fn watch(hub: Hub) {
    let mut events = hub.events();
    while let Some(event) = events.next().await {
        let Some(chat) = hub.state::<Chat>() else { return };
        if let HubEvent::NodeUp { .. } = event {
            for room in chat.history.lock().rooms() {
                let _ = hub.server_emit("room", room);
            }
        }
    }
}
