//! When does a store get to know which sessions a node holds, and what bounds the writes?
//!
//! A session is marked when its record has to be written, and the record is made when it is
//! written: of several changes, the store gets the last one. A task writes some records at a time,
//! those that the store did not take again, and all of them before they expire. It runs from the
//! first session to the end of the hub.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::delivery::writer;
use crate::hub::recovery_failure::RecoveryFailure;
use crate::hub::sessions::HubRecovery;
use crate::recovery::record::SessionRecord;
use crate::recovery::token::SessionToken;
use crate::{SessionStore, SessionStoreError};

/// How long a call of the store may take.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many records are written at the same time.
const BATCH: usize = 64;

/// The most sessions that are marked. Beyond that, they are saved when all are written again.
const MOST: usize = 256 * 1024;

/// As [`MOST`], for those that have ended here: nobody writes that again.
const MOST_ENDED: usize = 4 * MOST;

/// The least time between two writes of all records.
const LEAST_REFRESH: Duration = Duration::from_secs(1);

/// After which time a write that has failed is repeated.
const RETRY: Duration = Duration::from_secs(5);

/// How long a write may be on its way that the hub does not wait for any more: the system goes on to
/// send what a connection has taken, also when that is closed.
pub(super) const LATE_WRITES: Duration = Duration::from_secs(120);

/// What is written of a session, and as which generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionWrite {
    /// What it is then, as the next one.
    Save,
    /// A connection has it, under another token.
    Claim(u64),
    /// It has ended.
    Delete(u64),
}

impl SessionWrite {
    /// The number of marked sessions beyond which it is dropped.
    const fn most(self) -> usize {
        match self {
            Self::Save => MOST,
            Self::Claim(_) | Self::Delete(_) => MOST_ENDED,
        }
    }
}

/// The records of one hub in a store.
pub(crate) struct SessionWrites {
    pub(super) store: Arc<dyn SessionStore>,
    marked: Mutex<MarkedSessions>,
    wake: Notify,
    /// Nothing is marked, and nothing is being written.
    idle: Notify,
    has_task: AtomicBool,
    is_writing: AtomicBool,
    /// A failure is logged once, until a call succeeds.
    has_failed: AtomicBool,
}

#[derive(Default)]
struct MarkedSessions {
    now: HashMap<SessionToken, SessionWrite>,
    /// Those that the store did not take, and that were not marked again.
    later: HashMap<SessionToken, SessionWrite>,
}

impl MarkedSessions {
    fn mark(&mut self, token: SessionToken, write: SessionWrite) {
        self.later.remove(&token);
        if self.now.len() < write.most() || self.now.contains_key(&token) {
            self.now.insert(token, write);
        }
    }

    /// The store did not take this one.
    fn repeat(&mut self, token: SessionToken, write: SessionWrite) {
        // What was marked meanwhile is newer.
        if self.later.len() < write.most() && !self.now.contains_key(&token) {
            self.later.insert(token, write);
        }
    }

    /// Marks those again that the store did not take.
    fn retry(&mut self) {
        let later = std::mem::take(&mut self.later);
        later.into_iter().for_each(|(token, write)| self.mark(token, write));
    }

    fn take_batch(&mut self) -> Vec<(SessionToken, SessionWrite)> {
        let tokens: Vec<_> = self.now.keys().take(BATCH).copied().collect();
        tokens.into_iter().filter_map(|token| Some((token, self.now.remove(&token)?))).collect()
    }
}

impl SessionWrites {
    pub(super) fn new(store: Arc<dyn SessionStore>) -> Self {
        Self {
            store,
            marked: Mutex::default(),
            wake: Notify::new(),
            idle: Notify::new(),
            has_task: AtomicBool::new(false),
            is_writing: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Claims a record for the connection with this number. Returns the record before.
    pub(super) async fn claim(
        &self,
        key: &str,
        number: u64,
        ttl: Duration,
    ) -> Result<Option<SessionRecord>, RecoveryFailure> {
        let claimed = SessionRecord::Claimed(number).encode().unwrap_or_default();
        let before = self.call(self.store.replace(key, claimed, ttl)).await;
        let before = before.ok_or(RecoveryFailure::StoreUnavailable)?;
        // What is unreadable is none of ours.
        let decode =
            |bytes: Bytes| SessionRecord::decode(&bytes).ok_or(RecoveryFailure::UnknownSession);
        before.map(decode).transpose()
    }

    /// Undoes [`claim`](Self::claim).
    pub(super) async fn put_back(&self, key: &str, record: &SessionRecord, ttl: Duration) {
        if let (Some(generation), Some(bytes)) = (record.generation(), record.encode()) {
            // What was written meanwhile is newer.
            let _ = self.call(self.store.put(key, generation, bytes, ttl)).await;
        }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, SessionStoreError>>) -> Option<T> {
        let late = || Err(SessionStoreError("no answer in time".into()));
        match writer::timeout(STORE_TIMEOUT, call).await.unwrap_or_else(late) {
            Ok(answer) => {
                self.has_failed.store(false, Relaxed);
                Some(answer)
            }
            Err(error) => {
                if !self.has_failed.swap(true, Relaxed) {
                    tracing::warn!(
                        %error,
                        "the store of sessions fails: they are recovered on their own nodes only"
                    );
                }
                None
            }
        }
    }
}

impl HubRecovery {
    /// Marks a session, if other nodes may get it.
    pub(crate) fn write(&self, token: SessionToken, write: SessionWrite) {
        let Some(shared) = &self.shared else { return };
        let writes = &shared.writes;
        writes.marked.lock().mark(token, write);
        writes.wake.notify_one();
        if !writes.has_task.swap(true, SeqCst) {
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(run(WriterGuard(self.this.clone())))),
                Err(_) => writes.has_task.store(false, SeqCst),
            }
        }
    }

    /// Marks all sessions that wait, and waits until everything is written.
    pub(super) async fn flush_writes(&self) {
        let Some(shared) = &self.shared else { return };
        let (_, waiting) = self.table.lock().tokens();
        waiting.into_iter().for_each(|token| self.write(token, SessionWrite::Save));
        let writes = &shared.writes;
        loop {
            let mut idle = std::pin::pin!(writes.idle.notified());
            // From here on, no notification is missed.
            idle.as_mut().enable();
            let is_idle = writes.marked.lock().now.is_empty() && !writes.is_writing.load(SeqCst);
            if is_idle || !writes.has_task.load(SeqCst) {
                return;
            }
            idle.await;
        }
    }

    /// The hub was built.
    pub(super) fn start_store(&self) {
        self.shared.iter().for_each(|shared| shared.writes.store.start());
    }

    /// The hub has ended.
    pub(super) async fn shut_down_store(&self, deadline: Instant) {
        if let Some(shared) = &self.shared {
            shared.writes.store.shutdown(deadline).await;
        }
    }

    /// How long a record is kept: a session begins to wait at the latest before the next refresh.
    fn record_ttl(&self) -> Duration {
        let refresh = self.settings.window.max(LEAST_REFRESH);
        self.settings.window.saturating_add(refresh).saturating_add(5 * STORE_TIMEOUT)
    }

    /// The next record of a session and its generation, if this node holds it.
    fn record(&self, token: SessionToken) -> Option<(u64, SessionRecord)> {
        let owner = self.shared.as_ref()?.owner;
        let keep = |session, is_final| SessionRecord::Kept { owner, session, is_final };
        let socket = match self.table.lock().find(token)? {
            Ok(socket) => socket.clone(),
            Err(waiting) => {
                let generation = waiting.generation.next();
                let record = if self.settings.stored_only {
                    keep(waiting.state(&self.namespace), true)
                } else {
                    SessionRecord::Held { owner, generation }
                };
                return Some((generation, record));
            }
        };
        // Without the lock of the table: it takes others.
        let socket = socket.upgrade()?;
        let generation = socket.generation()?.next();
        let record = if self.settings.stored_only {
            keep(socket.snapshot(&self.namespace)?, false)
        } else {
            SessionRecord::Held { owner, generation }
        };
        Some((generation, record))
    }

    /// `None` if the store did not take it.
    async fn write_one(&self, token: SessionToken, write: SessionWrite) -> Option<()> {
        let Some(shared) = &self.shared else { return Some(()) };
        let window = self.settings.window;
        let (generation, record, ttl) = match write {
            SessionWrite::Save => {
                let Some((generation, record)) = self.record(token) else { return Some(()) };
                (generation, record, self.record_ttl())
            }
            SessionWrite::Claim(generation) => {
                (generation, SessionRecord::Claimed(rand::random()), window.max(LATE_WRITES))
            }
            SessionWrite::Delete(generation) => {
                (generation, SessionRecord::Ended { generation }, LATE_WRITES)
            }
        };
        // One that is too long is recovered on this node only.
        let Some(record) = record.encode() else { return Some(()) };
        let writes = &shared.writes;
        writes.call(writes.store.put(&token.key(), generation, record, ttl)).await
    }

    /// Writes some of what is marked. Returns whether that was anything.
    async fn write_batch(&self) -> bool {
        let Some(shared) = &self.shared else { return false };
        let writes = &shared.writes;
        writes.is_writing.store(true, SeqCst);
        let batch = writes.marked.lock().take_batch();
        if batch.is_empty() {
            writes.is_writing.store(false, SeqCst);
            writes.idle.notify_waiters();
            return false;
        }
        // A session is in a batch once, so its writes are in order.
        let writing = batch.into_iter().map(|(token, write)| async move {
            if self.write_one(token, write).await.is_none() {
                writes.marked.lock().repeat(token, write);
            }
        });
        join_all(writing).await;
        true
    }

    /// Marks the sessions whose records end otherwise.
    fn refresh(&self) {
        let (connected, _) = self.table.lock().tokens();
        connected.into_iter().for_each(|it| self.write(it, SessionWrite::Save));
    }
}

async fn run(mut guard: WriterGuard) {
    let Some(recovery) = guard.0.upgrade() else { return };
    let refresh = recovery.settings.window.max(LEAST_REFRESH);
    drop(recovery);
    let (mut refreshed, mut retried) = (Instant::now(), Instant::now());
    loop {
        let Some(recovery) = guard.0.upgrade() else { break };
        let Some(shared) = recovery.shared.clone() else { break };
        // Also if there is always something to write.
        if refreshed.elapsed() >= refresh {
            refreshed = Instant::now();
            recovery.refresh();
        }
        if retried.elapsed() >= RETRY {
            retried = Instant::now();
            shared.writes.marked.lock().retry();
        }
        if recovery.write_batch().await {
            continue;
        }
        drop(recovery);
        let mut wait = refresh.saturating_sub(refreshed.elapsed());
        if !shared.writes.marked.lock().later.is_empty() {
            wait = wait.min(RETRY.saturating_sub(retried.elapsed()));
        }
        tokio::select! {
            () = shared.writes.wake.notified() => {}
            () = sleep(wait) => {}
        }
    }
    guard.0 = Weak::new();
}

/// Lets another task be started when this one is dropped with its runtime.
struct WriterGuard(Weak<HubRecovery>);

impl Drop for WriterGuard {
    fn drop(&mut self) {
        let recovery = self.0.upgrade();
        if let Some(shared) = recovery.as_ref().and_then(|recovery| recovery.shared.as_ref()) {
            shared.writes.has_task.store(false, SeqCst);
            shared.writes.is_writing.store(false, SeqCst);
            shared.writes.idle.notify_waiters();
        }
    }
}

impl Drop for HubRecovery {
    fn drop(&mut self) {
        // The task ends.
        self.shared.iter().for_each(|shared| shared.writes.wake.notify_one());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is marked when so many sessions are already → whether it is written.
    #[test]
    fn the_end_of_a_session_is_written_although_many_are_marked() {
        use SessionWrite::{Claim, Delete, Save};
        let mut marked = MarkedSessions::default();
        let random = || SessionToken::random(None);
        let check = |marked: &mut MarkedSessions, write: SessionWrite, expected: bool| {
            let token = random();
            marked.mark(token, write);
            assert_eq!(marked.now.remove(&token), expected.then_some(write), "{write:?}");
            marked.repeat(token, write);
            let repeated = marked.later.remove(&token);
            assert_eq!(repeated, expected.then_some(write), "again: {write:?}");
        };
        for (most, is_saved, is_ended) in [(MOST - 1, true, true), (MOST, false, true)] {
            while marked.now.len() < most {
                let token = random();
                marked.now.insert(token, Save);
                marked.later.insert(token, Save);
            }
            check(&mut marked, Save, is_saved);
            check(&mut marked, Claim(1), is_ended);
            check(&mut marked, Delete(1), is_ended);
        }
        // A session that is marked already takes no more memory.
        let token = marked.now.keys().next().copied().unwrap();
        marked.mark(token, Delete(1));
        assert_eq!(marked.now.get(&token), Some(&Delete(1)));
    }
}
