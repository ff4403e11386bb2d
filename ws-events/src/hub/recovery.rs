//! Which sessions does a hub recover, for how long, and what does it keep of them?

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::delivery::recipient::Recipient as _;
use crate::hub::SessionUser;
use crate::hub::expiry::{ExpiredHook, ExpiredSession};
use crate::hub::sessions::{
    KeptAttribute, LeavingSession, LiveSession, SavedSession, SessionSettings, SocketRecovery,
};
use crate::hub::socket::SocketShared;
use crate::link::Link;
use crate::recovery::fate::{LastEnd, SessionFate};
use crate::recovery::generation::Generation;
use crate::recovery::offset::MAX_ROOM_OFFSETS;
use crate::recovery::record::MovedSession;
use crate::recovery::sent_log::SentLog;
use crate::recovery::token::SessionToken;
use crate::{SessionStore, Socket};

/// Which sessions a hub recovers after their connections were lost. Passed to
/// [`HubBuilder::recovery`](crate::HubBuilder::recovery), which describes recovery.
///
/// ```
/// use std::time::Duration;
/// use ws_events::{History, Hub, Recovery};
///
/// let hub = Hub::builder()
///     .envelope()
///     .history("*", History::new())
///     .recovery(Recovery::new().window(Duration::from_secs(30)).keep::<Vec<String>>("drafts"))
///     .build();
/// ```
#[derive(Clone)]
#[must_use = "settings do nothing before they are passed to `HubBuilder::recovery`"]
pub struct Recovery {
    window: Duration,
    sessions: usize,
    kept: Vec<KeptAttribute>,
    pub(super) user: Option<Arc<SessionUser>>,
    expired: Option<Arc<ExpiredHook>>,
    store: Option<Arc<dyn SessionStore>>,
    stored_only: bool,
    room_offsets: usize,
}

impl Recovery {
    /// The default settings.
    pub const fn new() -> Self {
        let window = Duration::from_secs(120);
        Self {
            window,
            sessions: 10_000,
            kept: Vec::new(),
            user: None,
            expired: None,
            store: None,
            stored_only: false,
            room_offsets: 1,
        }
    }

    /// How long a session waits for its client after its connection was lost. Default: 2 min.
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The largest number of sessions that wait. Beyond that, the oldest ends. Default: 10,000.
    ///
    /// Each takes its id, the names of its rooms, what is kept of its attributes, about 1 KiB, and
    /// 16 bytes for each of the last 1,024 messages that were sent to it.
    pub const fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Keeps the [attribute](Socket::attributes) of this type, as JSON. A recovered socket has it
    /// again, unless middleware has set one. The name identifies it among the kept attributes.
    /// Default: no attribute is kept.
    ///
    /// Do not keep what middleware has to decide anew, such as the rights of a user.
    pub fn keep<T>(mut self, name: impl AsRef<str>) -> Self
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        self.kept.push(KeptAttribute {
            name: Arc::from(name.as_ref()),
            save: |attributes| serde_json::to_string(&attributes.get::<T>()?).ok(),
            restore: |attributes, json| {
                if attributes.get::<T>().is_none()
                    && let Ok(value) = serde_json::from_str::<T>(json)
                {
                    attributes.insert(value);
                }
            },
        });
        self
    }

    /// Binds sessions to users: only a connection of the same user gets a session back. `user` is
    /// called after middleware, and returns the name of the user. Default: the token of the session
    /// suffices.
    pub fn user(
        mut self,
        user: impl Fn(&Socket) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.user = Some(Arc::new(user));
        self
    }

    /// Calls a function for each session that has waited for its client and ends without it: its
    /// window is over, newer ones have taken its [place](Self::sessions), or its client came back
    /// and could not get all that it had missed. Once for each session, and never for one that was
    /// recovered. Default: none.
    ///
    /// A session does not wait if its client or the application has closed the socket for good; the
    /// handlers of `disconnect` are called for all. Sessions that wait when the hub is dropped are
    /// not reported, and nobody reports those of a node that was killed, or that move to a node
    /// that does not get them. The function is called without a lock, and must not block.
    ///
    /// ```
    /// # use ws_events::{Hub, Recovery};
    /// let recovery = Recovery::new()
    ///     .user(|socket| socket.request()?.query("user").map(|user| user.into_owned()))
    ///     .on_expired(|session| println!("{:?} is gone", session.user));
    /// # let _ = Hub::builder().recovery(recovery);
    /// ```
    pub fn on_expired(mut self, hook: impl Fn(ExpiredSession) + Send + Sync + 'static) -> Self {
        self.expired = Some(Arc::new(hook));
        self
    }

    /// Lets a client get its session back on any node of a [cluster](crate::cluster). The store
    /// says which node holds it, and that node gives it away. A node that
    /// [drains](crate::Hub::drain) has other nodes take the sessions that wait, so a client does
    /// not notice a rolling restart. `RedisSessions` of `ws-events-redis` is such a store, and
    /// [`MemorySessions`](crate::MemorySessions) one for the hubs of a process. Default: none, and a
    /// session is recovered on its own node.
    ///
    /// It needs the same settings on all nodes; a broker whose subscribers get the messages of all
    /// nodes in the same order ([`total_order`](crate::broker::BrokerCapabilities::total_order)),
    /// such as Redis; and histories in a store that the nodes share. With another broker, or if a
    /// node does not answer in time, nobody knows what the session has missed outside of histories,
    /// and it is a new one. So it is after the death of its node. While the store is down, sessions
    /// are recovered on their own nodes only.
    ///
    /// With [`Routing::PerRoom`](crate::cluster::Routing::PerRoom), a session that is in more than
    /// 1,023 rooms is a new one on another node, unless only histories count.
    ///
    /// The store gets one short record for each session: when it begins, and again in each
    /// [window](Self::window). What it does not take is written again after 5 s. With
    /// [`stored_only`](Self::stored_only), the record is longer, and a session outlives its node.
    ///
    /// ```
    /// # use ws_events::{History, Hub, Recovery, SessionStore};
    /// fn hub(sessions: impl SessionStore) -> Hub {
    ///     let recovery = Recovery::new().store(sessions);
    ///     Hub::builder().envelope().history("*", History::new()).recovery(recovery).build()
    /// }
    /// ```
    pub fn store(mut self, store: impl SessionStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Counts only messages that a [history](crate::HubBuilder::history) has: a session is
    /// recovered, although it may have missed messages to its id, to all, to several rooms, and to
    /// rooms without a history. Its client gets everything that its other rooms got. Default: it is
    /// a new session if it has missed any message.
    ///
    /// With a [store](Self::store), a session then also outlives the death of its node, and the
    /// restart of the only one. Its record has its rooms and the kept attributes, as they were when
    /// they were written last: when its rooms have changed, and again in each
    /// [window](Self::window). A room that it has joined in the moment of the death may be missing,
    /// so a handler of `connect` should join the rooms of a user again: it is no error if the
    /// socket is in the room. The client has to say what it has of each room, as the module in
    /// [`JS`](crate::JS) and `ws_client::Reconnect` do: `at` in its first message is a list of the
    /// last offsets that begin with the same 16 digits, the newest of all at the end. A client with
    /// one offset, such as one of Socket.IO, is recovered after a death if it is in one room with a
    /// history, or with [`room_offsets`](Self::room_offsets).
    ///
    /// If the [send queue](crate::HubBuilder::send_queue) drops messages when it is full, the record of
    /// the first drop is written at once. If the node dies before the store has that record, nobody else
    /// knows of the drop: a client that has read later events of the room is recovered without the
    /// message. With [`Overflow::Disconnect`](crate::Overflow::Disconnect), the default, nothing is
    /// dropped.
    pub const fn stored_only(mut self) -> Self {
        self.stored_only = true;
        self
    }

    /// Lets a client of Socket.IO get its session back after the death of its node if it is in several
    /// rooms with histories, at most `most` of them and 100. Its library remembers one text, so the
    /// last argument of each event has the offsets of all these rooms. Default: 1, the offset of the
    /// event alone. It matters with a [store](Self::store) and [`stored_only`](Self::stored_only).
    ///
    /// An event for a client in several rooms is then longer, by some 25 bytes for each other room,
    /// and is copied and compressed for this client, and not once for all members of its room. A
    /// client in more rooms gets the offset of the event alone.
    pub const fn room_offsets(mut self, most: usize) -> Self {
        self.room_offsets = most;
        self
    }
}

impl Recovery {
    pub(super) fn sessions_settings(&self) -> SessionSettings {
        let kept = self.kept.clone().into();
        let (expired, store) = (self.expired.clone(), self.store.clone());
        let (window, sessions, stored_only) = (self.window, self.sessions, self.stored_only);
        let outlives_nodes = stored_only && store.is_some();
        let room_offsets = if outlives_nodes { self.room_offsets.min(MAX_ROOM_OFFSETS) } else { 1 };
        SessionSettings { window, sessions, kept, expired, store, stored_only, room_offsets }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept: Vec<_> = self.kept.iter().map(|kept| &kept.name).collect();
        f.debug_struct("Recovery")
            .field("window", &self.window)
            .field("sessions", &self.sessions)
            .field("keep", &kept)
            .field("user", &self.user.is_some())
            .field("on_expired", &self.expired.is_some())
            .field("store", &self.store.is_some())
            .field("stored_only", &self.stored_only)
            .field("room_offsets", &self.room_offsets)
            .finish()
    }
}

impl LiveSession for SocketShared {
    fn owner(&self) -> Option<&Option<String>> {
        self.session().map(|(_, user)| user)
    }

    fn generation(&self) -> Option<&Generation> {
        let recovery = self.recovery()?;
        recovery.admitted.get().map(|_| &recovery.generation)
    }

    fn end(&self) {
        if self.is_kicked() {
            return self.end_session();
        }
        if let Some(own) = self.recovery() {
            let mut fate = own.fate.lock();
            if *fate == SessionFate::Open {
                *fate = SessionFate::TakenOver;
            }
        }
        // The log has what was not written.
        self.with_link(Link::close_now);
    }

    fn snapshot(&self, namespace: &Arc<str>) -> Option<MovedSession> {
        let recovery = self.recovery()?;
        let (_, user) = recovery.admitted.get()?.clone();
        Some(MovedSession {
            generation: recovery.generation.last(),
            namespace: Arc::clone(namespace),
            id: self.id.get(),
            user,
            rooms: self.room_names(),
            attributes: self.kept_attributes(&self.hub.recovery()?.settings),
            log: recovery.log.lock().snapshot(),
        })
    }
}

impl SocketShared {
    /// The most rooms whose offsets its client remembers: 1 if it remembers those of all rooms by itself.
    pub(crate) fn room_offsets(&self) -> usize {
        match (self.format.packets(), self.hub.recovery()) {
            (Some(_), Some(recovery)) => recovery.settings.room_offsets,
            _ => 1,
        }
    }

    /// What it has if its session can be recovered.
    pub(crate) fn recovery(&self) -> Option<&SocketRecovery> {
        if !self.format.is_resumable() {
            return None;
        }
        self.extras.get()?.recovery.as_ref()
    }

    /// The token and the user of its session, once it is admitted.
    fn session(&self) -> Option<&(SessionToken, Option<String>)> {
        self.recovery()?.admitted.get()
    }

    /// It is admitted: from now on, a client with the token gets its session.
    pub(crate) fn begin_session(
        self: &Arc<Self>,
        token: SessionToken,
        user: Option<String>,
        recovered: bool,
    ) {
        if let (Some(own), Some(hub)) = (self.recovery(), self.hub.recovery())
            && own.admitted.set((token, user)).is_ok()
        {
            own.recovered.store(recovered, SeqCst);
            let socket: Arc<dyn LiveSession> = Arc::clone(self) as _;
            hub.connect(token, Arc::downgrade(&socket));
            // By middleware, or by another task meanwhile.
            if self.is_kicked() {
                hub.end(token, &own.generation);
            }
        }
    }

    /// Its connection has ended, and its queue accepts no more messages. `None` if it has no
    /// session, or if that is not to be recovered.
    pub(crate) fn begin_leaving(&self, end: LastEnd) -> Option<LeavingSession> {
        let (hub, own) = (self.hub.recovery()?, self.recovery()?);
        let (token, user) = own.admitted.get()?.clone();
        let is_over = match end {
            LastEnd::Lost => self.is_kicked(),
            // The client wants it all the same.
            LastEnd::ClientLeft => *own.fate.lock() != SessionFate::TakenOver,
            LastEnd::Kicked => true,
        };
        if is_over {
            hub.end(token, &own.generation);
            return None;
        }
        let (id, rooms) = (self.id.get(), self.room_names());
        let watch = hub.leave(token, &id, &rooms)?;
        // What is sent from here on is counted, and what was sent before is in the log.
        let log = std::mem::replace(&mut *own.log.lock(), SentLog::new());
        let attributes = self.kept_attributes(&hub.settings);
        let generation = Generation::behind(own.generation.beyond());
        let session = SavedSession { token, id, rooms, attributes, user, log, generation };
        let session = Box::new(session);
        Some(LeavingSession { token, session, watch })
    }

    fn kept_attributes(&self, settings: &SessionSettings) -> Vec<(Arc<str>, String)> {
        let save =
            |kept: &KeptAttribute| Some((Arc::clone(&kept.name), (kept.save)(&self.attributes)?));
        settings.kept.iter().filter_map(save).collect()
    }

    /// Its rooms have changed, or their positions are known.
    pub(crate) fn session_changed(&self) {
        if let (Some(hub), Some((token, _))) = (self.hub.recovery(), self.session()) {
            hub.changed(*token);
        }
    }

    /// Its session ends for good.
    pub(crate) fn end_session(&self) {
        if let (Some(hub), Some(own)) = (self.hub.recovery(), self.recovery())
            && let Some((token, _)) = own.admitted.get()
        {
            hub.end(*token, &own.generation);
        }
    }
}

impl Socket {
    /// Whether it continues the session of a connection that was lost: it has the id, the rooms and
    /// the kept attributes of that session, and its client gets all that it has missed. See
    /// [`HubBuilder::recovery`](crate::HubBuilder::recovery).
    #[doc(alias("resume", "reconnect"))]
    pub fn recovered(&self) -> bool {
        self.0.recovery().is_some_and(SocketRecovery::is_recovered)
    }
}
