//! Which sessions wait for their clients, what is kept of them, and how does a connection claim one?

use std::pin::pin;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;
use ws_core::{Attributes, PreparedMessage};

use crate::cluster::seam::Cluster;
use crate::delivery::send_queue::ByteSize as _;
use crate::delivery::stats::{Backlog, Counters};
use crate::delivery::writer::timeout;
use crate::hub::expiry::ExpiredHook;
use crate::recovery::offset::SentMessage;
use crate::recovery::sent_log::SentLog;
use crate::recovery::table::{
    PlainExceptions, PlainRecipients, RecoveryTable, SessionClaim, Watch, WatchObserver,
};
use crate::recovery::token::SessionToken;

/// How long a claim waits until the handlers of the lost connection have returned.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a session was not recovered. As text, it is the `reason` that an envelope client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecoveryFailure {
    /// There is no such session: its window is over, it was ended, or it is of another user.
    UnknownSession,
    /// Another connection has claimed it.
    AlreadyClaimed,
    /// The handlers of the lost connection have not returned in time.
    Busy,
    /// The offset is not among the last that were sent.
    UnknownOffset,
    /// A message was missed that is in no history, or not any more.
    Missed,
    /// More was missed than fits into the send queue.
    TooMuch,
    /// Another socket has its id now.
    IdTaken,
    /// The history cannot be read now.
    HistoryUnavailable,
}

/// How long sessions wait, how many, and what is kept of them.
#[derive(Clone)]
pub(crate) struct SessionSettings {
    pub(crate) window: Duration,
    pub(crate) sessions: usize,
    pub(crate) kept: Arc<[KeptAttribute]>,
    pub(crate) expired: Option<Arc<ExpiredHook>>,
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

    /// Ends the connection at once.
    fn end(&self);
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
    /// Notified when a session begins to wait.
    waits: Notify,
}

/// What is kept of a session while its client is away.
pub(crate) struct SavedSession {
    pub(crate) id: Arc<str>,
    pub(crate) rooms: Vec<Arc<str>>,
    pub(crate) attributes: Vec<(Arc<str>, String)>,
    pub(crate) user: Option<String>,
    pub(crate) log: SentLog<PreparedMessage>,
}

/// What a socket has whose session can be recovered.
pub(crate) struct SocketRecovery {
    pub(crate) log: Mutex<SentLog<PreparedMessage>>,
    /// Once it is admitted.
    pub(crate) admitted: OnceLock<(SessionToken, Option<String>)>,
    pub(crate) recovered: AtomicBool,
    /// Whether another connection has ended this one, to get its session.
    pub(crate) taken_over: AtomicBool,
}

impl SocketRecovery {
    pub(crate) const fn new() -> Self {
        let log = Mutex::new(SentLog::new());
        let (recovered, taken_over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { log, admitted: OnceLock::new(), recovered, taken_over }
    }

    /// Discards the messages that its log holds back.
    pub(crate) fn discard_held(&self, counters: &Counters) {
        let held = self.log.lock().release();
        let sizes = held.iter().map(|(_, message)| message.byte_size());
        counters.discard(Backlog { messages: held.len(), bytes: sizes.sum() });
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
    pub(crate) token: SessionToken,
    pub(crate) session: Box<SavedSession>,
    watch: Option<Watch>,
    is_recovered: bool,
}

impl ClaimedSession<'_> {
    /// Whether a message that no history has was not delivered to it.
    pub(crate) fn has_missed(&self) -> bool {
        let table = self.recovery.table.lock();
        self.watch.as_ref().is_none_or(|watch| table.has_missed(watch))
    }

    /// Its client has it again. Sets the attributes that were kept.
    pub(crate) fn recover(&mut self, attributes: &Attributes) {
        self.is_recovered = true;
        self.recovery.settings.restore(&self.session, attributes);
    }
}

impl Drop for ClaimedSession<'_> {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.recovery.table.lock().end_watch(watch);
        }
        if !self.is_recovered {
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
            next_plain: AtomicU64::new(0),
            waits: Notify::new(),
        })
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
        user: Option<&str>,
    ) -> Result<ClaimedSession<'_>, RecoveryFailure> {
        timeout(CLAIM_TIMEOUT, self.claim_or_wait(token, user))
            .await
            .unwrap_or(Err(RecoveryFailure::Busy))
    }

    async fn claim_or_wait(
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
                    let watch = Some(watch);
                    let (recovery, is_recovered) = (self, false);
                    return Ok(ClaimedSession { recovery, token, session, watch, is_recovered });
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

    /// A socket is admitted: from now on, a client with the token gets its session.
    pub(crate) fn connect(&self, token: SessionToken, socket: Weak<dyn LiveSession>) {
        let ended = self.table.lock().connect(self.started.elapsed(), token, socket);
        self.ended(ended);
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

    /// A session ends for good.
    pub(crate) fn end(&self, token: SessionToken) {
        let ended = self.table.lock().end(token);
        self.ended(ended);
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
