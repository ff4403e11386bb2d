//! Who takes the sessions of a node that leaves?
//!
//! The node asks others to take over those that wait, as
//! [for a client that has come back there](super::shared_sessions).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::cluster::engine::ClusterEngine;
use crate::cluster::markers::MAX_SUBJECTS;
use crate::cluster::node::NodeId;
use crate::cluster::session_body::SessionQuestion;
use crate::hub::session_writes::SessionWrite;
use crate::hub::sessions::{HubRecovery, LeavingSession};
use crate::hub::shared_sessions::HANDOVER_TIMEOUT;
use crate::recovery::token::SessionToken;

/// How many sessions another node is asked to take at once, if their rooms have not more subjects
/// than can be marked.
const ADOPTED: usize = 128;

/// How many parts of them at the same time.
const ADOPTIONS: usize = 128;

/// How many other nodes are asked to take a session.
const ATTEMPTS: usize = 2;

impl HubRecovery {
    /// Takes sessions from a node that leaves. They wait here.
    pub(super) async fn adopt(&self, owner: NodeId, tokens: Vec<String>) {
        let Some(shared) = &self.shared else { return };
        let engine = shared.reach(owner.0).filter(|_| !shared.is_leaving.load(SeqCst));
        let Some(engine) = engine else { return };
        let tokens: Vec<_> = tokens.iter().filter_map(|token| token.parse().ok()).collect();
        for (token, taken) in self.take(engine, owner, &tokens, None).await {
            let Ok(claimed) = taken else { continue };
            let is_incomplete = claimed.is_incomplete;
            let (mut session, Some(watch)) = claimed.give_away() else { continue };
            if is_incomplete {
                session.log.lose();
            }
            self.wait(LeavingSession { token, session, watch });
            self.write(token, SessionWrite::Save);
        }
    }

    /// Has other nodes take the sessions that wait, and writes the last records.
    pub(super) async fn leave_to_others(&self, deadline: Instant) {
        let Some(shared) = &self.shared else { return };
        shared.is_leaving.store(true, SeqCst);
        // Those that one node does not take are for the next one.
        for attempt in 0..ATTEMPTS {
            let (_, tokens) = self.table.lock().tokens();
            let Some(engine) = shared.engine().filter(|_| !tokens.is_empty()) else { break };
            let nodes = engine.nodes();
            shared.moving.lock().extend(&tokens);
            let parts = self.parts(engine, tokens).into_iter();
            let parts: Vec<_> = parts.zip(nodes.iter().cycle().skip(attempt)).collect();
            for parts in parts.chunks(ADOPTIONS) {
                let asking = parts.iter().map(|(tokens, node)| {
                    let tokens = tokens.iter().map(|token| token.reveal()).collect();
                    let adopt = SessionQuestion::Adopt { owner: shared.owner, tokens };
                    let pending = engine.ask_session(node.id, Arc::clone(&self.namespace), adopt);
                    pending.collect(HANDOVER_TIMEOUT, |_, _| {})
                });
                let _ = timeout_at(deadline, join_all(asking)).await;
            }
        }
        let _ = timeout_at(deadline, self.flush_writes()).await;
    }

    /// Divides sessions into parts, each of which another node can take in one step.
    fn parts(&self, engine: &ClusterEngine, tokens: Vec<SessionToken>) -> Vec<Vec<SessionToken>> {
        let (mut parts, mut subjects) = (Vec::<Vec<_>>::new(), HashSet::new());
        let table = self.table.lock();
        for token in tokens {
            let Some(Err(session)) = table.find(token) else { continue };
            // With `stored_only`, nothing is marked.
            let rooms = session.rooms.iter().filter(|_| !self.settings.stored_only);
            let own = engine.subjects(&self.namespace, rooms);
            let more = own.iter().filter(|subject| !subjects.contains(*subject)).count();
            let fits = |part: &&mut Vec<_>| part.len() < ADOPTED;
            match parts.last_mut().filter(fits) {
                Some(part) if subjects.len() + more <= MAX_SUBJECTS => {
                    part.push(token);
                    subjects.extend(own);
                }
                _ => {
                    parts.push(vec![token]);
                    subjects = own;
                }
            }
        }
        parts
    }
}
