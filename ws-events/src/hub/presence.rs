//! What can an application do with presence?

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use futures::task::AtomicWaker;
use serde::Serialize;

use crate::delivery::recipient::Recipient as _;
use crate::hub::membership::Membership;
use crate::hub::socket::SocketShared;
use crate::presence::list::{PresenceChange, PresenceList};
use crate::presence::own::SocketKey;
use crate::presence::rooms::RoomKey;
use crate::presence::table::PresenceTable;
use crate::{Hub, PresenceError, Socket};

impl Hub {
    /// Who is present in a room: see [`Presence`].
    #[doc(alias("track", "online", "tracker"))]
    pub fn presence(&self, room: impl AsRef<str>) -> Presence {
        self.0.presence.table().share();
        let (namespace, room) = (Arc::from(self.namespace()), Arc::from(room.as_ref()));
        Presence { hub: self.clone(), room: RoomKey { namespace, room } }
    }
}

/// Who is present in a room, with metadata. Made by [`Hub::presence`].
///
/// An application tracks a socket by a key, such as the id of its user. A key has as many devices as
/// sockets are tracked by it, each with its own metadata. The room is a name: a socket need not be a
/// member, and leaving the room of broadcasts does not change its presence.
///
/// The list is exact on one node: a call that has returned is in it. When a socket ends, its device stays
/// in the list for the [grace period](crate::PresenceOptions::grace), so that a lost connection that
/// comes back is no change. [`untrack`](Self::untrack) has no grace period. A session that is
/// [recovered](crate::HubBuilder::recovery) has a new socket: track it in the handler of `connect`, too.
///
/// # In a cluster
///
/// All nodes have the list of all nodes, once they have called [`Hub::presence`]. Without losses, it takes
/// the [interval](crate::PresenceOptions::interval) and the time of the broker. While the broker delivers
/// again after losses, cuts or an outage, the lists are the same after at most
///
/// * a [request timeout](crate::cluster::ClusterConfig::request_timeout), a
///   [heartbeat](crate::cluster::ClusterConfig::heartbeat) and 1 s for what was tracked, updated or
///   untracked: 9 s by default;
/// * the same and the grace period for a socket that has ended: 19 s;
/// * 10/3 heartbeats, 1 s and the grace period for the sockets of a node that was killed: 21 s.
///
/// An [emitter](crate::cluster::ClusterConfig::emitter), and a node in a cluster with servers of Socket.IO
/// in Node.js, have the list of their own sockets.
///
/// # Example
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use ws_events::{Attribute, Hub, PresenceChange, PresenceError, Socket};
///
/// #[derive(Serialize, Deserialize)]
/// struct Status {
///     away: bool,
/// }
///
/// #[derive(Clone)]
/// struct User(String);
///
/// async fn connect(socket: Socket, Attribute(User(user)): Attribute<User>) -> Result<(), PresenceError> {
///     socket.hub().presence("team").track(&socket, user, &Status { away: false })
/// }
///
/// /// Tells the members of a room who is there.
/// async fn announce(hub: Hub) {
///     let mut changes = hub.presence("team").changes();
///     drop(hub);
///     while let Some(change) = changes.next().await {
///         match change {
///             PresenceChange::List(list) => println!("{} are here", list.len()),
///             PresenceChange::Diff(diff) => {
///                 diff.joins.iter().for_each(|entry| println!("{} has come", entry.key));
///                 diff.leaves.iter().for_each(|entry| println!("{} has gone", entry.key));
///             }
///         }
///     }
/// }
///
/// let hub = Hub::builder().envelope().build();
/// hub.on_connect(connect);
/// assert!(hub.presence("team").list().is_empty());
/// # let _ = announce;
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing before a call like `track`"]
pub struct Presence {
    hub: Hub,
    room: RoomKey,
}

impl Presence {
    /// Tracks a socket of this process by a key until its end, with metadata that is serialised as JSON.
    /// If it is tracked by this key already, its metadata is replaced.
    ///
    /// A device of the key whose socket has ended within the grace period becomes that of this socket.
    ///
    /// # Errors
    ///
    /// If the socket is not connected, the metadata cannot be serialised, or a limit of
    /// [`PresenceOptions`](crate::PresenceOptions) is reached. Nothing has changed then.
    pub fn track<T: Serialize + ?Sized>(
        &self,
        socket: &Socket,
        key: impl AsRef<str>,
        meta: &T,
    ) -> Result<(), PresenceError> {
        let (table, meta) = (self.table(), json(meta)?);
        if !Arc::ptr_eq(table, socket.0.hub.presence.table()) {
            return Err(PresenceError::NotConnected);
        }
        // Under this lock the socket does not end.
        let membership = socket.0.membership.lock();
        let Membership::Joined { .. } = &*membership else {
            return Err(PresenceError::NotConnected);
        };
        table.track(socket.0.key(), &self.room, key.as_ref(), meta, socket.0.runtime())
    }

    /// Replaces the metadata of a socket that is [tracked](Self::track).
    ///
    /// # Errors
    ///
    /// [`PresenceError::NotTracked`] if it is not tracked by this key, also after its end; otherwise as
    /// [`track`](Self::track).
    pub fn update<T: Serialize + ?Sized>(
        &self,
        socket: &Socket,
        key: impl AsRef<str>,
        meta: &T,
    ) -> Result<(), PresenceError> {
        self.table().update(socket.0.key(), &self.room, key.as_ref(), json(meta)?)
    }

    /// Ends the tracking of a socket by this key, without a grace period. Returns whether it was tracked.
    pub fn untrack(&self, socket: &Socket, key: impl AsRef<str>) -> bool {
        self.table().untrack(socket.0.key(), &self.room, key.as_ref())
    }

    /// Who is present, with the devices whose grace period is not over. It costs a copy of the list.
    pub fn list(&self) -> PresenceList {
        self.table().list(&self.room)
    }

    /// The changes of the list from now on, a [`Stream`]: first the list, then what has changed within
    /// each [interval](crate::PresenceOptions::interval). Applied to the list, the changes give the
    /// list.
    ///
    /// Up to 16 diffs wait for each reader. One that does not keep up gets the whole list instead. The
    /// stream keeps no hub: it ends with the last handle of the hub.
    pub fn changes(&self) -> PresenceChanges {
        let table = Arc::clone(self.table());
        let (reader, waker) = table.subscribe(&self.room);
        PresenceChanges { table, room: self.room.clone(), reader, waker }
    }

    fn table(&self) -> &Arc<PresenceTable> {
        self.hub.0.presence.table()
    }
}

fn json<T: Serialize + ?Sized>(meta: &T) -> Result<Arc<str>, PresenceError> {
    let json = serde_json::to_string(meta).map_err(|error| PresenceError::Json(Arc::new(error)))?;
    Ok(json.into())
}

impl SocketShared {
    /// Identifies it until its end.
    pub(crate) fn key(self: &Arc<Self>) -> SocketKey {
        SocketKey(Arc::as_ptr(self).addr())
    }
}

/// The changes of a [`PresenceList`], in order: a [`Stream`]. Made by [`Presence::changes`].
pub struct PresenceChanges {
    table: Arc<PresenceTable>,
    room: RoomKey,
    reader: u64,
    waker: Arc<AtomicWaker>,
}

impl PresenceChanges {
    /// The next change; `None` after the end of the hub.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no change is lost.
    pub async fn next(&mut self) -> Option<PresenceChange> {
        std::future::poll_fn(|cx| self.poll_change(cx)).await
    }

    fn poll_change(&self, cx: &Context<'_>) -> Poll<Option<PresenceChange>> {
        self.table.poll_change(&self.room, (self.reader, &self.waker), cx)
    }
}

impl Stream for PresenceChanges {
    type Item = PresenceChange;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PresenceChange>> {
        self.poll_change(cx)
    }
}

impl Drop for PresenceChanges {
    fn drop(&mut self) {
        self.table.unsubscribe(&self.room, self.reader);
    }
}

impl fmt::Debug for PresenceChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceChanges").field("room", &self.room.room).finish_non_exhaustive()
    }
}
