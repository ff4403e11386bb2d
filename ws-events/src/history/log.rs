//! How are the messages of many rooms kept within bounds, without I/O and without a clock?
//!
//! Each room has a [`RoomLog`], a queue of records. An append removes what exceeds the limits of its
//! room. Then it looks at one other room, in turn, and removes what is too old there. If all rooms
//! together exceed their bound, it forgets rooms that never got a message. Then it takes the oldest
//! records of a room that got no message for long: of eight rooms, the one whose last message is the
//! oldest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::history::limits::History;
use crate::history::limits::MESSAGE_OVERHEAD;
use crate::history::position::Position;
use crate::history::store::{HistoryError, HistoryPage};

/// What a room counts, beside its name and its messages.
const ROOM_OVERHEAD: usize = 256;

/// The number of old records that one append removes from another room.
const SWEEP: usize = 16;

/// The number of rooms among which the one to shrink is chosen.
const SAMPLE: usize = 8;

/// The messages of all rooms. Instants are durations since it was made.
pub(crate) struct RoomLogs {
    slots: HashMap<Arc<str>, usize>,
    logs: Vec<RoomLog>,
    /// Rooms that had no message when they were made, the oldest first. They may have one by now.
    unused: VecDeque<Arc<str>>,
    /// The size of all logs.
    bytes: usize,
    /// The largest size of all logs.
    most_bytes: usize,
    /// The log that is looked at next.
    cursor: usize,
    /// The epoch of the next log.
    epoch: u64,
}

/// The messages of one room.
struct RoomLog {
    key: Arc<str>,
    epoch: u64,
    /// The offset of the newest message. Those in `records` are the last ones up to it.
    last: u64,
    records: VecDeque<LogRecord>,
    /// The size of the records.
    bytes: usize,
    /// The limit of the last append.
    age: Duration,
    /// The time of the last append, or of the first look.
    touched: u64,
}

struct LogRecord {
    bytes: Box<[u8]>,
    /// In milliseconds.
    at: u64,
}

impl RoomLogs {
    /// `epoch` is random. Rooms get the numbers from there on.
    pub(crate) fn new(most_bytes: usize, epoch: u64) -> Self {
        let (slots, logs, unused) = (HashMap::new(), Vec::new(), VecDeque::new());
        Self { slots, logs, unused, bytes: 0, most_bytes, cursor: 0, epoch }
    }

    /// Stores a record.
    pub(crate) fn append(
        &mut self,
        now: Duration,
        key: &str,
        record: &[u8],
        limits: &History,
    ) -> Position {
        let now = millis(now);
        let slot = self.slot(now, key);
        let Some(log) = self.logs.get_mut(slot) else { return Position { epoch: 0, offset: 0 } };
        let before = log.bytes;
        log.last += 1;
        log.age = limits.age;
        log.touched = now;
        log.push(LogRecord { bytes: record.into(), at: now });
        log.trim(limits);
        log.expire(now, SWEEP);
        self.bytes = self.bytes - before + log.bytes;
        let position = log.position();
        self.sweep(now);
        if self.bytes > self.most_bytes {
            self.shrink(position.epoch);
        }
        position
    }

    /// See [`HistoryStore::since`](crate::HistoryStore::since).
    pub(crate) fn since(
        &mut self,
        now: Duration,
        key: &str,
        position: Position,
        most: usize,
    ) -> Result<HistoryPage, HistoryError> {
        let slot = self.slots.get(key).copied().ok_or(HistoryError::UnknownPosition)?;
        let log = self.expire(millis(now), slot).ok_or(HistoryError::UnknownPosition)?;
        if position.epoch != log.epoch || position.offset > log.last {
            return Err(HistoryError::UnknownPosition);
        }
        let Some(skipped) = position.offset.checked_sub(log.before_first()) else {
            return Err(HistoryError::Trimmed);
        };
        Ok(log.page(usize::try_from(skipped).unwrap_or(usize::MAX), most))
    }

    /// See [`HistoryStore::latest`](crate::HistoryStore::latest).
    pub(crate) fn latest(&mut self, now: Duration, key: &str, most: usize) -> HistoryPage {
        let slot = self.slot(millis(now), key);
        match self.expire(millis(now), slot) {
            Some(log) => log.page(log.records.len().saturating_sub(most), most),
            None => HistoryPage { records: Vec::new(), last: Position { epoch: 0, offset: 0 } },
        }
    }

    /// See [`HistoryStore::trim`](crate::HistoryStore::trim).
    pub(crate) fn trim(&mut self, key: &str, through: Position) {
        let Some(log) = self.slots.get(key).and_then(|slot| self.logs.get_mut(*slot)) else {
            return;
        };
        let before = log.bytes;
        while through.epoch == log.epoch && log.before_first() < through.offset && log.pop() {}
        self.bytes = self.bytes - before + log.bytes;
    }

    /// The log of a room, which is made if needed.
    fn slot(&mut self, now: u64, key: &str) -> usize {
        if let Some(slot) = self.slots.get(key) {
            return *slot;
        }
        let key: Arc<str> = Arc::from(key);
        let slot = self.logs.len();
        self.slots.insert(Arc::clone(&key), slot);
        self.unused.push_back(Arc::clone(&key));
        self.bytes += ROOM_OVERHEAD + key.len();
        let epoch = self.epoch;
        self.epoch = epoch.wrapping_add(1);
        self.logs.push(RoomLog {
            key,
            epoch,
            last: 0,
            records: VecDeque::new(),
            bytes: 0,
            age: Duration::MAX,
            touched: now,
        });
        if self.bytes > self.most_bytes {
            self.shrink(epoch);
        }
        // It may have moved.
        self.logs.iter().rposition(|log| log.epoch == epoch).unwrap_or(slot)
    }

    /// Removes all records of a room that are too old.
    fn expire(&mut self, now: u64, slot: usize) -> Option<&mut RoomLog> {
        let log = self.logs.get_mut(slot)?;
        let before = log.bytes;
        log.expire(now, usize::MAX);
        self.bytes = self.bytes - before + log.bytes;
        Some(log)
    }

    /// Removes old records of the next room.
    fn sweep(&mut self, now: u64) {
        self.cursor = self.next(self.cursor);
        if let Some(log) = self.logs.get_mut(self.cursor) {
            let before = log.bytes;
            log.expire(now, SWEEP);
            self.bytes = self.bytes - before + log.bytes;
        }
    }

    const fn next(&self, slot: usize) -> usize {
        if slot + 1 < self.logs.len() { slot + 1 } else { 0 }
    }

    /// Removes records until the bound holds, and rooms that have none. The log with the epoch
    /// `used` stays, without records if need be.
    #[cold]
    fn shrink(&mut self, used: u64) {
        self.forget_unused(used);
        while self.bytes > self.most_bytes {
            let mut oldest: Option<usize> = None;
            for _ in 0..SAMPLE.min(self.logs.len()) {
                self.cursor = self.next(self.cursor);
                let Some(log) = self.logs.get(self.cursor) else { continue };
                let touched = |slot: usize| self.logs.get(slot).map(|log| log.touched);
                let removable = log.epoch != used || !log.records.is_empty();
                if removable && oldest.is_none_or(|slot| touched(slot) > Some(log.touched)) {
                    oldest = Some(self.cursor);
                }
            }
            let Some(slot) = oldest else {
                if self.logs.len() <= SAMPLE { break } else { continue }
            };
            self.shrink_room(slot);
        }
    }

    /// Removes rooms that never got a message until the bound holds.
    fn forget_unused(&mut self, used: u64) {
        let mut kept = None;
        while self.bytes > self.most_bytes
            && let Some(key) = self.unused.pop_front()
        {
            let Some(slot) = self.slots.get(&key).copied() else { continue };
            match self.logs.get(slot) {
                Some(log) if log.epoch == used && log.last == 0 => kept = Some(key),
                Some(log) if log.last == 0 => self.shrink_room(slot),
                _ => {}
            }
        }
        self.unused.extend(kept);
    }

    /// Removes the oldest record of a room, or the room if it has none.
    fn shrink_room(&mut self, slot: usize) {
        if let Some(log) = self.logs.get_mut(slot)
            && !log.records.is_empty()
        {
            let before = log.bytes;
            log.pop();
            self.bytes = self.bytes - before + log.bytes;
            return;
        }
        let removed = self.logs.swap_remove(slot);
        self.slots.remove(&removed.key);
        self.bytes -= ROOM_OVERHEAD + removed.key.len();
        let len = self.logs.len();
        if self.logs.capacity() > 4 * len + 16 {
            // Messages may take the place of rooms.
            self.logs.shrink_to(2 * len);
            self.slots.shrink_to(2 * len);
        }
        if let Some(moved) = self.logs.get(slot) {
            self.slots.insert(Arc::clone(&moved.key), slot);
        }
    }
}

impl RoomLog {
    const fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    /// The offset before the oldest record.
    fn before_first(&self) -> u64 {
        self.last - self.records.len() as u64
    }

    /// The records from this one on.
    fn page(&self, skipped: usize, most: usize) -> HistoryPage {
        let offsets = self.before_first() + 1..;
        let numbered = offsets.zip(&self.records).skip(skipped).take(most);
        let records = numbered
            .map(|(offset, record)| {
                let position = Position { epoch: self.epoch, offset };
                (position, Bytes::copy_from_slice(&record.bytes))
            })
            .collect();
        HistoryPage { records, last: self.position() }
    }

    fn push(&mut self, record: LogRecord) {
        if self.records.len() == self.records.capacity() {
            // By a quarter: a queue that doubles would take more than the overhead that counts.
            self.records.reserve_exact(self.records.len() / 4 + 4);
        }
        self.bytes += record.bytes.len() + MESSAGE_OVERHEAD;
        self.records.push_back(record);
    }

    /// Removes the oldest record. Returns whether there was one.
    fn pop(&mut self) -> bool {
        let Some(record) = self.records.pop_front() else { return false };
        self.bytes -= record.bytes.len() + MESSAGE_OVERHEAD;
        let len = self.records.len();
        if len == 0 {
            self.records = VecDeque::new();
        } else if self.records.capacity() > 2 * len + 4 {
            // The overhead that counts covers twice as many records.
            self.records.shrink_to(len + len / 4 + 4);
        }
        true
    }

    fn trim(&mut self, limits: &History) {
        while (self.records.len() > limits.messages || self.bytes > limits.bytes) && self.pop() {}
    }

    /// Removes at most `most` records that are too old.
    fn expire(&mut self, now: u64, most: usize) {
        let age = millis(self.age);
        for _ in 0..most {
            match self.records.front() {
                Some(oldest) if now.saturating_sub(oldest.at) > age => _ = self.pop(),
                _ => break,
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FOREVER: usize = usize::MAX;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn texts(page: &HistoryPage) -> Vec<(u64, String)> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        page.records.iter().map(|(at, bytes)| (at.offset, text(bytes))).collect()
    }

    /// Numbers as records, one each second → the offsets that are left.
    #[track_caller]
    fn check_limits(limits: &History, count: u64, now: u64, expected: std::ops::Range<u64>) {
        let mut logs = RoomLogs::new(FOREVER, 7);
        for number in 1..=count {
            let position = logs.append(secs(number), "room", number.to_string().as_bytes(), limits);
            assert_eq!(position, Position { epoch: 7, offset: number });
        }
        let page = logs.latest(secs(now), "room", FOREVER);
        let expected: Vec<_> = expected.map(|number| (number, number.to_string())).collect();
        assert_eq!(texts(&page), expected);
        assert_eq!(page.last, Position { epoch: 7, offset: count });
    }

    #[test]
    fn each_limit_removes_the_oldest_messages() {
        let all = || History::new().messages(FOREVER).bytes(FOREVER).age(Duration::MAX);
        check_limits(&all(), 9, 1_000_000, 1..10);
        check_limits(&all().messages(4), 9, 9, 6..10);
        check_limits(&all().messages(0), 9, 9, 0..0);
        check_limits(&all().bytes(3 * 65), 9, 9, 7..10);
        check_limits(&all().bytes(3 * 65 - 1), 9, 9, 8..10);
        check_limits(&all().bytes(64), 9, 9, 0..0);
        check_limits(&all().age(secs(3)), 9, 9, 6..10);
        check_limits(&all().age(secs(3)), 9, 11, 8..10);
        check_limits(&all().age(secs(3)), 9, 13, 0..0);
    }

    #[test]
    fn a_position_reads_what_is_behind_it_or_says_that_it_is_gone() {
        let mut logs = RoomLogs::new(FOREVER, 1);
        let limits = History::new().messages(3);
        for text in ["a", "b", "c", "d", "e"] {
            logs.append(secs(0), "room", text.as_bytes(), &limits);
        }
        logs.append(secs(0), "other", b"x", &limits);
        let mut check = |epoch, offset, most, expected: Result<&[(u64, &str)], HistoryError>| {
            let page = logs.since(secs(0), "room", Position { epoch, offset }, most);
            let page = page.map(|page| {
                assert_eq!(page.last, Position { epoch: 1, offset: 5 });
                texts(&page)
            });
            let owned = |list: &[(u64, &str)]| {
                list.iter().map(|(offset, text)| (*offset, (*text).to_owned())).collect()
            };
            assert_eq!(page, expected.map(owned));
        };
        check(1, 5, 9, Ok(&[]));
        check(1, 4, 9, Ok(&[(5, "e")]));
        check(1, 2, 9, Ok(&[(3, "c"), (4, "d"), (5, "e")]));
        check(1, 2, 2, Ok(&[(3, "c"), (4, "d")]));
        check(1, 1, 9, Err(HistoryError::Trimmed));
        check(1, 0, 9, Err(HistoryError::Trimmed));
        check(1, 6, 9, Err(HistoryError::UnknownPosition));
        check(2, 1, 9, Err(HistoryError::UnknownPosition));
        let unknown = logs.since(secs(0), "nowhere", Position { epoch: 1, offset: 0 }, 9);
        assert_eq!(unknown, Err(HistoryError::UnknownPosition));
        logs.trim("room", Position { epoch: 2, offset: 5 });
        logs.trim("nowhere", Position { epoch: 1, offset: 5 });
        assert_eq!(texts(&logs.latest(secs(0), "room", 1)), [(5, "e".to_owned())]);
        logs.trim("room", Position { epoch: 1, offset: 4 });
        assert_eq!(texts(&logs.latest(secs(0), "room", 9)), [(5, "e".to_owned())]);
        logs.trim("room", Position { epoch: 1, offset: 9 });
        assert_eq!(texts(&logs.latest(secs(0), "room", 9)), []);
        let last = Position { epoch: 1, offset: 5 };
        assert_eq!(logs.since(secs(0), "room", last, 9).map(|page| page.records), Ok(vec![]));
    }

    #[test]
    fn rooms_beyond_the_bound_in_all_are_forgotten_and_get_another_epoch() {
        let room = |number: usize| format!("room{number:04}");
        let size = ROOM_OVERHEAD + 8 + MESSAGE_OVERHEAD + 36;
        let mut logs = RoomLogs::new(100 * size, 0);
        let mut first = Vec::new();
        for number in 0..1000 {
            let at = secs(number as u64);
            first.push(logs.append(at, &room(number), &[b'x'; 36], &History::new()));
            assert!(logs.bytes <= 100 * size, "{}", logs.bytes);
            let newest = logs.since(at, &room(number), Position { offset: 0, ..first[number] }, 9);
            assert_eq!(newest.unwrap().records.len(), 1);
        }
        assert!(logs.logs.len() >= 100, "{}", logs.logs.len());
        let recent = (900..1000).filter(|number| logs.slots.contains_key(&*room(*number)));
        assert!(recent.count() >= 50);
        let gone = (0..1000).find(|number| !logs.slots.contains_key(&*room(*number))).unwrap();
        let again = logs.append(secs(1000), &room(gone), b"again", &History::new());
        assert_ne!(again.epoch, first[gone].epoch);
        let since = logs.since(secs(1000), &room(gone), first[gone], 9);
        assert_eq!(since, Err(HistoryError::UnknownPosition));
        // A bound that holds nothing.
        let mut none = RoomLogs::new(0, 0);
        for offset in 1..10 {
            assert_eq!(none.append(secs(0), "a", b"x", &History::new()).offset, offset);
            assert!(none.logs.len() == 1 && none.logs[0].records.is_empty());
        }
        none.append(secs(0), "b", b"x", &History::new());
        assert_eq!(none.logs.len(), 1);
    }

    #[test]
    fn old_messages_are_removed_while_other_rooms_get_messages() {
        let mut logs = RoomLogs::new(FOREVER, 0);
        let limits = History::new().age(secs(10));
        for number in 0..100 {
            logs.append(secs(0), &format!("idle{}", number % 10), b"x", &limits);
        }
        for _ in 0..11 {
            logs.append(secs(11), "busy", b"x", &limits);
        }
        let left: usize = logs.logs.iter().map(|log| log.records.len()).sum();
        assert_eq!(left, 11);
    }

    /// The memory of each message, beside its payload and the header of its allocation.
    #[test]
    fn a_record_is_small() {
        assert!(size_of::<LogRecord>() * 2 + 16 <= MESSAGE_OVERHEAD);
        assert!(size_of::<RoomLog>() + 4 * size_of::<LogRecord>() + 48 <= ROOM_OVERHEAD);
    }

    /// A burst, and then so few messages that the room is never empty.
    #[test]
    fn a_room_does_not_keep_the_memory_of_a_burst() {
        for by_trim in [false, true] {
            let mut logs = RoomLogs::new(FOREVER, 1);
            let limits = History::new().messages(FOREVER).age(secs(100));
            for _ in 0..1000 {
                logs.append(secs(0), "room", b"x", &limits);
            }
            let last = logs.append(secs(90), "room", b"y", &limits);
            if by_trim {
                logs.trim("room", Position { offset: last.offset - 1, ..last });
            } else {
                logs.append(secs(110), "other", b"z", &limits);
                assert_eq!(logs.latest(secs(110), "room", FOREVER).records.len(), 1);
            }
            let log = &logs.logs[0];
            assert!(log.records.capacity() <= 6, "{by_trim}: {}", log.records.capacity());
        }
    }

    /// A caller that asks for many rooms takes no messages from the others.
    #[test]
    fn rooms_without_a_message_are_forgotten_before_the_messages_of_others() {
        let mut logs = RoomLogs::new(100 * (ROOM_OVERHEAD + 8), 0);
        for number in 0..20 {
            logs.append(secs(0), &format!("real{number:04}"), b"x", &History::new());
        }
        for number in 0..10_000 {
            logs.latest(secs(1 + number), &format!("room{number:04}"), 9);
        }
        let kept = (0..20).filter(|number| logs.slots.contains_key(&*format!("real{number:04}")));
        assert_eq!(kept.count(), 20);
        assert!(logs.logs.capacity() <= 4 * logs.logs.len() + 16);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append { room: usize, len: usize },
        Wait(u64),
        Since { room: usize, back: u64 },
        Trim { room: usize, back: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_usize, 0..200_usize).prop_map(|(room, len)| Step::Append { room, len }),
            1 => (0..8_u64).prop_map(Step::Wait),
            2 => (0..3_usize, 0..9_u64).prop_map(|(room, back)| Step::Since { room, back }),
            1 => (0..3_usize, 0..9_u64).prop_map(|(room, back)| Step::Trim { room, back }),
        ]
    }

    proptest! {
        /// The model keeps all messages, and computes what the limits leave.
        #[test]
        fn any_steps_give_what_a_list_of_all_messages_gives(
            steps in prop::collection::vec(step(), 1..120),
            messages in 0..6_usize,
            bytes in 0..600_usize,
            age in 0..12_u64,
        ) {
            let limits = History::new().messages(messages).bytes(bytes).age(secs(age));
            let mut logs = RoomLogs::new(FOREVER, 100);
            let mut model: [Vec<(u64, Vec<u8>)>; 3] = Default::default();
            let mut trimmed = [0_u64; 3];
            let mut epochs = [None; 3];
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Append { room, len } => {
                        let record = vec![u8::try_from(room).unwrap(); len];
                        let at = logs.append(secs(now), &room.to_string(), &record, &limits);
                        model[room].push((now, record));
                        prop_assert_eq!(at.offset, model[room].len() as u64);
                        prop_assert_eq!(*epochs[room].get_or_insert(at.epoch), at.epoch);
                        // What a limit has removed once does not come back.
                        let mut size = 0;
                        let kept = model[room].iter().rev().take(messages).take_while(|(_, it)| {
                            size += it.len() + MESSAGE_OVERHEAD;
                            size <= bytes
                        });
                        trimmed[room] = trimmed[room].max((model[room].len() - kept.count()) as u64);
                    }
                    Step::Wait(time) => now += time,
                    Step::Trim { room, back } => {
                        let Some(epoch) = epochs[room] else { continue };
                        let offset = (model[room].len() as u64).saturating_sub(back);
                        logs.trim(&room.to_string(), Position { epoch, offset });
                        trimmed[room] = trimmed[room].max(offset);
                    }
                    Step::Since { room, back } => {
                        let Some(epoch) = epochs[room] else { continue };
                        let offset = (model[room].len() as u64).saturating_sub(back);
                        let position = Position { epoch, offset };
                        let page = logs.since(secs(now), &room.to_string(), position, FOREVER);
                        let expired = model[room].iter().take_while(|(at, _)| now - at > age).count();
                        trimmed[room] = trimmed[room].max(expired as u64);
                        if offset < trimmed[room] {
                            prop_assert_eq!(page, Err(HistoryError::Trimmed));
                            continue;
                        }
                        let got: Vec<_> = page.unwrap().records.iter().map(|it| it.1.to_vec()).collect();
                        let missed = model[room].iter().skip(usize::try_from(offset).unwrap());
                        prop_assert_eq!(got, missed.map(|it| it.1.clone()).collect::<Vec<_>>());
                    }
                }
            }
            let slack = |log: &RoomLog| log.records.capacity() <= 2 * log.records.len() + 4;
            prop_assert!(logs.logs.iter().all(slack));
            let size = |log: &RoomLog| log.bytes + ROOM_OVERHEAD + log.key.len();
            prop_assert_eq!(logs.bytes, logs.logs.iter().map(size).sum::<usize>());
        }

        /// With a bound in all, a reader gets all that is behind its position, or an error.
        #[test]
        fn no_bound_ever_leaves_a_gap(
            steps in prop::collection::vec(step(), 1..120),
            bytes in 0..2000_usize,
        ) {
            let limits = History::new();
            let mut logs = RoomLogs::new(bytes, 100);
            let mut model: [Vec<(Position, Vec<u8>)>; 3] = Default::default();
            for (at, step) in steps.into_iter().enumerate() {
                let now = secs(at as u64);
                match step {
                    Step::Append { room, len } => {
                        let record = vec![u8::try_from(room).unwrap(); len];
                        let position = logs.append(now, &room.to_string(), &record, &limits);
                        model[room].push((position, record));
                    }
                    Step::Since { room, back } => {
                        let seen = model[room].len().saturating_sub(1 + usize::try_from(back).unwrap());
                        let Some((position, _)) = model[room].get(seen).cloned() else { continue };
                        if let Ok(page) = logs.since(now, &room.to_string(), position, FOREVER) {
                            let got: Vec<_> =
                                page.records.iter().map(|it| (it.0, it.1.to_vec())).collect();
                            prop_assert_eq!(got, model[room].split_off(seen + 1));
                            model[room].clear();
                        }
                    }
                    Step::Wait(_) | Step::Trim { .. } => {}
                }
                prop_assert!(logs.bytes <= bytes.max(3 * (ROOM_OVERHEAD + 1)));
            }
        }
    }
}
