//! How does a node give its sessions to another one, which has asked for them?
//!
//! See [`shared_sessions`](super::shared_sessions).

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::cluster::envelope::AnswerPart;
use crate::cluster::markers::AwaitedMarker;
use crate::cluster::node::NodeId;
use crate::cluster::responder::Responder;
use crate::cluster::session_body::{SessionAnswer, SessionClaimer, SessionQuestion};
use crate::hub::recovery_failure::RecoveryFailure;
use crate::hub::sessions::{ClaimedSession, HubRecovery};
use crate::hub::shared_sessions::{
    HANDOVER_TIMEOUT, IS_MOVING, SharedSessions, TAKE_TIMEOUT, TakeError,
};
use crate::recovery::record::SessionRecord;
use crate::recovery::table::{SessionClaim, Watch};
use crate::recovery::token::SessionToken;

/// How long a node waits until it can give a session: shorter than the other one waits for the
/// answer. That one takes what it knows of the session if there is none, so each answer has to come in
/// time.
const GIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Sessions that were given to another node. Messages are counted for them until this is dropped,
/// also if that node never asks for the result. That node alone decides about them and their
/// records: it may have recovered them.
pub(super) struct GivenSessions {
    recovery: Weak<HubRecovery>,
    marker: AwaitedMarker,
    sessions: Vec<(SessionToken, Option<Watch>)>,
}

impl GivenSessions {
    /// The other node has them. Returns those that have missed messages.
    fn release(&mut self) -> Vec<String> {
        let mut missed = Vec::new();
        let Some(recovery) = self.recovery.upgrade() else { return missed };
        let mut table = recovery.table.lock();
        for (token, watch) in self.sessions.drain(..) {
            // The client may bring it back.
            table.forget(token);
            let Some(watch) = watch else { continue };
            if table.has_missed(&watch) {
                missed.push(token.reveal());
            }
            table.end_watch(watch);
        }
        missed
    }
}

impl Drop for GivenSessions {
    fn drop(&mut self) {
        self.release();
    }
}

/// Says that this node has too much to do, and keeps its sessions.
fn refuse(tokens: Vec<String>, mut responder: Responder) {
    let reason = RecoveryFailure::Busy.text();
    for token in tokens {
        let reason = reason.clone();
        responder.part(AnswerPart::Session(SessionAnswer::Refused { token, reason }));
    }
    responder.done();
}

impl HubRecovery {
    /// Does what another node asks about sessions.
    pub(super) fn answer(self: Arc<Self>, question: SessionQuestion, responder: Responder) {
        if self.shared.is_none() {
            return responder.done();
        }
        match question {
            SessionQuestion::Take { handover, tokens, claimer } => {
                let refused = tokens.clone();
                let refuse = |responder| refuse(refused, responder);
                responder.spawn_or(refuse, |it| self.give(handover, tokens, claimer, it));
            }
            SessionQuestion::Release { handover, subjects } => {
                responder.spawn(|responder| self.release(handover, subjects, responder));
            }
            SessionQuestion::Adopt { owner, tokens } => {
                responder.spawn(|responder| async move {
                    self.adopt(NodeId(owner), tokens).await;
                    responder.done();
                });
            }
        }
    }

    /// Gives sessions to the node that has asked.
    async fn give(
        self: Arc<Self>,
        handover: u64,
        tokens: Vec<String>,
        claimer: Option<SessionClaimer>,
        mut responder: Responder,
    ) {
        let Some(shared) = &self.shared else { return };
        let Some(engine) = shared.engine() else { return };
        let (recovery, marker) = (Arc::downgrade(&self), engine.expect_marker(handover));
        let mut given = GivenSessions { recovery, marker, sessions: Vec::new() };
        for token in tokens {
            let claimed = match token.parse() {
                Ok(token) => self.give_one(shared, token, claimer.as_ref()).await,
                Err(()) => Err(RecoveryFailure::UnknownSession.into()),
            };
            let answer = claimed.and_then(|claimed| {
                let session = claimed.session.state(&self.namespace);
                let record = SessionRecord::Kept { owner: shared.owner, session, is_final: true };
                let text = record.encode().and_then(|it| String::from_utf8(it.into()).ok());
                // Otherwise it has ended here.
                let text = text.ok_or(TakeError::Refused(RecoveryFailure::TooMuch))?;
                let own = claimed.session.token;
                let (_, watch) = claimed.give_away();
                given.sessions.push((own, watch));
                Ok(text)
            });
            responder
                .part_wait(AnswerPart::Session(match answer {
                    Ok(session) => SessionAnswer::Given { token, session },
                    Err(TakeError::Moving) => {
                        SessionAnswer::Refused { token, reason: IS_MOVING.to_owned() }
                    }
                    Err(TakeError::Refused(failure)) => {
                        SessionAnswer::Refused { token, reason: failure.text() }
                    }
                }))
                .await;
        }
        shared.given.lock().insert(handover, given);
        let recovery = Arc::downgrade(&self);
        tokio::spawn(async move {
            sleep(HANDOVER_TIMEOUT).await;
            let recovery = recovery.upgrade();
            let shared = recovery.as_ref().and_then(|recovery| recovery.shared.as_ref());
            let given = shared.and_then(|shared| shared.given.lock().remove(&handover));
            drop(given);
        });
        responder.done();
    }

    /// For a client of another node, or for that node, if no client of this one has it.
    async fn give_one(
        &self,
        shared: &SharedSessions,
        token: SessionToken,
        claimer: Option<&SessionClaimer>,
    ) -> Result<ClaimedSession<'_>, TakeError> {
        if let Some(SessionClaimer { user }) = claimer {
            let claiming = timeout(GIVE_TIMEOUT, self.claim_or_wait(token, user.as_deref())).await;
            return claiming.unwrap_or(Err(RecoveryFailure::Busy)).map_err(|failure| {
                // A third node has it, or is about to.
                let is_gone = matches!(
                    failure,
                    RecoveryFailure::AlreadyClaimed | RecoveryFailure::UnknownSession
                );
                let is_moving = is_gone && shared.moving.lock().contains(&token);
                if is_moving { TakeError::Moving } else { failure.into() }
            });
        }
        let claim = self.table.lock().claim_waiting(self.started.elapsed(), token);
        match claim {
            SessionClaim::Session(session, watch) => Ok(ClaimedSession::new(self, session, watch)),
            _ => Err(RecoveryFailure::UnknownSession.into()),
        }
    }

    async fn release(self: Arc<Self>, handover: u64, subjects: usize, mut responder: Responder) {
        let shared = self.shared.as_ref();
        let given = shared.and_then(|shared| shared.given.lock().remove(&handover));
        let Some(mut given) = given else {
            responder.part(AnswerPart::Busy);
            return;
        };
        let is_marked = timeout(TAKE_TIMEOUT, given.marker.wait(subjects)).await.is_ok();
        let missed = given.release();
        if !is_marked {
            responder.part(AnswerPart::Busy);
            return;
        }
        responder.part_wait(AnswerPart::Session(SessionAnswer::Missed(missed))).await;
        responder.done();
    }
}
