//! How is a broadcast stored and delivered in one step, and how does an application read the history?

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::MutexGuard;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::{SerializeStruct as _, Serializer};
use serde_json::value::RawValue;
use ws_core::Message;

use crate::delivery::enqueue::Enqueuer;
use crate::delivery::wire_format::Encodings;
use crate::events::protocol::Content;
use crate::events::record::{RecordContent, decode_record, encode_record};
use crate::hub::HubShared;
use crate::hub::broadcast::Recipients;
use crate::hub::history_rules::{HubHistory, history_key};
use crate::hub::sessions::HubRecovery;
use crate::recovery::offset::SentMessage;
use crate::recovery::table::{PlainExceptions, PlainRecipients};
use crate::{
    Appended, Broadcast, Delivery, History, HistoryError, HistoryPage, HistoryStore, Hub, Position,
    Stored,
};

impl HubShared {
    /// The key of a room in the store.
    pub(crate) fn history_key<'a>(&self, room: &'a str) -> Cow<'a, str> {
        history_key(self.namespace(), room)
    }

    /// [`HubHistory::begin_step`], if the hub has histories.
    pub(super) fn begin_history_step(&self, room: &str) -> Option<MutexGuard<'_, ()>> {
        self.history.as_ref()?.begin_step(room)
    }
}

impl Broadcast {
    /// Delivers, and before that stores what goes to exactly one room with a history.
    pub(super) fn deliver_with_history(
        &self,
        history: &HubHistory,
        content: Content<'_>,
    ) -> Delivery {
        match self.history_room(history) {
            Some((room, limits)) => self.store_and_deliver(history, room, limits, content),
            None => {
                let recovery = history.recovery.as_deref().filter(|_| !self.volatile);
                let delivery = self.deliver_plain(content, recovery.map(HubRecovery::next_plain));
                if let Some(recovery) = recovery {
                    self.count_plain(recovery);
                }
                delivery
            }
        }
    }

    fn count_plain(&self, recovery: &HubRecovery) {
        let recipients = match &self.recipients {
            Recipients::Everyone => PlainRecipients::Everyone,
            Recipients::Union { rooms, ids } => PlainRecipients::Union { rooms, ids },
        };
        let (ids, rooms) = (&self.all_except_ids(), &self.except_rooms);
        recovery.count(recipients, PlainExceptions { ids, rooms });
    }

    /// The broadcast was published, after it was delivered here. A session may have come to this node
    /// in between: it was not there yet, and its node may have stopped counting.
    pub(super) fn count_published(&self, history: &HubHistory) {
        if let Some(recovery) = &history.recovery
            && recovery.is_shared()
            && !self.volatile
            && self.history_room(history).is_none()
        {
            self.count_plain(recovery);
        }
    }

    /// The room that stores the broadcast.
    fn history_room<'a>(&'a self, history: &'a HubHistory) -> Option<(&'a Arc<str>, &'a History)> {
        let Recipients::Union { rooms, ids } = &self.recipients else { return None };
        let ([room], [], false) = (rooms.as_slice(), ids.as_slice(), self.volatile) else {
            return None;
        };
        Some((room, history.limits(room)?))
    }

    fn store_and_deliver(
        &self,
        history: &HubHistory,
        room: &Arc<str>,
        limits: &History,
        content: Content<'_>,
    ) -> Delivery {
        let record = encode_record(content, &self.all_except_ids(), &self.except_rooms);
        let key = self.hub.0.history_key(room);
        let append = || match history.store.append(&key, &record, limits) {
            Ok(Appended::Stored(position)) => Stored::At(position),
            Ok(Appended::Queued) => Stored::Queued,
            Err(error) => {
                tracing::warn!(%error, "a broadcast was not stored, so it was not delivered");
                Stored::Refused
            }
        };
        self.deliver_in_order(room, content, append)
    }

    /// Delivers to one room, if `store` returns a position. Both are one step: the members get the
    /// messages of the room in the order of their positions.
    pub(super) fn deliver_in_order(
        &self,
        name: &Arc<str>,
        content: Content<'_>,
        store: impl FnOnce() -> Stored,
    ) -> Delivery {
        let step = self.hub.0.begin_history_step(name);
        let Some(room) = self.hub.0.rooms.find(name) else {
            return Delivery { stored: store(), ..Delivery::default() };
        };
        let excepted = self.excepted();
        let mut stored = Stored::No;
        let encode = |format, at| self.compression(content.encode(format, at));
        let mut enqueuer =
            Enqueuer::new(Encodings::each(&encode), &self.hub.0.delivery, self.options());
        room.with_send_lock(|| {
            stored = store();
            let Stored::At(position) = stored else { return };
            enqueuer.set_sent(Some(SentMessage::stored(Arc::clone(name), position)));
            room.for_each_segment(|entries| {
                for entry in entries {
                    if excepted.binary_search(&Arc::as_ptr(&entry.socket)).is_err() {
                        enqueuer.push(&entry.queue, &entry.socket);
                    }
                }
            });
        });
        drop(step);
        Delivery { stored, ..enqueuer.finish() }
    }
}

impl Hub {
    /// The history of a room: see [`HubBuilder::history`](crate::HubBuilder::history).
    ///
    /// ```
    /// # async fn example(hub: ws_events::Hub) -> Result<(), ws_events::HistoryError> {
    /// for message in hub.room("red").latest(20).await? {
    ///     println!("{}: {}", message.position, message.message.as_text().unwrap_or("bytes"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn room(&self, room: impl AsRef<str>) -> RoomHistory {
        RoomHistory { hub: self.clone(), room: Arc::from(room.as_ref()) }
    }
}

/// The history of a room. Made by [`Hub::room`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing before a call like `since`"]
pub struct RoomHistory {
    hub: Hub,
    room: Arc<str>,
}

impl RoomHistory {
    /// The messages behind a position, the oldest first.
    ///
    /// A client that remembers the position of the last message that it has, and asks with it after
    /// it has joined the room again, gets what it has missed. It may get the newest of these also as
    /// a member, so it should skip what is not behind its position.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Trimmed`] or [`HistoryError::UnknownPosition`] if any message behind the
    /// position is gone: nothing is returned then. [`HistoryError::NoHistory`] if the room has no
    /// history, and [`HistoryError::Unavailable`] if the store does not answer.
    ///
    /// # Cancel safety
    ///
    /// The call can be repeated.
    pub async fn since(&self, position: Position) -> Result<Vec<HistoryMessage>, HistoryError> {
        let reply = self.store()?.since(&self.key(), position, usize::MAX);
        self.messages(reply.wait().await?)
    }

    /// The newest messages, at most `most` of them, the oldest first.
    ///
    /// # Errors
    ///
    /// As [`since`](Self::since).
    ///
    /// # Cancel safety
    ///
    /// The call can be repeated.
    pub async fn latest(&self, most: usize) -> Result<Vec<HistoryMessage>, HistoryError> {
        let reply = self.store()?.latest(&self.key(), most);
        self.messages(reply.wait().await?)
    }

    /// The position of the newest message. The offset is 0 if there never was one.
    ///
    /// # Errors
    ///
    /// As [`since`](Self::since).
    ///
    /// # Cancel safety
    ///
    /// The call can be repeated.
    pub async fn position(&self) -> Result<Position, HistoryError> {
        let reply = self.store()?.latest(&self.key(), 0);
        Ok(reply.wait().await?.last)
    }

    /// Removes the messages up to this position, such as those of a user who wants them deleted.
    ///
    /// # Errors
    ///
    /// As [`since`](Self::since), except that a position that is not in the history is no error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the messages may be removed or not.
    pub async fn trim(&self, through: Position) -> Result<(), HistoryError> {
        let reply = self.store()?.trim(&self.key(), through);
        reply.wait().await
    }

    fn key(&self) -> Cow<'_, str> {
        self.hub.0.history_key(&self.room)
    }

    fn store(&self) -> Result<&dyn HistoryStore, HistoryError> {
        let history = self.hub.0.history.as_deref().ok_or(HistoryError::NoHistory)?;
        history.limits(&self.room).ok_or(HistoryError::NoHistory)?;
        Ok(&*history.store)
    }

    fn messages(&self, page: HistoryPage) -> Result<Vec<HistoryMessage>, HistoryError> {
        let decode = |(position, record)| match decode_record(record) {
            Some(record) => Ok(HistoryMessage::new(position, record.content)),
            None => Err(HistoryError::Unavailable("a record is unreadable".into())),
        };
        page.records.into_iter().map(decode).collect()
    }
}

/// A message in the history of a room.
///
/// It is serialised as `{"at":position,"event":name,"data":…}`. The data of a message without an
/// event is a string, for bytes in base64, and the event is `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryMessage {
    /// Its position.
    pub position: Position,
    /// The name of the event; `None` for a message without one.
    pub event: Option<String>,
    /// The data of the event as JSON text, with bytes as base64, or the message.
    pub message: Message,
}

impl HistoryMessage {
    fn new(position: Position, content: RecordContent) -> Self {
        match content {
            RecordContent::Message(message) => Self { position, event: None, message },
            RecordContent::Event { name, data } => {
                let mut json = Vec::with_capacity(data.len());
                data.write_base64(&mut json);
                let message = Message::text_from_bytes(json).unwrap_or_else(Message::binary);
                Self { position, event: Some(name), message }
            }
        }
    }

    /// The data of the event, or the text of the message, deserialised from JSON.
    ///
    /// # Errors
    ///
    /// If it is of another type, or bytes.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.message.as_bytes())
    }
}

impl Serialize for HistoryMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("HistoryMessage", 3)?;
        fields.serialize_field("at", &self.position)?;
        fields.serialize_field("event", &self.event)?;
        match (&self.event, self.message.as_text()) {
            (Some(_), Some(json)) => {
                let json: &RawValue =
                    serde_json::from_str(json).map_err(serde::ser::Error::custom)?;
                fields.serialize_field("data", json)?;
            }
            (_, Some(text)) => fields.serialize_field("data", text)?,
            (_, None) => {
                fields.serialize_field("data", &STANDARD.encode(self.message.as_bytes()))?;
            }
        }
        fields.end()
    }
}
