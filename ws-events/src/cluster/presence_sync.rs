//! When and how do nodes exchange presence?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::time::{Duration, sleep};

use super::engine::ClusterEngine;
use super::envelope::{AnswerPart, Body, Question};
use super::host::{ClusterHost, PresenceHost};
use super::node::NodeId;
use super::presence_body::PresenceOp;
use crate::broker::{InvalidSubject, Subject};

/// How long a batch of presence may be later than the heartbeat that has its version.
const PRESENCE_DELAY: Duration = Duration::from_millis(250);

/// Whether this node exchanges presence, and on which subject.
pub(super) struct PresenceExchange {
    /// Nodes that use presence subscribe to it.
    subject: Subject,
    /// The application uses presence.
    is_used: AtomicBool,
    /// The task of the cluster has subscribed.
    is_started: AtomicBool,
}

impl PresenceExchange {
    pub(super) fn new(prefix: &str) -> Result<Self, InvalidSubject> {
        Ok(Self {
            subject: Subject::new(format!("{prefix}.presence"))?,
            is_used: AtomicBool::new(false),
            is_started: AtomicBool::new(false),
        })
    }

    /// Subscribes, once the application uses presence. Returns whether it did so now.
    pub(super) fn start(&self, engine: &ClusterEngine) -> bool {
        if self.is_started.load(Relaxed) || !self.is_used.load(Relaxed) {
            return false;
        }
        self.is_started.store(true, Relaxed);
        engine.subscribe(std::slice::from_ref(&self.subject));
        true
    }

    /// The version of the entries of this node, for its heartbeats.
    pub(super) fn version(&self, host: &dyn ClusterHost) -> Option<u64> {
        let presence = self.is_started.load(Relaxed).then(|| host.presence());
        presence.flatten().map(|presence| presence.version())
    }
}

impl ClusterEngine {
    /// The application uses presence: it is exchanged with the other nodes from now on.
    pub(crate) fn use_presence(&self) {
        if !self.is_emitter {
            self.presence.is_used.store(true, Relaxed);
            self.core.wake.notify_one();
        }
    }

    /// Publishes changes of the presence of this node. If they are lost, the other nodes ask for all.
    pub(crate) fn publish_presence(&self, version: u64, ops: Vec<PresenceOp>) {
        if !self.is_emitter {
            let _ = self.publish(&self.presence.subject, &Body::Presence { version, ops });
        }
    }
}

/// Asks a node for its presence, unless what was missing has come meanwhile.
pub(super) fn sync_presence(
    engine: Arc<ClusterEngine>,
    node: NodeId,
    presence: Arc<dyn PresenceHost>,
) {
    tokio::spawn(async move {
        sleep(PRESENCE_DELAY).await;
        if !presence.is_behind(node) {
            return;
        }
        let pending = engine.ask_node(node, Question::Presence);
        let missing = pending.collect(engine.core.request_timeout, |_, part| {
            if let AnswerPart::Presence(part) = part {
                presence.part(node, part);
            }
        });
        let is_complete = missing.await.is_empty();
        presence.listed(node, is_complete);
    });
}
