//! What happens to a session whose client does not come back?
//!
//! A task ends the sessions whose window is over. It runs while sessions wait.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;
use ws_core::Attributes;

use crate::Id;
use crate::hub::session_writes::SessionWrite;
use crate::hub::sessions::{HubRecovery, SavedSession};

/// A session that has ended without its client: see [`Recovery::on_expired`](crate::Recovery::on_expired).
#[derive(Clone)]
#[non_exhaustive]
pub struct ExpiredSession {
    /// The id that its socket had.
    pub id: Id,
    /// The namespace of the socket: `/` without one.
    pub namespace: String,
    /// Its user, by [`Recovery::user`](crate::Recovery::user).
    pub user: Option<String>,
    /// The rooms that its socket was in.
    pub rooms: Vec<String>,
    /// The attributes that [`Recovery::keep`](crate::Recovery::keep) names.
    pub attributes: Attributes,
}

impl fmt::Debug for ExpiredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpiredSession")
            .field("id", &self.id)
            .field("namespace", &self.namespace)
            .field("rooms", &self.rooms)
            .finish_non_exhaustive()
    }
}

/// Called for each session that has ended without its client.
pub(crate) type ExpiredHook = dyn Fn(ExpiredSession) + Send + Sync;

impl HubRecovery {
    /// Sessions have ended without their clients. Called without a lock: it runs code of the
    /// application.
    pub(super) fn ended(&self, sessions: impl IntoIterator<Item = Box<SavedSession>>) {
        sessions.into_iter().for_each(|session| self.ended_one(&session));
    }

    /// As [`ended`](Self::ended).
    pub(super) fn ended_one(&self, session: &SavedSession) {
        self.write(session.token, SessionWrite::Delete(session.generation.beyond()));
        let Some(hook) = &self.settings.expired else { return };
        let attributes = Attributes::default();
        self.settings.restore(session, &attributes);
        let expired = ExpiredSession {
            id: Id(Arc::clone(&session.id)),
            namespace: self.namespace.as_ref().to_owned(),
            user: session.user.clone(),
            rooms: session.rooms.iter().map(|room| room.as_ref().to_owned()).collect(),
            attributes,
        };
        if catch_unwind(AssertUnwindSafe(|| hook(expired))).is_err() {
            tracing::error!("the hook of expired sessions has panicked");
        }
    }

    /// Starts the task that ends sessions. Without a runtime they end when the next one begins.
    pub(super) fn start_timer(&self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(run_timer(TimerGuard(self.this.clone())))),
            Err(_) => self.has_timer.store(false, SeqCst),
        }
    }

    /// Ends the sessions whose window is over. Returns how long the next one waits; `None` if there
    /// is none, and the task has to end.
    fn expire(&self) -> Option<Duration> {
        let (ended, wait) = {
            let mut table = self.table.lock();
            let now = self.started.elapsed();
            let ended = table.expire(now);
            let next = table.next_end();
            if next.is_none() {
                self.has_timer.store(false, SeqCst);
            }
            // A session ends after its window, not at its end.
            (ended, next.map(|end| end.saturating_sub(now) + Duration::from_millis(1)))
        };
        self.ended(ended);
        wait
    }
}

async fn run_timer(mut guard: TimerGuard) {
    while let Some(recovery) = guard.0.upgrade() {
        let Some(wait) = recovery.expire() else {
            guard.0 = Weak::new();
            return;
        };
        drop(recovery);
        sleep(wait).await;
    }
}

/// Lets another task be started when this one is dropped with its runtime.
struct TimerGuard(Weak<HubRecovery>);

impl Drop for TimerGuard {
    fn drop(&mut self) {
        if let Some(recovery) = self.0.upgrade() {
            recovery.has_timer.store(false, SeqCst);
        }
    }
}
