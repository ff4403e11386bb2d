//! How do several processes of the chat act as one?
//!
//! Each process has the history of all rooms since its start, and knows the members of the others.
//! Processes tell each other by server events. A hub without a broker has no other nodes, so the same
//! code serves a single process.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use ws_events::cluster::{ClusterConfig, ClusterStats, HubEvent, NodeId, OutagePolicy};
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

/// A member of a room.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) is_doubtful: bool,
}

/// The members of the rooms in the other processes.
#[derive(Default)]
pub(crate) struct Elsewhere(BTreeMap<(String, NodeId), Vec<Member>>);

impl Elsewhere {
    /// The members of a room.
    pub(crate) fn members(&self, room: &str) -> impl Iterator<Item = &Member> {
        self.0.iter().filter(move |((it, _), _)| it == room).flat_map(|(_, members)| members)
    }

    /// Replaces the members of a room in a process.
    fn set(&mut self, room: &str, node: NodeId, members: Vec<Member>) {
        let key = (room.to_owned(), node);
        if members.is_empty() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, members);
        }
    }

    /// Forgets a process, and returns its rooms.
    fn remove(&mut self, node: NodeId) -> Vec<String> {
        let of_node = self.0.keys().filter(|(_, it)| *it == node);
        let rooms: Vec<_> = of_node.map(|(room, _)| room.clone()).collect();
        self.0.retain(|(_, it), _| *it != node);
        rooms
    }
}

/// Handles what the other processes send, and that they come and go.
pub(crate) fn join(hub: &Hub) {
    let own = hub.clone();
    hub.on_server("said", move |event| {
        let hub = own.clone();
        async move { said(&hub, &event) }
    });
    let own = hub.clone();
    hub.on_server("members", move |event| {
        let hub = own.clone();
        async move { members(&hub, &event) }
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
    history.create_room(&message.to, |room| rules::is_empty(hub, &chat, room));
    if history.find(&message).is_none() {
        let _ = hub.to(&message.to).local().emit("said", &message);
        history.push(message);
    }
}

/// The members of a room in another process.
fn members(hub: &Hub, event: &ServerEvent) {
    let Ok((room, members)) = event.json::<(String, Vec<Member>)>() else { return };
    let Some(chat) = hub.state::<Chat>() else { return };
    let mut history = chat.history.lock();
    history.create_room(&room, |room| rules::is_empty(hub, &chat, room));
    chat.elsewhere.lock().set(&room, event.origin(), members);
    let _ = rules::emit_members_here(hub, &chat, &room);
    let _ = rules::emit_rooms(hub, &chat, &history);
}

/// Tells new processes what this one has, and forgets those that are gone.
async fn watch(hub: Hub) {
    let mut events = hub.events();
    while let Some(event) = events.next().await {
        let Some(chat) = hub.state::<Chat>() else { return };
        let history = chat.history.lock();
        match event {
            HubEvent::NodeUp { .. } => {
                for room in history.rooms() {
                    let _ = rules::emit_members_to_others(&hub, room);
                }
            }
            HubEvent::NodeDown { node } => {
                let rooms = chat.elsewhere.lock().remove(node);
                for room in rooms {
                    let _ = rules::emit_members_here(&hub, &chat, &room);
                }
                let _ = rules::emit_rooms(&hub, &chat, &history);
            }
            _ => {}
        }
    }
}
