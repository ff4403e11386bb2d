//! Which sessions wait for their clients, what is kept of them, and how does a connection claim one?

use std::num::NonZero;
use std::pin::pin;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use ws_core::{Attributes, PreparedMessage};

use crate::SessionStore;
use crate::cluster::seam::Cluster;
use crate::delivery::stats::{Backlog, Counters};
use crate::delivery::writer::timeout;
use crate::hub::expiry::ExpiredHook;
use crate::hub::recovery_failure::RecoveryFailure;
use crate::hub::session_writes::{SessionWrite, SessionWrites};
use crate::hub::shared_sessions::SharedSessions;
use crate::recovery::fate::SessionFate;
use crate::recovery::generation::Generation;
use crate::recovery::offset::{ClientOffsets, SentMessage};
use crate::recovery::record::MovedSession;
use crate::recovery::sent_log::SentLog;
use crate::recovery::table::{
    PlainExceptions, PlainRecipients, RecoveryTable, SessionClaim, Watch, WatchObserver,
};
use crate::recovery::token::SessionToken;

/// How long a claim waits until the handlers of the lost connection have returned.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sessions wait, how many, and what is kept of them.
#[derive(Clone)]
pub(crate) struct SessionSettings {
    pub(crate) window: Duration,
    pub(crate) sessions: usize,
    pub(crate) kept: Arc<[KeptAttribute]>,
    pub(crate) expired: Option<Arc<ExpiredHook>>,
    pub(crate) store: Option<Arc<dyn SessionStore>>,
    pub(crate) stored_only: bool,
    /// The most rooms whose offsets are in an event for a client that remembers one text.
    pub(crate) room_offsets: usize,
}

impl SessionSettings {
    /// Sets the attributes that were kept of a session.
    pub(super) fn restore(&self, session: &SavedSession, attributes: &Attributes) {
        for kept in &*self.kept {
            let saved = session.attributes.iter().find(|(name, _)| *name == kept.name);
            if let Some((_, json)) = saved {
                (kept.restore)(attributes, json);
            }
        }
    }
}

/// An attribute that a recovered socket has again.
#[derive(Clone)]
pub(crate) struct KeptAttribute {
    pub(crate) name: Arc<str>,
    pub(crate) save: fn(&Attributes) -> Option<String>,
    pub(crate) restore: fn(&Attributes, &str),
}

/// A connection with a session.
pub(crate) trait LiveSession: Send + Sync {
    /// The user of the session; `None` if there is no session yet.
    fn owner(&self) -> Option<&Option<String>>;

    /// The numbers of the records of its session; `None` if there is no session yet.
    fn generation(&self) -> Option<&Generation>;

    /// Ends the connection at once.
    fn end(&self);

    /// For a node that has to go on without this one; `None` if there is no session yet.
    fn snapshot(&self, namespace: &Arc<str>) -> Option<MovedSession>;
}

/// The sessions of one hub.
pub(crate) struct HubRecovery {
    pub(crate) settings: SessionSettings,
    pub(super) this: Weak<Self>,
    pub(super) namespace: Arc<str>,
    pub(super) table: Mutex<RecoveryTable<Weak<dyn LiveSession>, SavedSession>>,
    pub(super) started: Instant,
    /// Whether a task ends sessions: see [`expiry`](super::expiry). Changed under the lock of the
    /// table.
    pub(super) has_timer: AtomicBool,
    /// The number of the next message that no history has.
    next_plain: AtomicU64,
    /// Notified when a session begins to wait, or ends for good.
    waits: Notify,
    /// If other nodes may get its sessions.
    pub(super) shared: Option<Arc<SharedSessions>>,
}

/// What is kept of a session while its client is away.
pub(crate) struct SavedSession {
    pub(crate) token: SessionToken,
    pub(crate) id: Arc<str>,
    pub(crate) rooms: Vec<Arc<str>>,
    pub(crate) attributes: Vec<(Arc<str>, String)>,
    pub(crate) user: Option<String>,
    pub(crate) log: SentLog<PreparedMessage>,
    pub(crate) generation: Generation,
}

/// What a socket has whose session can be recovered.
pub(crate) struct SocketRecovery {
    pub(crate) log: Mutex<SentLog<PreparedMessage>>,
    /// Once it is admitted.
    pub(crate) admitted: OnceLock<(SessionToken, Option<String>)>,
    pub(crate) generation: Generation,
    pub(crate) recovered: AtomicBool,
    pub(super) fate: Mutex<SessionFate>,
}

impl SocketRecovery {
    pub(crate) const fn new() -> Self {
        let log = Mutex::new(SentLog::new());
        let (recovered, fate) = (AtomicBool::new(false), Mutex::new(SessionFate::Open));
        let generation = Generation::new();
        Self { log, admitted: OnceLock::new(), generation, recovered, fate }
    }

    /// Discards the messages that its log holds back.
    pub(crate) fn discard_held(&self, counters: &Counters) {
        let held = self.log.lock().release();
        let bytes = held.iter().map(|held| held.size).sum();
        counters.discard(Backlog { messages: held.len(), bytes });
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.recovered.load(Relaxed)
    }
}

/// Keeps the node subscribed to the rooms of sessions that are away: otherwise what other nodes send to
/// them would not be counted.
struct WatchedRooms {
    cluster: Cluster,
    namespace: Arc<str>,
}

impl WatchObserver for WatchedRooms {
    fn begun(&self, room: &str) {
        self.cluster.add_room(&self.namespace, room);
    }

    fn ended(&self, room: &str) {
        self.cluster.remove_room(&self.namespace, room);
    }
}

/// A session whose socket is being disconnected.
pub(crate) struct LeavingSession {
    pub(crate) token: SessionToken,
    pub(crate) session: Box<SavedSession>,
    pub(crate) watch: Watch,
}

/// A session that a connection has claimed. The messages that no history has are counted for it
/// until this is dropped. Unless it was [recovered](Self::recover) by then, it has ended.
pub(crate) struct ClaimedSession<'a> {
    recovery: &'a HubRecovery,
    pub(crate) session: Box<SavedSession>,
    watch: Option<Watch>,
    /// Another node had it, and what it has missed there is not known, or something.
    pub(super) is_incomplete: bool,
    /// This does not decide what happens to it any more.
    is_settled: bool,
}

impl<'a> ClaimedSession<'a> {
    pub(super) fn new(recovery: &'a HubRecovery, session: Box<SavedSession>, watch: Watch) -> Self {
        let watch = Some(watch);
        Self { recovery, session, watch, is_incomplete: false, is_settled: false }
    }

    /// Whether a message that no history has was not delivered to it.
    pub(crate) fn has_missed(&self) -> bool {
        if self.recovery.settings.stored_only {
            return false;
        }
        let table = self.recovery.table.lock();
        self.is_incomplete || self.watch.as_ref().is_none_or(|watch| table.has_missed(watch))
    }

    /// Its client has it again. Sets the attributes that were kept.
    pub(crate) fn recover(&mut self, attributes: &Attributes) {
        self.is_settled = true;
        self.recovery.settings.restore(&self.session, attributes);
        // A client of Socket.IO keeps its token, which is saved again.
        let claim = SessionWrite::Claim(self.session.generation.beyond());
        self.recovery.write(self.session.token, claim);
    }

    /// It is not this connection that gets it.
    pub(super) fn give_away(mut self) -> (Box<SavedSession>, Option<Watch>) {
        self.is_settled = true;
        let empty = SavedSession {
            token: self.session.token,
            id: Arc::from(""),
            rooms: Vec::new(),
            attributes: Vec::new(),
            user: None,
            log: SentLog::new(),
            generation: Generation::new(),
        };
        (std::mem::replace(&mut self.session, Box::new(empty)), self.watch.take())
    }
}

impl Drop for ClaimedSession<'_> {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.recovery.table.lock().end_watch(watch);
        }
        if !self.is_settled {
            self.recovery.ended_one(&self.session);
        }
    }
}

impl HubRecovery {
    /// The sessions of a namespace, whose hub may be in a cluster.
    pub(crate) fn new(
        settings: SessionSettings,
        cluster: Option<Cluster>,
        namespace: &str,
    ) -> Arc<Self> {
        let namespace: Arc<str> = Arc::from(namespace);
        let writes = settings.store.clone().map(SessionWrites::new);
        let shared = writes.map(|it| Arc::new(SharedSessions::new(it, cluster.clone())));
        // A session may have messages of two nodes, and a client the offset of an earlier session,
        // from before a restart: the numbers of two hubs are different.
        let first = rand::random::<u64>() >> 1;
        let observer = cluster.map(|cluster| {
            Box::new(WatchedRooms { cluster, namespace: Arc::clone(&namespace) }) as _
        });
        let table = RecoveryTable::new(settings.window, settings.sessions, observer);
        Arc::new_cyclic(|this| Self {
            settings,
            this: Weak::clone(this),
            namespace,
            table: Mutex::new(table),
            started: Instant::now(),
            has_timer: AtomicBool::new(false),
            next_plain: AtomicU64::new(first),
            waits: Notify::new(),
            shared,
        })
    }

    /// The rooms of a session have changed, or the positions that its client has in any case.
    pub(crate) fn changed(&self, token: SessionToken) {
        // The record of one that has ended stays deleted.
        if self.settings.stored_only && self.table.lock().find(token).is_some() {
            self.write(token, SessionWrite::Save);
        }
    }

    /// Whether other nodes may get its sessions.
    pub(crate) const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// For a namespace.
    pub(crate) fn child(&self, cluster: Option<Cluster>, namespace: &str) -> Arc<Self> {
        Self::new(self.settings.clone(), cluster, namespace)
    }

    /// A message that no history has.
    pub(crate) fn next_plain(&self) -> SentMessage {
        SentMessage::plain(self.next_plain.fetch_add(1, Relaxed))
    }

    /// Counts a message that no history has, after it was delivered.
    pub(crate) fn count(&self, recipients: PlainRecipients<'_>, except: PlainExceptions<'_>) {
        self.table.lock().count(recipients, except);
    }

    /// Messages of other nodes may be lost, which no history has.
    #[cold]
    pub(crate) fn count_unknown(&self) {
        self.count(PlainRecipients::Everyone, PlainExceptions::default());
    }

    /// Counts a message that was not delivered to the socket with this id.
    #[cold]
    pub(crate) fn count_for_id(&self, id: &str) {
        let ids = [Arc::from(id)];
        let recipients = PlainRecipients::Union { rooms: &[], ids: &ids };
        self.table.lock().count(recipients, PlainExceptions::default());
    }

    /// The session of a token. If its connection still seems to be open, that connection is ended.
    pub(crate) async fn claim(
        &self,
        token: SessionToken,
        offsets: &ClientOffsets,
        user: Option<&str>,
    ) -> Result<ClaimedSession<'_>, RecoveryFailure> {
        let claiming = async {
            match &self.shared {
                Some(shared) => self.claim_shared(shared, token, offsets, user).await,
                None => self.claim_or_wait(token, user).await,
            }
        };
        timeout(CLAIM_TIMEOUT, claiming).await.unwrap_or(Err(RecoveryFailure::Busy))
    }

    pub(super) async fn claim_or_wait(
        &self,
        token: SessionToken,
        user: Option<&str>,
    ) -> Result<ClaimedSession<'_>, RecoveryFailure> {
        loop {
            let mut waits = pin!(self.waits.notified());
            // From here on, no notification is missed.
            waits.as_mut().enable();
            let now = self.started.elapsed();
            let is_owner = |session: &SavedSession| session.user.as_deref() == user;
            let claim = self.table.lock().claim(now, token, is_owner);
            match claim {
                SessionClaim::Session(session, watch) => {
                    return Ok(ClaimedSession::new(self, session, watch));
                }
                SessionClaim::Connected(socket) => {
                    let socket = socket.upgrade().ok_or(RecoveryFailure::UnknownSession)?;
                    if socket.owner().is_none_or(|owner| owner.as_deref() != user) {
                        return Err(RecoveryFailure::UnknownSession);
                    }
                    socket.end();
                }
                SessionClaim::Leaving => {}
                SessionClaim::Taken => return Err(RecoveryFailure::AlreadyClaimed),
                SessionClaim::Unknown => return Err(RecoveryFailure::UnknownSession),
            }
            waits.await;
        }
    }

    /// The token of a new session.
    pub(crate) fn new_token(&self) -> SessionToken {
        SessionToken::random(self.shared.as_ref().and_then(|shared| NonZero::new(shared.owner)))
    }

    /// A socket is admitted: from now on, a client with the token gets its session.
    pub(crate) fn connect(&self, token: SessionToken, socket: Weak<dyn LiveSession>) {
        let ended = self.table.lock().connect(self.started.elapsed(), token, socket);
        self.ended(ended);
        self.write(token, SessionWrite::Save);
    }

    /// See [`RecoveryTable::leave`].
    pub(crate) fn leave(
        &self,
        token: SessionToken,
        id: &Arc<str>,
        rooms: &[Arc<str>],
    ) -> Option<Watch> {
        self.table.lock().leave(token, id, rooms)
    }

    /// A session ends for good: a connection that waits for it learns that there is none. Its socket has
    /// given these numbers to its records.
    pub(crate) fn end(&self, token: SessionToken, generation: &Generation) {
        let ended = self.table.lock().end(token);
        self.waits.notify_waiters();
        match ended {
            Some(waiting) => self.ended_one(&waiting),
            None => self.write(token, SessionWrite::Delete(generation.beyond())),
        }
    }

    /// A session that has left waits for its client.
    pub(crate) fn wait(&self, leaving: LeavingSession) {
        let LeavingSession { token, session, watch } = leaving;
        let (ended, has_timer) = {
            let mut table = self.table.lock();
            let ended = table.wait(self.started.elapsed(), token, session, watch);
            (ended, self.has_timer.swap(true, SeqCst))
        };
        if !has_timer {
            self.start_timer();
        }
        self.waits.notify_waiters();
        self.ended(ended);
    }
}
