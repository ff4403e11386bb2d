//! In which rooms is a socket, and how does it join and leave them?

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use crate::delivery::stats::{Backlog, add};
use crate::events::payload::Payload;
use crate::hub::socket::{SocketQueue, SocketShared};
use crate::recovery::sent_log::{MissedMessages, RejoinedFor};
use crate::registry::rooms::{MemberList, MemberSlot};
use crate::{Event, NotConnected, Socket};

/// A socket as a member of a room. A broadcast needs the queue, and rarely anything else.
#[derive(Clone)]
pub(crate) struct RoomEntry {
    pub(crate) queue: Arc<SocketQueue>,
    pub(crate) socket: Arc<SocketShared>,
}

impl RoomEntry {
    pub(crate) fn of(socket: &Arc<SocketShared>) -> Self {
        Self { queue: Arc::clone(&socket.queue), socket: Arc::clone(socket) }
    }
}

impl PartialEq for RoomEntry {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket)
    }
}

/// The rooms of a socket, over its life: `Pending`, then `Joined`, then `Left` for good.
pub(crate) enum Membership {
    /// It is connecting.
    Pending,
    /// It is in the room of all sockets, and in these rooms.
    Joined { everyone: MemberSlot<RoomEntry>, rooms: Vec<MemberSlot<RoomEntry>> },
    /// It is disconnected.
    Left,
}

impl Membership {
    fn rooms(&self) -> &[MemberSlot<RoomEntry>] {
        match self {
            Self::Joined { rooms, .. } => rooms,
            Self::Pending | Self::Left => &[],
        }
    }
}

impl Socket {
    /// Joins a room, which is created if it does not exist, and removed with its last member.
    /// If the socket is in the room already, nothing changes.
    ///
    /// Neither the number of a socket's rooms nor the length of their names is limited. If the
    /// peer chooses the room, check the name and the number of rooms.
    ///
    /// # Errors
    ///
    /// If the socket is not connected: it is disconnected, or middleware has not accepted it yet.
    #[doc(alias = "subscribe")]
    pub fn join(&self, room: impl AsRef<str>) -> Result<(), NotConnected> {
        let room = room.as_ref();
        let task = {
            let mut membership = self.0.membership.lock();
            let Membership::Joined { rooms, .. } = &mut *membership else {
                return Err(NotConnected);
            };
            if rooms.iter().any(|slot| **slot.room().name() == *room) {
                if let Some(recovery) = self.0.recovery() {
                    recovery.log.lock().want(room);
                }
                return Ok(());
            }
            let slot = self.0.enter_room(room);
            let task = self.0.push_room_event(Event::RoomJoin, slot.room().name());
            rooms.push(slot);
            task
        };
        self.0.session_changed();
        task.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Leaves a room. Returns whether the socket was in it.
    #[doc(alias = "unsubscribe")]
    pub fn leave(&self, room: impl AsRef<str>) -> bool {
        let room = room.as_ref();
        let task = {
            let mut membership = self.0.membership.lock();
            let Membership::Joined { rooms, .. } = &mut *membership else { return false };
            let Some(at) = rooms.iter().position(|slot| **slot.room().name() == *room) else {
                return false;
            };
            let slot = rooms.swap_remove(at);
            // Under the lock, so that a concurrent `join` comes after this.
            self.0.hub.rooms.leave(&slot, &RoomEntry::of(&self.0));
            if let Some(recovery) = self.0.recovery() {
                recovery.log.lock().leave(room);
            }
            self.0.push_room_event(Event::RoomLeave, slot.room().name())
        };
        self.0.session_changed();
        task.into_iter().for_each(Waker::wake);
        true
    }

    /// The names of its rooms.
    pub fn rooms(&self) -> Vec<String> {
        self.0.room_names().iter().map(|name| name.as_ref().to_owned()).collect()
    }

    /// Whether it is in this room.
    pub fn is_in(&self, room: impl AsRef<str>) -> bool {
        let room = room.as_ref();
        self.0.membership.lock().rooms().iter().any(|slot| **slot.room().name() == *room)
    }
}

impl SocketShared {
    /// Becomes a member of a room. Called under the lock of the membership.
    fn enter_room(self: &Arc<Self>, room: &str) -> MemberSlot<RoomEntry> {
        let entry = RoomEntry::of(self);
        let _step = self.hub.begin_history_step(room);
        if let Some(recovery) = self.recovery()
            && let Some(history) = &self.hub.history
            && history.limits(room).is_some()
        {
            // No message comes between the two.
            return self.hub.rooms.join_with(room, &entry, |name| {
                let last = history.last_delivered(&self.hub.history_key(room));
                recovery.log.lock().enter(name, last);
            });
        }
        self.hub.rooms.join(room, &entry)
    }

    /// Joins a room of its session again, unless another task was faster: it has joined the room, or
    /// left it. The log knows the position already.
    pub(crate) fn rejoin(self: &Arc<Self>, room: &Arc<str>) {
        let task = {
            let mut membership = self.membership.lock();
            let Membership::Joined { rooms, .. } = &mut *membership else { return };
            if rooms.iter().any(|slot| slot.room().name() == room) {
                return;
            }
            if let Some(recovery) = self.recovery()
                && !recovery.log.lock().rejoin(room)
            {
                return;
            }
            let step = self.hub.begin_history_step(room);
            let slot = self.hub.rooms.join(room, &RoomEntry::of(self));
            drop(step);
            let task = self.push_room_event(Event::RoomJoin, slot.room().name());
            rooms.push(slot);
            task
        };
        task.into_iter().for_each(Waker::wake);
    }

    /// For the log, the socket is in a room from now on.
    fn begin_in_room(&self, room: &Arc<MemberList<RoomEntry>>) {
        if let Some(recovery) = self.recovery()
            && let Some(history) = &self.hub.history
            && history.limits(room.name()).is_some()
        {
            let _step = self.hub.begin_history_step(room.name());
            room.with_send_lock(|| {
                let last = history.last_delivered(&self.hub.history_key(room.name()));
                recovery.log.lock().enter(room.name(), last);
            });
        }
    }

    /// The session is not recovered after all: leaves the rooms that [`rejoin`](Self::rejoin) has joined,
    /// as if it had not been in them. What the application has done meanwhile stays.
    pub(crate) fn undo_rejoin(self: &Arc<Self>, missed: &MissedMessages) {
        let Some(recovery) = self.recovery() else { return };
        let (events, held) = {
            let mut membership = self.membership.lock();
            let rejoined = recovery.log.lock().take_rejoined();
            let rejoined: HashMap<&str, _> =
                rejoined.iter().map(|(name, wanted)| (&**name, *wanted)).collect();
            let Membership::Joined { rooms, .. } = &mut *membership else { return };
            let entry = RoomEntry::of(self);
            rooms.retain(|slot| {
                let is_left = rejoined.get(&**slot.room().name()) == Some(&RejoinedFor::Session);
                if is_left {
                    self.hub.rooms.leave(slot, &entry);
                }
                !is_left
            });
            // Under the lock: a task that joins such a room later has events of its own.
            let events = self.queue.remove_events(|queued| match &queued.payload {
                Payload::Room(room) => rejoined.get(&**room) == Some(&RejoinedFor::Session),
                _ => false,
            });
            let is_rejoined = |room: &str| rejoined.contains_key(room);
            let held = recovery.log.lock().start_over(missed, is_rejoined);
            // What the session had of the rooms that stay is not what the new one has.
            let wanted = rooms.iter().filter(|slot| is_rejoined(slot.room().name()));
            wanted.for_each(|slot| self.begin_in_room(slot.room()));
            (events, held)
        };
        drop(events);
        let bytes = held.iter().map(|held| held.size).sum();
        self.hub.delivery.counters.discard(Backlog { messages: held.len(), bytes });
    }

    /// The names of its rooms.
    pub(crate) fn room_names(&self) -> Vec<Arc<str>> {
        let membership = self.membership.lock();
        membership.rooms().iter().map(|slot| Arc::clone(slot.room().name())).collect()
    }

    /// Joins the room of all sockets: from here on, it is connected.
    pub(crate) fn join_everyone(self: &Arc<Self>) {
        let mut membership = self.membership.lock();
        add(&self.hub.delivery.counters.connected, 1);
        let everyone = self.hub.everyone.join(&RoomEntry::of(self));
        *membership = Membership::Joined { everyone, rooms: Vec::new() };
    }

    /// Leaves all rooms for good. Returns their names.
    pub(crate) fn leave_all(self: &Arc<Self>) -> Vec<Arc<str>> {
        let membership = std::mem::replace(&mut *self.membership.lock(), Membership::Left);
        let Membership::Joined { everyone, rooms } = membership else { return Vec::new() };
        let entry = RoomEntry::of(self);
        MemberList::leave(&everyone, &entry);
        add(&self.hub.delivery.counters.disconnected, 1);
        self.hub.presence.table().socket_ended(self.key());
        rooms
            .iter()
            .map(|slot| {
                self.hub.rooms.leave(slot, &entry);
                Arc::clone(slot.room().name())
            })
            .collect()
    }
}
