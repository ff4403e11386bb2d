//! How does a client get back the session that another node of the cluster holds?
//!
//! The store says which node holds a session. The node of the connection:
//!
//! 1. Claims the record in the store, so one of several connections gets the session. If there is no
//!    record, it looks once more a little later, and then asks the node that made the token.
//! 2. Asks the node that holds it. That ends the connection of the session, if there still is one,
//!    and gives the session away. It goes on to count the messages that no history has.
//! 3. Counts such messages itself from then on, and [marks](crate::cluster::markers) the moment.
//! 4. Asks the other node whether it has counted a message up to the mark.
//!
//! Then the session is as one of its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::cluster::engine::ClusterEngine;
use crate::cluster::envelope::AnswerPart;
use crate::cluster::node::NodeId;
use crate::cluster::seam::Cluster;
use crate::cluster::session_body::{SessionAnswer, SessionClaimer, SessionQuestion};
use crate::hub::given_sessions::GivenSessions;
use crate::hub::recovery_failure::RecoveryFailure;
use crate::hub::session_writes::{LATE_WRITES, SessionWrites};
use crate::hub::sessions::{ClaimedSession, HubRecovery, SavedSession};
use crate::recovery::generation::Generation;
use crate::recovery::offset::ClientOffsets;
use crate::recovery::record::{MovedSession, SessionRecord};
use crate::recovery::sent_log::{MissedError, SentLog};
use crate::recovery::token::SessionToken;

/// How long a session waits that was given away, until it ends.
pub(super) const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the other node has for an answer, and for the one after the mark. Without an answer, it
/// counts as dead.
pub(super) const TAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a claim waits for a session that is moving, or for a record, before it looks again.
const MOVING: Duration = Duration::from_millis(50);

/// The reason of a node whose session is moving to another one: a claim has to look again.
pub(super) const IS_MOVING: &str = "moving";

/// What the sessions of one hub have if other nodes may get them.
pub(crate) struct SharedSessions {
    pub(super) writes: SessionWrites,
    cluster: Option<Cluster>,
    /// The number of this node.
    pub(super) owner: u64,
    pub(super) given: Mutex<HashMap<u64, GivenSessions>>,
    /// Those that another node was asked to take.
    pub(super) moving: Mutex<HashSet<SessionToken>>,
    /// This node leaves, and takes no more.
    pub(super) is_leaving: AtomicBool,
}

impl SharedSessions {
    pub(super) fn new(writes: SessionWrites, cluster: Option<Cluster>) -> Self {
        let node = cluster.as_ref().and_then(Cluster::engine).map(|engine| engine.node().0);
        let owner = node.unwrap_or_else(rand::random);
        let (given, moving) = (Mutex::default(), Mutex::default());
        Self { writes, cluster, owner, given, moving, is_leaving: AtomicBool::new(false) }
    }

    pub(super) fn engine(&self) -> Option<&Arc<ClusterEngine>> {
        self.cluster.as_ref()?.engine()
    }

    /// The cluster, if it has this node.
    pub(super) fn reach(&self, owner: u64) -> Option<&Arc<ClusterEngine>> {
        let engine = self.engine()?;
        engine.nodes().iter().any(|node| node.id.0 == owner).then_some(engine)
    }
}

/// Why another node does not give a session.
pub(super) enum TakeError {
    Refused(RecoveryFailure),
    /// It is moving to a third node.
    Moving,
}

impl From<RecoveryFailure> for TakeError {
    fn from(failure: RecoveryFailure) -> Self {
        Self::Refused(failure)
    }
}

impl SavedSession {
    pub(super) fn state(&self, namespace: &Arc<str>) -> MovedSession {
        MovedSession {
            generation: self.generation.last(),
            namespace: Arc::clone(namespace),
            id: Arc::clone(&self.id),
            user: self.user.clone(),
            rooms: self.rooms.clone(),
            attributes: self.attributes.clone(),
            log: self.log.state(),
        }
    }

    fn from_state(token: SessionToken, state: MovedSession) -> Self {
        let MovedSession { generation, id, user, rooms, attributes, log, .. } = state;
        let (generation, log) = (Generation::of_next_node(generation), SentLog::from_state(log));
        Self { token, id, rooms, attributes, user, log, generation }
    }
}

impl HubRecovery {
    /// Steps 1 to 4, for a token that this node does not know, or not yet.
    pub(super) async fn claim_shared(
        &self,
        shared: &SharedSessions,
        token: SessionToken,
        offsets: &ClientOffsets,
        user: Option<&str>,
    ) -> Result<ClaimedSession<'_>, RecoveryFailure> {
        let (key, own) = (token.key(), rand::random());
        let mut is_missing = false;
        loop {
            // Also if a node that leaves has given it to this one meanwhile.
            if self.table.lock().knows(token) {
                return self.claim_or_wait(token, user).await;
            }
            let before = match shared.writes.claim(&key, own, self.settings.window).await? {
                Some(before) => {
                    is_missing = false;
                    before
                }
                // The node of a session that has just begun writes its record a little later.
                None if !is_missing => {
                    is_missing = true;
                    sleep(MOVING).await;
                    continue;
                }
                // The node may still be at it, or the store does not take the record.
                None => {
                    let node = token.node().filter(|node| shared.reach(node.get()).is_some());
                    let owner = node.ok_or(RecoveryFailure::UnknownSession)?.get();
                    SessionRecord::Held { owner, generation: 0 }
                }
            };
            let owner = match before {
                SessionRecord::Claimed(other) if other != own => {
                    return Err(RecoveryFailure::AlreadyClaimed);
                }
                // The third node has not taken it yet.
                SessionRecord::Claimed(_) => {
                    sleep(MOVING).await;
                    continue;
                }
                SessionRecord::Ended { .. } => {
                    shared.writes.put_back(&key, &before, LATE_WRITES).await;
                    return Err(RecoveryFailure::UnknownSession);
                }
                SessionRecord::Held { owner, .. } | SessionRecord::Kept { owner, .. } => owner,
            };
            if owner == shared.owner {
                // It came after the look at the table, if it is here.
                return self.claim_or_wait(token, user).await;
            }
            let claimer = SessionClaimer { user: user.map(str::to_owned) };
            let taken = match shared.reach(owner) {
                Some(engine) => {
                    let mut taken = self.take(engine, NodeId(owner), &[token], Some(claimer)).await;
                    taken.remove(&token)
                }
                None => None,
            };
            // Without an answer, its last state is what there is.
            let taken = taken.unwrap_or_else(|| self.inherit(token, &before, offsets, user));
            match taken {
                Ok(claimed) => return Ok(claimed),
                Err(TakeError::Moving) => sleep(MOVING).await,
                Err(TakeError::Refused(failure)) => {
                    let is_unknown = failure == RecoveryFailure::UnknownSession && !is_missing;
                    if is_unknown && !self.is_for(&before, user) {
                        // Its own user may come still.
                        shared.writes.put_back(&key, &before, self.settings.window).await;
                    }
                    return Err(failure);
                }
            }
        }
    }

    /// Whether a record is known to be that of a session of this user. If its node does not know it, it
    /// has ended there.
    fn is_for(&self, record: &SessionRecord, user: Option<&str>) -> bool {
        let SessionRecord::Kept { session, .. } = record else { return false };
        session.namespace == self.namespace && session.user.as_deref() == user
    }

    /// The session of a node that has ended, if its record has what is needed.
    fn inherit(
        &self,
        token: SessionToken,
        record: &SessionRecord,
        offsets: &ClientOffsets,
        user: Option<&str>,
    ) -> Result<ClaimedSession<'_>, TakeError> {
        let SessionRecord::Kept { session: state, is_final, .. } = record else {
            return Err(RecoveryFailure::NodeLost.into());
        };
        if !self.is_for(record, user) {
            return Err(RecoveryFailure::UnknownSession.into());
        }
        if !self.settings.stored_only {
            // What it has missed meanwhile is not known.
            return Err(RecoveryFailure::NodeLost.into());
        }
        let mut session = Box::new(SavedSession::from_state(token, state.clone()));
        if !is_final {
            session.log =
                SentLog::from_snapshot(state.log.clone(), offsets).map_err(
                    |error| match error {
                        MissedError::UnknownOffset => RecoveryFailure::UnknownOffset,
                        MissedError::Lost => RecoveryFailure::Missed,
                    },
                )?;
        }
        let watch = self.table.lock().begin_watch(&session.id, &session.rooms);
        Ok(ClaimedSession::new(self, session, watch))
    }

    /// Steps 2 to 4, for several sessions of one node. What it does not answer is not in the
    /// result.
    pub(super) async fn take(
        &self,
        engine: &Arc<ClusterEngine>,
        owner: NodeId,
        tokens: &[SessionToken],
        claimer: Option<SessionClaimer>,
    ) -> HashMap<SessionToken, Result<ClaimedSession<'_>, TakeError>> {
        let handover = rand::random();
        let names = tokens.iter().map(|token| token.reveal()).collect();
        let ask = |question| engine.ask_session(owner, Arc::clone(&self.namespace), question);
        let pending = ask(SessionQuestion::Take { handover, tokens: names, claimer });
        let mut taken = HashMap::new();
        if pending.is_refused {
            // The other node may well be up, and keeps them.
            let busy = |token: &_| (*token, Err(RecoveryFailure::Busy.into()));
            return tokens.iter().map(busy).collect();
        }
        let _ = pending
            .collect(TAKE_TIMEOUT, |_, part| {
                if let AnswerPart::Session(answer) = part
                    && let Some((token, result)) = self.read_answer(answer)
                    && tokens.contains(&token)
                {
                    taken.insert(token, result);
                }
            })
            .await;
        let sessions = || taken.values().filter_map(|taken| taken.as_ref().ok());
        if sessions().next().is_none() {
            return taken;
        }
        let subjects = if self.settings.stored_only {
            // Nobody asks what was counted.
            None
        } else {
            let rooms = sessions().flat_map(|claimed| &claimed.session.rooms);
            let marking = engine.mark(handover, &self.namespace, rooms);
            timeout(TAKE_TIMEOUT, marking).await.ok().flatten()
        };
        let release = SessionQuestion::Release { handover, subjects: subjects.unwrap_or(0) };
        let mut missed = Vec::new();
        let silent = ask(release)
            .collect_one_each(TAKE_TIMEOUT, |_, part| {
                if let AnswerPart::Session(SessionAnswer::Missed(tokens)) = part {
                    missed = tokens;
                }
            })
            .await;
        let is_known = self.settings.stored_only || subjects.is_some() && silent.is_empty();
        for (token, taken) in &mut taken {
            if let Ok(claimed) = taken {
                claimed.is_incomplete = !is_known || missed.contains(&token.reveal());
            }
        }
        taken
    }

    fn read_answer(
        &self,
        answer: SessionAnswer,
    ) -> Option<(SessionToken, Result<ClaimedSession<'_>, TakeError>)> {
        match answer {
            SessionAnswer::Given { token, session } => {
                let token: SessionToken = token.parse().ok()?;
                let unknown = RecoveryFailure::UnknownSession.into();
                let Some(SessionRecord::Kept { session, .. }) =
                    SessionRecord::decode(session.as_bytes())
                else {
                    return Some((token, Err(unknown)));
                };
                if session.namespace != self.namespace {
                    return Some((token, Err(unknown)));
                }
                let session = Box::new(SavedSession::from_state(token, session));
                let watch = self.table.lock().begin_watch(&session.id, &session.rooms);
                Some((token, Ok(ClaimedSession::new(self, session, watch))))
            }
            SessionAnswer::Refused { token, reason } => {
                let error = if reason == IS_MOVING {
                    TakeError::Moving
                } else {
                    RecoveryFailure::parse(&reason).into()
                };
                Some((token.parse().ok()?, Err(error)))
            }
            SessionAnswer::Missed(_) => None,
        }
    }
}
