//! How does a hub deliver what the store of its histories has stored later, or has lost?

use std::sync::{Arc, Weak};

use bytes::Bytes;
use ws_core::StatusCode;

use crate::cluster::HubEvent;
use crate::delivery::send_queue::CloseCommand;
use crate::events::record::decode_record;
use crate::hub::HubShared;
use crate::hub::history_rules::split_history_key;
use crate::hub::membership::RoomEntry;
use crate::hub::sessions::SocketRecovery;
use crate::hub::socket::SocketShared;
use crate::registry::rooms::MemberList;
use crate::socketio::ROOT;
use crate::{Broadcast, HistorySink, Hub, Position, Stored};

impl HubShared {
    pub(crate) fn start_history(self: &Arc<Self>) {
        if let Some(history) = &self.history {
            history.store.start(Arc::new(StoredSink(Arc::downgrade(self))));
            history.recovery.iter().for_each(|recovery| recovery.start_store());
        }
    }
}

/// The hub, without its namespaces, for its store.
struct StoredSink(Weak<HubShared>);

impl StoredSink {
    /// The hub and the name of the room of a key.
    fn find<'a>(&self, key: &'a str) -> Option<(Hub, &'a str)> {
        let root = Hub(self.0.upgrade()?);
        let (namespace, room) = split_history_key(key)?;
        let hub = if namespace == ROOT { root } else { root.existing(namespace)? };
        Some((hub, room))
    }
}

impl HistorySink for StoredSink {
    fn stored(&self, key: &str, position: Position, record: &[u8]) {
        let Some((hub, room)) = self.find(key) else { return };
        if hub.0.rooms.find(room).is_none() {
            return;
        }
        let Some(record) = decode_record(Bytes::copy_from_slice(record)) else {
            tracing::warn!(len = record.len(), "an unreadable record of a history");
            return;
        };
        let room = Arc::from(room);
        let broadcast = Broadcast {
            except_ids: record.except_ids,
            except_rooms: record.except_rooms,
            ..hub.to(&room)
        };
        record.content.with_content(hub.0.namespace(), |content| {
            broadcast.deliver_in_order(&room, content, || {
                if let Some(history) = &hub.0.history {
                    // Under the send lock, and not for a room that is empty by now.
                    hub.0.rooms.while_present(&room, || history.set_delivered(key, position));
                }
                Stored::At(position)
            });
        });
    }

    fn reached(&self, key: &str, position: Position) {
        let Some((hub, name)) = self.find(key) else { return };
        // Until then, the name has this room, or none.
        let step = hub.0.begin_history_step(name);
        let (Some(room), Some(history)) = (hub.0.rooms.find(name), &hub.0.history) else { return };
        let behind = room.with_send_lock(|| {
            hub.0.rooms.while_present(name, || history.set_delivered(key, position));
            members(&room, |own| !own.log.lock().reached(room.name(), position))
        });
        drop(step);
        room.members().iter().for_each(|member| member.socket.session_changed());
        if !behind.is_empty() {
            tell(&hub, &room, behind);
        }
    }

    fn lost(&self, key: &str) {
        let Some((hub, name)) = self.find(key) else { return };
        let (Some(room), Some(history)) = (hub.0.rooms.find(name), &hub.0.history) else { return };
        let behind = room.with_send_lock(|| {
            history.forget_delivered(key);
            members(&room, |own| {
                own.log.lock().lose();
                true
            })
        });
        tell(&hub, &room, behind);
    }

    fn not_stored(&self, records: u64) {
        let Some(hub) = self.0.upgrade() else { return };
        hub.notices.report(HubEvent::NotStored { messages: records });
    }
}

/// The members whose sessions can be recovered, if `is_behind` returns true.
fn members(
    room: &MemberList<RoomEntry>,
    is_behind: impl Fn(&SocketRecovery) -> bool,
) -> Vec<RoomEntry> {
    let mut members = room.members();
    members.retain(|member| member.socket.recovery().is_some_and(&is_behind));
    members
}

/// Reports that members of a room have missed messages, and closes those that learn it when they
/// come back.
fn tell(hub: &Hub, room: &MemberList<RoomEntry>, behind: Vec<RoomEntry>) {
    let (room, namespace) = (Arc::clone(room.name()), Arc::from(hub.namespace()));
    hub.0.notices.report(HubEvent::HistoryGap { room, namespace });
    for member in behind {
        member.socket.close_behind();
    }
}

impl SocketShared {
    /// It has missed messages, which its log knows.
    pub(crate) fn close_behind(&self) {
        let reason = "messages were missed";
        self.close(CloseCommand::new(StatusCode::SERVICE_RESTART, reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{History, MemoryHistory};

    /// What is known of a room whose members have reached a position, if the last one may leave
    /// meanwhile.
    async fn check(leaves: bool) {
        let builder = Hub::builder().history("room", History::new());
        let hub = builder.history_store(MemoryHistory::new()).build();
        let (_client, server) = ws_core::pair();
        tokio::spawn(hub.handler()(server));
        while hub.is_empty() {
            tokio::task::yield_now().await;
        }
        let socket = hub.everyone().sockets().remove(0);
        socket.join("room").unwrap();
        let room = hub.0.rooms.find("room").unwrap();
        let sink = StoredSink(Arc::downgrade(&hub.0));
        let position = Position { epoch: 1, offset: 5 };
        let thread = room.with_send_lock(|| {
            let known = Arc::strong_count(&room);
            let thread = std::thread::spawn(move || sink.reached("room", position));
            // It has found the room, and waits for the lock.
            while Arc::strong_count(&room) == known {
                std::thread::yield_now();
            }
            if leaves {
                socket.leave("room");
            }
            thread
        });
        thread.join().unwrap();
        let known = hub.0.history.as_ref().unwrap().last_delivered("room");
        assert_eq!(known == Some(position), !leaves, "{known:?}");
    }

    #[tokio::test]
    async fn a_position_is_that_of_a_room_with_members() {
        for leaves in [false, true] {
            check(leaves).await;
        }
    }
}
