//! What do the sockets, the readers and the task of presence share?

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::limits::{MAX_NAME, PresenceError, PresenceOptions};
use super::list::{PresenceChange, PresenceList};
use super::own::{OwnEntries, SocketKey};
use super::remote::RemoteEntries;
use super::rooms::{EntrySource, PresenceRooms, RoomKey};
use crate::cluster::NodeId;
use crate::cluster::host::PresenceHost;
use crate::cluster::presence_body::{PresenceOp, PresencePart, PresenceRecord};
use crate::cluster::seam::Cluster;

/// The presence of a hub and its namespaces.
pub(crate) struct PresenceTable {
    options: PresenceOptions,
    /// Whether a socket was tracked: only then, the end of a socket looks further.
    is_used: AtomicBool,
    /// Whether the application uses presence, in a cluster.
    is_shared: AtomicBool,
    cluster: Option<Cluster>,
    this: Weak<Self>,
    state: Mutex<TableState>,
    /// The task has something to do.
    changed: Arc<Notify>,
}

struct TableState {
    rooms: PresenceRooms,
    own: OwnEntries,
    others: RemoteEntries,
    /// When collected changes are passed on.
    flush_at: Option<Instant>,
    has_task: bool,
    /// The hub has ended.
    is_closed: bool,
}

impl PresenceTable {
    pub(crate) fn new(options: PresenceOptions, cluster: Option<Cluster>) -> Arc<Self> {
        let state = TableState {
            rooms: PresenceRooms::new(&options),
            own: OwnEntries::default(),
            others: RemoteEntries::new(options.entries),
            flush_at: None,
            has_task: false,
            is_closed: false,
        };
        Arc::new_cyclic(|this| Self {
            options,
            is_used: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            cluster,
            this: this.clone(),
            state: Mutex::new(state),
            changed: Arc::default(),
        })
    }

    /// The application uses presence: in a cluster, it is exchanged with the other nodes from now on.
    pub(crate) fn share(&self) {
        let Some(cluster) = &self.cluster else { return };
        if !self.is_shared.load(Relaxed) && !self.is_shared.swap(true, Relaxed) {
            self.change(None, |state, _| state.own.share());
            cluster.use_presence();
        }
    }

    /// This table for the cluster, if it is shared.
    pub(crate) fn shared(&self) -> Option<Arc<dyn PresenceHost>> {
        let this = self.is_shared.load(Relaxed).then(|| self.this.upgrade())?;
        this.map(|this| this as _)
    }

    /// The entries of this node, and their version.
    pub(crate) fn records(&self) -> (u64, Vec<PresenceRecord>) {
        let mut state = self.state.lock();
        // What is collected has no version yet.
        self.publish(&mut state);
        (state.own.version(), state.own.records(&state.rooms))
    }

    /// Tracks a socket, or changes its metadata. Called while the socket cannot end. `runtime` is that
    /// of the socket.
    pub(crate) fn track(
        &self,
        socket: SocketKey,
        room: &RoomKey,
        key: &str,
        meta: Arc<str>,
        runtime: Option<&Handle>,
    ) -> Result<(), PresenceError> {
        if let Some(name) = [&*room.room, key].into_iter().find(|name| name.len() > MAX_NAME) {
            return Err(PresenceError::NameTooLong(name.len()));
        }
        self.check_meta(&meta)?;
        self.is_used.store(true, Relaxed);
        self.change(runtime, |state, _| {
            if let Some((number, place)) = state.own.find(socket, room, key) {
                state.rooms.set_meta(place, meta);
                state.own.touch(number);
                return Ok(());
            }
            if state.own.len() >= self.options.entries {
                return Err(PresenceError::TooManyEntries(self.options.entries));
            }
            let source = EntrySource { node: None, number: state.own.next_number() };
            let place = state.rooms.enter((room, &Arc::from(key)), source, meta, true)?;
            state.own.insert(socket, place);
            Ok(())
        })
    }

    /// Changes the metadata of a socket that is tracked.
    pub(crate) fn update(
        &self,
        socket: SocketKey,
        room: &RoomKey,
        key: &str,
        meta: Arc<str>,
    ) -> Result<(), PresenceError> {
        self.check_meta(&meta)?;
        self.change(None, |state, _| {
            let found = state.own.find(socket, room, key);
            let (number, place) = found.ok_or(PresenceError::NotTracked)?;
            state.rooms.set_meta(place, meta);
            state.own.touch(number);
            Ok(())
        })
    }

    /// Removes a socket from a room, at once. Returns whether it was tracked.
    pub(crate) fn untrack(&self, socket: SocketKey, room: &RoomKey, key: &str) -> bool {
        self.change(None, |state, now| {
            let Some((number, _)) = state.own.find(socket, room, key) else { return false };
            if let Some(place) = state.own.remove(socket, number, true) {
                state.rooms.leave(&place, true, now);
            }
            true
        })
    }

    /// A socket has ended. It is not tracked after this.
    pub(crate) fn socket_ended(&self, socket: SocketKey) {
        if !self.is_used.load(Relaxed) {
            return;
        }
        self.change(None, |state, now| {
            for number in state.own.of_socket(socket) {
                if let Some(place) = state.own.remove(socket, number, false) {
                    state.rooms.leave(&place, false, now);
                }
            }
        });
    }

    pub(crate) fn list(&self, room: &RoomKey) -> PresenceList {
        // What has left by now is gone, even if the task did not run yet.
        self.change(None, |state, _| state.rooms.list(room))
    }

    /// A new reader of the changes of a room, and how it is woken.
    pub(crate) fn subscribe(&self, room: &RoomKey) -> (u64, Arc<AtomicWaker>) {
        self.state.lock().rooms.subscribe(room)
    }

    pub(crate) fn unsubscribe(&self, room: &RoomKey, reader: u64) {
        self.state.lock().rooms.unsubscribe(room, reader);
    }

    /// What a reader gets next; `None` after the end of the hub.
    pub(crate) fn poll_change(
        &self,
        room: &RoomKey,
        (reader, waker): (u64, &AtomicWaker),
        cx: &Context<'_>,
    ) -> Poll<Option<PresenceChange>> {
        waker.register(cx.waker());
        let (next, woken) = {
            let mut state = self.state.lock();
            if state.is_closed {
                return Poll::Ready(None);
            }
            (state.rooms.next(room, reader), state.rooms.take_woken())
        };
        woken.iter().for_each(|waker| waker.wake());
        next.map_or(Poll::Pending, |change| Poll::Ready(Some(change)))
    }

    /// The hub has ended.
    fn close(&self) {
        let readers = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.rooms.readers()
        };
        readers.iter().for_each(|waker| waker.wake());
        self.changed.notify_one();
    }

    fn check_meta(&self, meta: &str) -> Result<(), PresenceError> {
        let (bytes, limit) = (meta.len(), self.options.meta_bytes);
        if bytes > limit { Err(PresenceError::MetaTooLong { bytes, limit }) } else { Ok(()) }
    }

    /// Changes the state, and lets the task pass the changes on.
    fn change<T>(
        &self,
        runtime: Option<&Handle>,
        change: impl FnOnce(&mut TableState, Instant) -> T,
    ) -> T {
        let now = Instant::now();
        let mut state = self.state.lock();
        let due = state.due();
        state.rooms.expire(now);
        let result = change(&mut state, now);
        if state.has_changed() && state.flush_at.is_none() {
            state.flush_at = Some(now + self.options.interval);
        }
        let is_new = state.due() != due;
        let needs_task = state.due().is_some() && !state.has_task && !state.is_closed;
        drop(state);
        if needs_task {
            self.start(runtime);
        }
        if is_new {
            self.changed.notify_one();
        }
        result
    }

    /// Starts the task, unless it runs. Without the lock: a runtime that has ended drops it at once.
    fn start(&self, runtime: Option<&Handle>) {
        let current = Handle::try_current().ok();
        let Some(runtime) = current.as_ref().or(runtime) else { return };
        if !std::mem::replace(&mut self.state.lock().has_task, true) {
            let guard = TaskGuard(self.this.clone());
            drop(runtime.spawn(run(guard, Arc::clone(&self.changed))));
        }
    }

    /// Passes changes to the other nodes. Under the lock, so that they come in order: a broker does not
    /// wait for a network.
    fn publish(&self, state: &mut TableState) {
        let Some(cluster) = &self.cluster else { return };
        while let Some((version, ops)) = state.own.next_batch(&state.rooms) {
            cluster.publish_presence(version, ops);
        }
    }

    /// Passes on what is due. Returns when to look again, unless the hub has ended.
    fn advance(&self) -> Option<Option<Instant>> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.is_closed {
            return None;
        }
        state.rooms.expire(now);
        if state.flush_at.is_some_and(|at| at <= now) {
            state.flush_at = None;
            state.rooms.flush();
            self.publish(&mut state);
        } else if state.has_changed() {
            state.flush_at.get_or_insert(now + self.options.interval);
        }
        let (due, woken) = (state.due(), state.rooms.take_woken());
        drop(state);
        woken.iter().for_each(|waker| waker.wake());
        Some(due)
    }
}

impl TableState {
    /// Whether there is something to pass on.
    fn has_changed(&self) -> bool {
        self.rooms.is_dirty() || self.own.has_changed()
    }

    /// When something is to be done.
    fn due(&self) -> Option<Instant> {
        [self.flush_at, self.rooms.next_expiry()].into_iter().flatten().min()
    }
}

impl PresenceHost for PresenceTable {
    fn version(&self) -> u64 {
        self.state.lock().own.version()
    }

    fn claimed(&self, node: NodeId, version: u64) -> bool {
        self.state.lock().others.claimed(node, version)
    }

    fn changed(&self, node: NodeId, version: u64, ops: Vec<PresenceOp>) -> bool {
        self.change(None, |state, now| {
            state.others.changed(node, version, ops, &mut state.rooms, now)
        })
    }

    fn is_behind(&self, node: NodeId) -> bool {
        self.state.lock().others.is_behind(node)
    }

    fn part(&self, node: NodeId, part: PresencePart) {
        self.state.lock().others.part(node, part);
    }

    fn listed(&self, node: NodeId, is_complete: bool) {
        self.change(None, |state, now| {
            state.others.listed(node, is_complete, &mut state.rooms, now);
        });
    }

    fn node_down(&self, node: NodeId) {
        self.change(None, |state, now| state.others.node_down(node, &mut state.rooms, now));
    }
}

impl Drop for PresenceTable {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

/// The presence of a hub. The table is shared with its namespaces, and with readers.
pub(crate) struct HubPresence {
    table: Arc<PresenceTable>,
    /// It is not that of a namespace.
    is_root: bool,
}

impl HubPresence {
    pub(crate) fn new(table: Arc<PresenceTable>) -> Self {
        Self { table, is_root: true }
    }

    /// For a namespace.
    pub(crate) fn child(&self) -> Self {
        Self { table: Arc::clone(&self.table), is_root: false }
    }

    pub(crate) const fn table(&self) -> &Arc<PresenceTable> {
        &self.table
    }
}

impl Drop for HubPresence {
    /// Readers end with the hub.
    fn drop(&mut self) {
        if self.is_root {
            self.table.close();
        }
    }
}

/// The table of a task, which another task replaces if it is dropped with its runtime.
struct TaskGuard(Weak<PresenceTable>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if let Some(table) = self.0.upgrade() {
            table.state.lock().has_task = false;
        }
    }
}

/// Passes changes on, and removes devices whose grace period is over.
async fn run(guard: TaskGuard, changed: Arc<Notify>) {
    loop {
        let Some(due) = guard.0.upgrade().and_then(|table| table.advance()) else { return };
        match due {
            None => changed.notified().await,
            Some(due) => tokio::select! {
                () = changed.notified() => {}
                () = sleep_until(due) => {}
            },
        }
    }
}
