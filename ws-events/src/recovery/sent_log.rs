//! What was sent to a socket, in which order, and what of it has its client missed?
//!
//! Each message that must not be lost has a [`SentOffset`]. The client reports the offset of the last
//! message that it has. What the log has behind it was sent into a dead connection. Messages of a
//! room with a history are read there again, with those that were sent meanwhile. If any other
//! message is behind it, the session cannot be recovered.
//!
//! The log is locked around each push into the send queue, so both have the same order. While a
//! session is being recovered, the log holds new messages back: what was missed comes first.
//!
//! Longer than 400 lines because what a log has is changed, read and moved in one place.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::history::position::Position;
use crate::recovery::held::{HeldMessage, HeldMessages};
use crate::recovery::offset::{ClientOffsets, SEPARATOR, SentMessage, SentOffset};
use crate::recovery::record::{LogState, RoomState};

/// The largest number of messages that a log remembers.
pub(crate) const MAX_SENT: usize = 1024;

/// What was sent to one socket. `T` is a message that is held back.
#[derive(Debug)]
pub(crate) struct SentLog<T> {
    sent: VecDeque<SentEntry>,
    rooms: Vec<RoomMark>,
    /// Whether it has all messages since the first connection of the session.
    complete: bool,
    /// Whether a message was dropped that the client does not know of.
    lost: bool,
    held: Option<HeldMessages<T>>,
    /// The rooms of the session, and those that the application has left, while it is being recovered.
    rejoined: Vec<(Arc<str>, RejoinedFor)>,
}

/// Why a socket is in a room, while its session is being recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RejoinedFor {
    /// The session was in it.
    Session,
    /// The application wants it, too.
    Application,
    /// It is in the room no more: the application has left it.
    Nothing,
}

/// A message of the log.
#[derive(Clone, Debug)]
struct SentEntry {
    /// If it is in the history of a room.
    room: Option<Arc<RoomEpoch>>,
    number: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct RoomEpoch {
    room: Arc<str>,
    epoch: u64,
}

/// A room with a history that the socket is in.
#[derive(Clone, Debug)]
struct RoomMark {
    room: Arc<str>,
    /// The last position that comes before the messages of the log, if it is known.
    before: Option<Position>,
    /// The last position of all.
    last: Option<Position>,
    /// The position that the client has in any case: where the socket has joined the room, or what the
    /// client had when its session was recovered.
    from: Option<Position>,
    /// Where the room was while the session was being recovered: `last` has to get there.
    reached: Option<Position>,
    /// Of `last`, shared by the messages of the log.
    epoch: Option<Arc<RoomEpoch>>,
}

/// What a client has missed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MissedMessages {
    /// The number of messages of the log that the client has.
    received: usize,
    /// What was sent into the dead connection, in its order.
    sent: Vec<(Arc<str>, Position)>,
    /// The positions behind which the histories of rooms have to be read.
    pub(crate) reads: Vec<(Arc<str>, Position)>,
    /// The rooms that the socket was in, with the last positions that were sent.
    rooms: Vec<(Arc<str>, Position)>,
}

/// Why what a client has missed is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissedError {
    /// The log does not have the offset: it is forged, of another session, or too old.
    UnknownOffset,
    /// A message is missing that no history has.
    Lost,
}

/// Records of a room's history.
pub(crate) type HistoryRecords = Vec<(Position, Bytes)>;

impl<T> SentLog<T> {
    /// The log of a new session.
    pub(crate) const fn new() -> Self {
        Self {
            sent: VecDeque::new(),
            rooms: Vec::new(),
            complete: true,
            lost: false,
            held: None,
            rejoined: Vec::new(),
        }
    }

    /// The socket has joined a room with a history. Only what comes after this position is for it.
    pub(crate) fn enter(&mut self, room: &Arc<str>, position: Option<Position>) {
        self.forget(room);
        let (before, last) = (position, position);
        self.rooms.push(RoomMark {
            room: Arc::clone(room),
            before,
            last,
            from: position,
            reached: None,
            epoch: None,
        });
    }

    /// The socket has left a room.
    pub(crate) fn leave(&mut self, room: &str) {
        self.forget(room);
        if self.is_holding() {
            self.rejoined.push((Arc::from(room), RejoinedFor::Nothing));
        }
    }

    fn forget(&mut self, room: &str) {
        self.rooms.retain(|mark| *mark.room != *room);
        self.rejoined.retain(|(name, _)| **name != *room);
    }

    /// The socket is about to be in a room of the session again, while that is being recovered. Returns
    /// `false` if the application has left the room meanwhile.
    pub(crate) fn rejoin(&mut self, room: &Arc<str>) -> bool {
        let is_left = self.rejoined.iter().any(|(name, _)| name == room);
        if !is_left {
            self.rejoined.push((Arc::clone(room), RejoinedFor::Session));
        }
        !is_left
    }

    /// The application wants the socket to be in a room in which it is.
    pub(crate) fn want(&mut self, room: &str) {
        if let Some((_, reason)) = self.rejoined.iter_mut().find(|(name, _)| **name == *room) {
            *reason = RejoinedFor::Application;
        }
    }

    /// The rooms of the session, which is not recovered after all.
    pub(crate) fn take_rejoined(&mut self) -> Vec<(Arc<str>, RejoinedFor)> {
        std::mem::take(&mut self.rejoined)
    }

    /// All messages of a room up to this position were sent to its members, or before they joined.
    /// Returns whether that holds for this one. If not, it has missed some, and is not recovered.
    pub(crate) fn reached(&mut self, room: &str, position: Position) -> bool {
        let is_holding = self.is_holding();
        let Some(mark) = self.rooms.iter_mut().find(|mark| *mark.room == *room) else {
            return true;
        };
        if mark.last.is_none() {
            (mark.before, mark.last, mark.from) = (Some(position), Some(position), Some(position));
        } else if is_holding {
            // It may be among what is read now.
            mark.reached = Some(position);
        } else {
            let is_behind = !mark.has(position);
            self.lost |= is_behind;
            return !is_behind;
        }
        true
    }

    /// The history of a room was read up to this position.
    pub(crate) fn has_read(&mut self, room: &str, position: Position) {
        if let Some(mark) = self.rooms.iter_mut().find(|mark| *mark.room == *room)
            && !mark.has(position)
        {
            mark.last = Some(position);
        }
    }

    /// Whether the socket has missed messages while its session was being recovered.
    pub(crate) fn is_behind(&self) -> bool {
        let is_behind = |mark: &RoomMark| mark.reached.is_some_and(|reached| !mark.has(reached));
        self.rooms.iter().any(is_behind)
    }

    /// Whether the socket got this message already, when its session was recovered. What a room had
    /// that the socket has left since is in `read`.
    pub(crate) fn has_among(&self, read: &[(Arc<str>, Position)], message: &SentMessage) -> bool {
        let (Some(room), SentOffset::Stored(position)) = (&message.room, message.offset) else {
            return false;
        };
        let is_read = |(name, last): &(Arc<str>, Position)| {
            name == room && last.epoch == position.epoch && last.offset >= position.offset
        };
        read.iter().any(is_read) || self.has(message)
    }

    /// Whether the socket got this message already, when its session was recovered.
    pub(crate) fn has(&self, message: &SentMessage) -> bool {
        let (Some(room), SentOffset::Stored(position)) = (&message.room, message.offset) else {
            return false;
        };
        self.mark(room).is_some_and(|mark| mark.has(position))
    }

    /// The offset of a message that is sent now, behind those of all other rooms, for a client that
    /// remembers one text. `None` if there are no others, or more than `most` rooms: then it is known what
    /// the client has of the room of the message alone.
    pub(crate) fn offsets(&self, message: &SentMessage, most: usize) -> Option<String> {
        let is_other = |mark: &&RoomMark| message.room.as_ref() != Some(&mark.room);
        let others = self.rooms.iter().filter(is_other).count();
        // What was dropped would count as what the client has.
        if others == 0 || self.rooms.len() > most || self.lost {
            return None;
        }
        let mut text = String::with_capacity(32 * (others + 1));
        for position in self.rooms.iter().filter(is_other).filter_map(|mark| mark.last) {
            // It cannot fail.
            let _ = write!(text, "{position}{SEPARATOR}");
        }
        let _ = write!(text, "{}", message.offset);
        Some(text)
    }

    /// The message was sent, or tried to be sent.
    pub(crate) fn note(&mut self, message: &SentMessage) {
        let entry = match (&message.room, message.offset) {
            (Some(room), SentOffset::Stored(position)) => {
                let new = || Arc::new(RoomEpoch { room: Arc::clone(room), epoch: position.epoch });
                let mark = self.rooms.iter_mut().find(|mark| mark.room == *room);
                let epoch = match mark {
                    Some(mark) => {
                        if mark.last.is_none() {
                            // The first one since the socket has joined the room.
                            let offset = position.offset.saturating_sub(1);
                            mark.from = Some(Position { offset, ..position });
                        }
                        mark.last = Some(position);
                        match &mark.epoch {
                            Some(epoch) if epoch.epoch == position.epoch => Arc::clone(epoch),
                            _ => Arc::clone(mark.epoch.insert(new())),
                        }
                    }
                    None => new(),
                };
                SentEntry { room: Some(epoch), number: position.offset }
            }
            (
                _,
                SentOffset::Plain(number) | SentOffset::Stored(Position { offset: number, .. }),
            ) => SentEntry { room: None, number },
        };
        self.sent.push_back(entry);
        if self.sent.len() > MAX_SENT
            && let Some(oldest) = self.sent.pop_front()
        {
            self.complete = false;
            if let Some((room, position)) = oldest.stored()
                && let Some(mark) = self.rooms.iter_mut().find(|mark| mark.room == *room)
            {
                mark.before = Some(position);
            }
        }
    }

    /// A message was dropped that the client cannot know of. Returns whether it is the first one.
    pub(crate) const fn lose(&mut self) -> bool {
        !std::mem::replace(&mut self.lost, true)
    }

    /// Whether the client has a later message of a room than this log: another node has gone on with the
    /// session. Rooms that the log does not know say nothing, since their messages may be of an earlier
    /// session. So do messages that no history has.
    pub(crate) fn is_outdated(&self, client: &ClientOffsets) -> bool {
        let is_later = |position: &Position| {
            let marks = self.rooms.iter().filter_map(|mark| mark.last);
            // Also of rooms that the socket has left.
            let sent = self.sent.iter().filter_map(|entry| Some(entry.stored()?.1));
            let own = marks.chain(sent).filter(|own| own.epoch == position.epoch);
            own.map(|own| own.offset).max().is_some_and(|last| last < position.offset)
        };
        client.rooms.iter().any(is_later)
    }

    /// What a client has missed that has everything up to this offset; without one, it has nothing. With
    /// `stored_only`, messages count that a history has.
    pub(crate) fn missed(
        &self,
        last: Option<SentOffset>,
        stored_only: bool,
    ) -> Result<MissedMessages, MissedError> {
        if self.lost {
            return Err(MissedError::Lost);
        }
        let received = match last {
            None if self.complete => 0,
            None => return Err(MissedError::UnknownOffset),
            Some(last) => match self.sent.iter().rposition(|entry| entry.offset() == last) {
                Some(at) => at + 1,
                // It is of an earlier session, or forged: the client has nothing of this one.
                None if self.complete => 0,
                None => return Err(MissedError::UnknownOffset),
            },
        };
        let missed = self.sent.iter().skip(received);
        let sent: Option<Vec<_>> = missed
            .filter(|entry| !stored_only || entry.room.is_some())
            .map(|entry| entry.stored().map(|(room, position)| (Arc::clone(room), position)))
            .collect();
        let sent = sent.ok_or(MissedError::Lost)?;
        let mut rooms = Vec::new();
        let mut reads: Vec<(Arc<str>, Position)> = Vec::new();
        for (room, position) in &sent {
            if !reads.iter().any(|(other, _)| other == room) {
                let before = position.offset.saturating_sub(1);
                reads.push((Arc::clone(room), Position { offset: before, ..*position }));
            }
        }
        for mark in &self.rooms {
            let last = mark.last.ok_or(MissedError::UnknownOffset)?;
            rooms.push((Arc::clone(&mark.room), last));
            if !reads.iter().any(|(other, _)| *other == mark.room) {
                reads.push((Arc::clone(&mark.room), last));
            }
        }
        Ok(MissedMessages { received, sent, reads, rooms })
    }

    /// The session goes on with a new connection. From now on, messages are held back until
    /// [`release`](Self::release).
    pub(crate) fn resume(&mut self, missed: &MissedMessages) {
        self.sent.truncate(missed.received);
        for mark in &mut self.rooms {
            let stored = self.sent.iter().rev().filter_map(SentEntry::stored);
            let mut own = stored.filter(|(room, _)| **room == mark.room);
            mark.last = own.next().map(|(_, position)| position).or(mark.before);
            mark.from = mark.last;
            mark.reached = None;
        }
        self.begin_holding();
    }

    /// The session is not recovered after all. A new one begins with what was sent by the new connection,
    /// and with the rooms that are not of the session. Returns what was held back, except for what was sent
    /// before the connection had the session, and what is in the histories of these rooms. Messages are
    /// still held back.
    pub(crate) fn start_over(
        &mut self,
        missed: &MissedMessages,
        is_of_session: impl Fn(&str) -> bool,
    ) -> Vec<HeldMessage<T>> {
        self.sent.drain(..missed.received.min(self.sent.len()));
        self.rooms.retain(|mark| !is_of_session(&mark.room));
        self.complete = true;
        let (mut kept, mut removed) = (HeldMessages::new(), Vec::new());
        for held in self.release() {
            let room = held.sent.as_ref().and_then(|sent| sent.room.as_ref());
            if held.is_own || room.is_some_and(|room| self.mark(room).is_some()) {
                kept.push(held);
            } else {
                removed.push(held);
            }
        }
        self.held = Some(kept);
        removed
    }

    /// Holds messages back, until [`release`](Self::release).
    pub(crate) fn begin_holding(&mut self) {
        self.held = Some(HeldMessages::new());
    }

    /// Appends another log: that of the new connection, before it was recovered.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.lost |= other.lost;
        self.sent.append(&mut other.sent);
        let held = self.held.get_or_insert(HeldMessages::new());
        other.release().into_iter().for_each(|own| held.push(HeldMessage { is_own: true, ..own }));
    }

    /// Holds a message of this size back. Does nothing unless a session is being recovered.
    pub(crate) fn hold(&mut self, sent: Option<&SentMessage>, message: T, size: usize) {
        if let Some(held) = &mut self.held {
            held.push(HeldMessage { sent: sent.cloned(), message, size, is_own: false });
        }
    }

    /// What is held back: the number of messages, and their bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        self.held.as_ref().map_or((0, 0), |held| (held.len(), held.bytes()))
    }

    /// Removes the oldest message that is held back.
    pub(crate) fn drop_oldest_held(&mut self) -> Option<HeldMessage<T>> {
        self.held.as_mut()?.pop_oldest()
    }

    /// Whether a session is being recovered.
    pub(crate) const fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// The messages that were held back. From now on, messages pass.
    pub(crate) fn release(&mut self) -> VecDeque<HeldMessage<T>> {
        self.rejoined = Vec::new();
        self.held.take().map_or_else(VecDeque::new, HeldMessages::into_messages)
    }

    fn mark(&self, room: &str) -> Option<&RoomMark> {
        self.rooms.iter().find(|mark| *mark.room == *room)
    }

    /// For another node: everything but what is held back.
    pub(crate) fn state(&self) -> LogState {
        let mut epochs: Vec<(Arc<str>, u64)> = Vec::new();
        let mut place = |epoch: &RoomEpoch| {
            // A socket has few rooms, and the last ones are the likeliest.
            let is_same =
                |(room, other): &(Arc<str>, u64)| *other == epoch.epoch && **room == *epoch.room;
            epochs.iter().rposition(is_same).unwrap_or_else(|| {
                epochs.push((Arc::clone(&epoch.room), epoch.epoch));
                epochs.len() - 1
            })
        };
        let sent = self.sent.iter();
        let sent = sent.map(|entry| (entry.room.as_deref().map(&mut place), entry.number));
        let sent = sent.collect();
        let room = |mark: &RoomMark| RoomState {
            room: Arc::clone(&mark.room),
            before: mark.before,
            last: mark.last,
            from: mark.from,
        };
        let rooms = self.rooms.iter().map(room).collect();
        LogState { rooms, epochs, sent, complete: self.complete, lost: self.lost }
    }

    /// For another node that has to go on without this one: where the rooms with histories are.
    pub(crate) fn snapshot(&self) -> LogState {
        let room = |mark: &RoomMark| RoomState {
            room: Arc::clone(&mark.room),
            before: mark.from,
            last: mark.from,
            from: mark.from,
        };
        let rooms = self.rooms.iter().map(room).collect();
        LogState { rooms, complete: true, lost: self.lost, ..LogState::default() }
    }

    /// The log of a session whose node has died, by the [snapshot](Self::snapshot) of that.
    pub(crate) fn from_snapshot(
        mut state: LogState,
        offsets: &ClientOffsets,
    ) -> Result<Self, MissedError> {
        for room in &mut state.rooms {
            let from = room.from.and_then(|from| offsets.of_room(from));
            let from = Some(from.ok_or(MissedError::UnknownOffset)?);
            (room.before, room.last, room.from) = (from, from, from);
        }
        (state.epochs, state.sent) = (Vec::new(), Vec::new());
        Ok(Self::from_state(state))
    }

    /// The log of a session that was on another node.
    pub(crate) fn from_state(state: LogState) -> Self {
        let epoch = |(room, epoch): (Arc<str>, u64)| Arc::new(RoomEpoch { room, epoch });
        let epochs: Vec<_> = state.epochs.into_iter().map(epoch).collect();
        let entry = |(at, number): (Option<usize>, u64)| {
            // A record with another place is none.
            let room = at.and_then(|at| epochs.get(at).cloned());
            SentEntry { room, number }
        };
        let sent = state.sent.into_iter().map(entry).collect();
        let mark = |RoomState { room, before, last, from }: RoomState| RoomMark {
            room,
            before,
            last,
            from,
            reached: None,
            epoch: None,
        };
        let rooms = state.rooms.into_iter().map(mark).collect();
        let (complete, lost) = (state.complete, state.lost);
        Self { sent, rooms, complete, lost, ..Self::new() }
    }
}

impl RoomMark {
    /// Whether this position is not behind the last one.
    fn has(&self, position: Position) -> bool {
        self.last.is_some_and(|last| last.epoch == position.epoch && last.offset >= position.offset)
    }
}

impl SentEntry {
    fn stored(&self) -> Option<(&Arc<str>, Position)> {
        let RoomEpoch { room, epoch } = &**self.room.as_ref()?;
        Some((room, Position { epoch: *epoch, offset: self.number }))
    }

    fn offset(&self) -> SentOffset {
        self.stored()
            .map_or(SentOffset::Plain(self.number), |(_, position)| SentOffset::Stored(position))
    }
}

impl MissedMessages {
    /// Whether a message was sent into the dead connection.
    pub(crate) fn was_sent(&self, message: &SentMessage) -> bool {
        let (Some(room), SentOffset::Stored(position)) = (&message.room, message.offset) else {
            return false;
        };
        self.sent.iter().any(|(other, sent)| other == room && *sent == position)
    }

    /// The messages for the client, from what was read behind each position of `reads`: first what
    /// was sent into the dead connection, then what each room got meanwhile. `None` if a history
    /// lacks one of them.
    pub(crate) fn select(
        &self,
        mut pages: HashMap<Arc<str>, HistoryRecords>,
    ) -> Option<Vec<(SentMessage, Bytes)>> {
        let mut selected = Vec::new();
        for (room, position) in &self.sent {
            let (_, record) = pages.get(room)?.iter().find(|(other, _)| other == position)?;
            selected.push((SentMessage::stored(Arc::clone(room), *position), record.clone()));
        }
        for (room, last) in &self.rooms {
            for (position, record) in pages.remove(room)? {
                if position.epoch != last.epoch {
                    return None;
                }
                if position.offset > last.offset {
                    selected.push((SentMessage::stored(Arc::clone(room), position), record));
                }
            }
        }
        Some(selected)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recovery::offset::{MAX_OFFSETS, MAX_ROOM_OFFSET, MAX_ROOM_OFFSETS};

    fn room(number: usize) -> Arc<str> {
        Arc::from(format!("room{number}"))
    }

    fn at(room: usize, offset: u64) -> Position {
        Position { epoch: room as u64, offset }
    }

    /// A message of a room, `(room, offset)`, or `(9, number)` for a plain one.
    fn message((number, offset): (usize, u64)) -> SentMessage {
        match number {
            9 => SentMessage::plain(offset),
            _ => SentMessage::stored(room(number), at(number, offset)),
        }
    }

    /// What a client says that it has of its rooms → the positions behind which they are read, if its
    /// node has died.
    #[test]
    fn the_rooms_of_a_snapshot_are_read_from_what_the_client_has() {
        let mut log = log(&[(1, 5)], &[(1, 6), (9, 3), (1, 7)]);
        // Its position is known by its first message, or is not.
        log.enter(&room(2), None);
        log.note(&message((2, 4)));
        let check = |log: &SentLog<()>, texts: &[(usize, u64)], is_complete, expected| {
            let texts: Vec<_> =
                texts.iter().map(|(room, offset)| at(*room, *offset).to_string()).collect();
            let texts = texts.iter().map(String::as_str);
            let offsets = ClientOffsets::parse(texts, is_complete).unwrap();
            let other = SentLog::<()>::from_snapshot(log.snapshot(), &offsets);
            let reads = other.and_then(|other| Ok(other.missed(offsets.last, true)?.reads));
            assert_eq!(reads, expected, "{offsets:?}");
        };
        let of = |one, two| Ok(vec![(room(1), at(1, one)), (room(2), at(2, two))]);
        check(&log, &[], true, of(5, 3));
        check(&log, &[(2, 4), (1, 6)], true, of(6, 4));
        check(&log, &[(1, 6)], true, of(6, 3));
        check(&log, &[(1, 2)], true, of(5, 3));
        check(&log, &[(1, 6)], false, Err(MissedError::UnknownOffset));
        log.leave("room2");
        check(&log, &[(1, 6)], false, Ok(vec![(room(1), at(1, 6))]));
        log.enter(&room(3), None);
        check(&log, &[(1, 6)], true, Err(MissedError::UnknownOffset));
        log.leave("room3");
        log.lose();
        check(&log, &[(1, 6)], true, Err(MissedError::Lost));
    }

    #[test]
    fn a_room_that_was_left_meanwhile_is_not_joined_again() {
        let mut log = SentLog::<()>::new();
        log.leave(&room(1));
        assert!(log.rejoin(&room(1)), "it was left before");
        log.begin_holding();
        log.leave(&room(2));
        assert!(!log.rejoin(&room(2)));
        assert!(log.rejoin(&room(3)));
        log.want(&room(3));
        assert_eq!(
            log.take_rejoined(),
            [
                (room(1), RejoinedFor::Session),
                (room(2), RejoinedFor::Nothing),
                (room(3), RejoinedFor::Application),
            ]
        );
    }

    /// A message that is sent, and the most rooms → the text for a client that remembers one.
    #[test]
    fn a_client_that_remembers_one_text_gets_the_offsets_of_all_rooms() {
        let mut log = log(&[(1, 5), (2, 3)], &[(1, 6), (9, 3), (2, 4)]);
        let check = |log: &SentLog<()>, sent, most, expected: &[(usize, u64)]| {
            let texts = expected.iter().map(|it| message(*it).offset.to_string());
            let expected = (!expected.is_empty()).then(|| texts.collect::<Vec<_>>().join(","));
            assert_eq!(log.offsets(&message(sent), most), expected, "{sent:?} {most}");
        };
        check(&log, (1, 7), 2, &[(2, 4), (1, 7)]);
        check(&log, (1, 7), 1, &[]);
        check(&log, (9, 8), 2, &[(1, 6), (2, 4), (9, 8)]);
        check(&log, (9, 8), 1, &[]);
        // Nothing of it was sent.
        log.enter(&room(3), None);
        check(&log, (1, 7), 3, &[(2, 4), (1, 7)]);
        log.leave("room3");
        log.leave("room2");
        check(&log, (1, 7), 9, &[]);
        log.enter(&room(2), Some(at(2, 9)));
        check(&log, (1, 7), 9, &[(2, 9), (1, 7)]);
        log.lose();
        check(&log, (1, 7), 9, &[]);
        let longest = Position { epoch: u64::MAX, offset: u64::MAX }.to_string().len() + 1;
        assert_eq!(longest, MAX_ROOM_OFFSET);
        assert!(longest * (MAX_ROOM_OFFSETS + 1) <= MAX_OFFSETS);
    }

    #[test]
    fn a_log_is_the_same_on_another_node() {
        let mut all = log(&[(1, 5), (2, 0)], &[(1, 6), (9, 3), (2, 1), (1, 7)]);
        all.enter(&room(3), None);
        for number in 0..2 {
            let state = all.state();
            let mut other = SentLog::<()>::from_state(state.clone());
            assert_eq!(other.state(), state);
            for last in [None, Some(SentOffset::Plain(3)), Some(SentOffset::Stored(at(1, 7)))] {
                assert_eq!(other.missed(last, false), all.missed(last, false), "{number} {last:?}");
            }
            other.reached(&room(3), at(3, 4));
            all.reached(&room(3), at(3, 4));
        }
        (0..MAX_SENT as u64).for_each(|number| all.note(&message((9, number))));
        all.lose();
        let state = all.state();
        assert_eq!((state.complete, state.lost, state.sent.len()), (false, true, MAX_SENT));
        assert_eq!(SentLog::<()>::from_state(state.clone()).state(), state);
    }

    fn log(rooms: &[(usize, u64)], sent: &[(usize, u64)]) -> SentLog<()> {
        let mut log = SentLog::new();
        rooms
            .iter()
            .for_each(|(number, offset)| log.enter(&room(*number), Some(at(*number, *offset))));
        sent.iter().for_each(|sent| log.note(&message(*sent)));
        log
    }

    type Missed<'a> = (&'a [(usize, u64)], &'a [(usize, u64)]);

    /// Rooms with positions, what was sent, and the last offset of the client → what was missed, and
    /// the positions to read from.
    #[track_caller]
    fn check(
        rooms: &[(usize, u64)],
        sent: &[(usize, u64)],
        last: Option<(usize, u64)>,
        expected: Result<Missed<'_>, MissedError>,
    ) {
        let log = log(rooms, sent);
        let last = last.map(|last| message(last).offset);
        let named = |list: &[(usize, u64)]| -> Vec<_> {
            list.iter().map(|(number, offset)| (room(*number), at(*number, *offset))).collect()
        };
        let missed = log.missed(last, false).map(|missed| (missed.sent, missed.reads));
        assert_eq!(missed, expected.map(|(sent, reads)| (named(sent), named(reads))));
    }

    #[test]
    fn what_was_missed_is_behind_the_last_offset() {
        use MissedError::{Lost, UnknownOffset};
        let rooms = &[(1, 5), (2, 0)][..];
        check(rooms, &[], None, Ok((&[], rooms)));
        check(rooms, &[], Some((1, 5)), Ok((&[], rooms)));
        let sent = &[(1, 6), (2, 1), (9, 0), (1, 7), (2, 2)];
        check(rooms, sent, Some((2, 2)), Ok((&[], &[(1, 7), (2, 2)])));
        check(rooms, sent, Some((1, 7)), Ok((&[(2, 2)], &[(2, 1), (1, 7)])));
        check(rooms, sent, Some((9, 0)), Ok((&[(1, 7), (2, 2)], &[(1, 6), (2, 1)])));
        check(rooms, sent, Some((2, 1)), Err(Lost));
        check(rooms, sent, None, Err(Lost));
        // An offset of an earlier session, or a forged one: the client has nothing of this session.
        check(rooms, sent, Some((9, 1)), Err(Lost));
        check(rooms, &[(1, 6)], Some((3, 1)), Ok((&[(1, 6)], &[(1, 5), (2, 0)])));
        // A room that it has left: what was sent before is still for it.
        check(&[(1, 5)], sent, Some((9, 0)), Ok((&[(1, 7), (2, 2)], &[(1, 6), (2, 1)])));
        check(&[(1, 5)], sent, Some((2, 2)), Ok((&[], &[(1, 7)])));
        // Only the last ones are remembered.
        let many: Vec<_> = (6..6 + MAX_SENT as u64 + 10).map(|offset| (1, offset)).collect();
        let newest = 5 + MAX_SENT as u64 + 10;
        check(rooms, &many, Some((1, 6)), Err(UnknownOffset));
        check(rooms, &many, None, Err(UnknownOffset));
        check(rooms, &many, Some((1, newest)), Ok((&[], &[(1, newest), (2, 0)])));
        let mut dropped = log(rooms, sent);
        dropped.lose();
        assert_eq!(dropped.missed(Some(message((2, 2)).offset), false), Err(Lost));
        let mut unknown = SentLog::<()>::new();
        unknown.enter(&room(1), None);
        assert_eq!(unknown.missed(None, false), Err(UnknownOffset));
        unknown.note(&message((1, 3)));
        assert_eq!(
            unknown.missed(Some(message((1, 3)).offset), false).unwrap().reads,
            [(room(1), at(1, 3))]
        );
    }

    /// What a client says that it has → whether this log is too old for it.
    #[test]
    fn a_log_that_another_node_has_gone_on_with_is_outdated() {
        let mut log = log(&[(1, 5), (2, 3)], &[(1, 6), (9, 3), (2, 4), (1, 7)]);
        let check = |log: &SentLog<()>, offsets: &[(usize, u64)], expected| {
            let texts: Vec<_> = offsets.iter().map(|it| message(*it).offset.to_string()).collect();
            let client = ClientOffsets::parse(texts.iter().map(String::as_str), false).unwrap();
            assert_eq!(log.is_outdated(&client), expected, "{offsets:?}");
        };
        check(&log, &[], false);
        check(&log, &[(1, 7)], false);
        check(&log, &[(1, 8)], true);
        // The last message of all is known, and one of another room is not.
        check(&log, &[(2, 5), (1, 7)], true);
        check(&log, &[(2, 4), (1, 7)], false);
        // Of an earlier session.
        check(&log, &[(1, 1), (2, 3)], false);
        check(&log, &[(3, 9)], false);
        check(&log, &[(9, 9)], false);
        log.leave("room1");
        check(&log, &[(1, 7)], false);
        check(&log, &[(1, 8)], true);
        log.enter(&room(3), None);
        check(&log, &[(3, 9)], false);
    }

    #[test]
    fn messages_are_held_back_while_a_session_is_recovered_and_known_ones_are_recognised() {
        let mut log = SentLog::new();
        log.enter(&room(1), Some(at(1, 5)));
        log.note(&message((1, 6)));
        log.note(&message((1, 7)));
        log.hold(None, "a", 1);
        assert_eq!(log.held(), (0, 0), "no session is being recovered");
        let missed = log.missed(Some(message((1, 6)).offset), false).unwrap();
        log.resume(&missed);
        assert!(!log.has(&message((1, 7))) && log.has(&message((1, 6))));
        log.hold(Some(&message((1, 8))), "b", 1);
        assert!(log.is_holding());
        assert_eq!(log.held(), (1, 1));
        let record = |offset| (at(1, offset), Bytes::from(offset.to_string()));
        let pages = HashMap::from([(room(1), vec![record(7), record(8)])]);
        for (message, _) in missed.select(pages).unwrap() {
            log.note(&message);
        }
        let sent = Some(message((1, 8)));
        assert_eq!(log.release(), [HeldMessage { sent, message: "b", size: 1, is_own: false }]);
        assert!(
            log.has(&message((1, 8))) && !log.has(&message((1, 9))) && !log.has(&message((2, 1)))
        );
        assert!(!log.is_holding());
        // The client may have got none of them.
        assert_eq!(log.missed(Some(message((1, 6)).offset), false).unwrap().sent.len(), 2);
        assert_eq!(missed.select(HashMap::new()), None);
    }

    proptest! {
        /// A client that loses its connection again and again has every message once, in the order
        /// of each room.
        #[test]
        fn after_any_cuts_the_client_has_every_message_once(
            // Messages of three rooms, of which a part arrives before the next cut.
            connections in prop::collection::vec(
                (prop::collection::vec(0..3_usize, 0..30), 0..40_usize, prop::collection::vec(0..3_usize, 0..10)),
                1..12,
            ),
        ) {
            let mut stored: [Vec<(Position, Bytes)>; 3] = Default::default();
            let mut append = |number: usize| {
                let list: &mut Vec<_> = &mut stored[number];
                let position = at(number, list.len() as u64 + 1);
                list.push((position, Bytes::from(position.to_string())));
                (stored.clone(), message((number, position.offset)))
            };
            let mut log = SentLog::<()>::new();
            (0..3).for_each(|number| log.enter(&room(number), Some(at(number, 0))));
            let mut client: Vec<SentMessage> = Vec::new();
            for (while_connected, arrive, while_away) in connections {
                let mut on_wire = Vec::new();
                let mut all = None;
                // What was missed.
                let last = client.last().map(|message| message.offset);
                let missed = log.missed(last, false).unwrap();
                log.resume(&missed);
                for number in while_away {
                    let (stored, message) = append(number);
                    // Also to the new connection, which may have read it already.
                    if number == 0 {
                        log.hold(Some(&message), (), 0);
                    }
                    all = Some(stored);
                }
                let stored = all.unwrap_or_else(|| append(0).0);
                let page = |(room, since): &(Arc<str>, Position)| {
                    let list = &stored[usize::try_from(since.epoch).unwrap()];
                    let skip = usize::try_from(since.offset).unwrap();
                    (Arc::clone(room), list[skip..].to_vec())
                };
                let pages = missed.reads.iter().map(page).collect();
                for (message, record) in missed.select(pages).unwrap() {
                    prop_assert_eq!(&record, &Bytes::from(message.offset.to_string()));
                    log.note(&message);
                    on_wire.push(message);
                }
                for held in log.release() {
                    let message = held.sent.unwrap();
                    if !log.has(&message) {
                        log.note(&message);
                        on_wire.push(message);
                    }
                }
                for number in while_connected {
                    let (_, message) = append(number);
                    if !log.has(&message) {
                        log.note(&message);
                        on_wire.push(message);
                    }
                }
                client.extend(on_wire.into_iter().take(arrive));
            }
            for number in 0..3 {
                let own = client.iter().filter(|message| message.room == Some(room(number)));
                let offsets: Vec<_> = own.map(|message| message.offset).collect();
                let expected = (1..=offsets.len() as u64).map(|offset| SentOffset::Stored(at(number, offset)));
                prop_assert!(offsets.iter().copied().eq(expected), "{:?}", offsets);
            }
        }
    }

    #[test]
    fn a_room_that_was_ahead_while_it_was_read_has_to_be_reached() {
        for (read, reached, is_behind) in [
            (at(1, 7), at(1, 7), false),
            (at(1, 8), at(1, 7), false),
            (at(1, 6), at(1, 7), true),
            (at(1, 9), Position { epoch: 9, offset: 7 }, true),
        ] {
            let mut log = log(&[(1, 5)], &[]);
            log.begin_holding();
            assert!(log.reached("room1", reached) && log.reached("other", reached));
            log.has_read("room1", read);
            assert_eq!(log.is_behind(), is_behind, "{read} {reached}");
            // It was not missed by an earlier connection.
            assert!(log.missed(None, false).is_ok());
        }
    }
}
