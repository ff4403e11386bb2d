//! Which sessions wait for their clients, for how long, and which of them have missed a message?
//!
//! ```text
//!            lost                    released                      claimed
//! Connected ──────▶ Leaving ────────────────────────────▶ Waiting ─────────▶ Claimed
//!     │                 ▲                                    │                  │
//!     └── claimed: the other connection is ended ──┘         └── the window ────┴──▶ unknown
//! ```
//!
//! A session that is leaving still has its id. It waits for its client once the handlers of
//! `disconnect` have returned. From the moment on in which it begins to leave, the table counts the
//! messages that no history has and that would be for it.
//!
//! A session that is ended for good is unknown at once. If it is leaving, it is `Ending` until the
//! handlers have returned, and does not wait.
//!
//! Longer than 400 lines because the states and the counts are changed together.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::recovery::token::SessionToken;

/// The sessions of one hub. `C` is a connected socket, `S` what is kept of one that has left.
/// Instants are durations since the table was made.
pub(crate) struct RecoveryTable<C, S> {
    sessions: HashMap<SessionToken, SessionState<C, S>>,
    /// Those that wait or are claimed, and when they end, in this order.
    ends: VecDeque<(Duration, SessionToken)>,
    /// How long a session waits.
    window: Duration,
    /// The number of sessions that wait, and the largest one.
    waiting: usize,
    most: usize,
    watches: Watches,
}

enum SessionState<C, S> {
    Connected(C),
    Leaving,
    /// As `Leaving`, and it does not wait for its client.
    Ending,
    Waiting {
        session: Box<S>,
        watch: Watch,
        until: Duration,
    },
    /// A connection has it, under another token.
    Claimed {
        until: Duration,
    },
}

/// Learns of which rooms messages are counted. The calls for one room are in order.
pub(crate) trait WatchObserver: Send {
    fn begun(&self, room: &str);
    fn ended(&self, room: &str);
}

/// The messages that no history has, counted by recipient, as far as a session watches them.
#[derive(Default)]
struct Watches {
    observer: Option<Box<dyn WatchObserver>>,
    everyone: u64,
    rooms: HashMap<Arc<str>, WatchCount>,
    ids: HashMap<Arc<str>, WatchCount>,
    /// The counts up to which a session has missed nothing.
    marks: HashMap<Watch, WatchMark>,
    next: u64,
}

#[derive(Default)]
struct WatchCount {
    watchers: HashSet<Watch>,
    messages: u64,
}

struct WatchMark {
    everyone: u64,
    id: (Arc<str>, u64),
    rooms: Vec<(Arc<str>, u64)>,
}

/// A session for which messages are counted. It has to be [ended](RecoveryTable::end_watch).
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use]
pub(crate) struct Watch(u64);

/// What a client gets for a token.
pub(crate) enum SessionClaim<C, S> {
    /// Its session. The caller has to end the watch.
    Session(Box<S>, Watch),
    /// It is connected still: the caller has to end the connection, and to claim again later.
    Connected(C),
    /// It will wait soon: the caller has to claim again later.
    Leaving,
    /// Another connection has claimed it.
    Taken,
    /// There is no such session, or not any more.
    Unknown,
}

/// A message that no history has, by its recipients.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PlainRecipients<'a> {
    Everyone,
    Union { rooms: &'a [Arc<str>], ids: &'a [Arc<str>] },
}

/// Those that do not get it, by id and by room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlainExceptions<'a> {
    pub(crate) ids: &'a [Arc<str>],
    pub(crate) rooms: &'a [Arc<str>],
}

impl<C: Clone, S> RecoveryTable<C, S> {
    pub(crate) fn new(
        window: Duration,
        most: usize,
        observer: Option<Box<dyn WatchObserver>>,
    ) -> Self {
        let watches = Watches { observer, ..Watches::default() };
        let (sessions, ends) = (HashMap::new(), VecDeque::new());
        Self { sessions, ends, window, waiting: 0, most, watches }
    }

    /// A socket has connected.
    #[must_use = "dropping a session may run code of the application"]
    pub(crate) fn connect(&mut self, now: Duration, token: SessionToken, socket: C) -> Vec<Box<S>> {
        self.sessions.insert(token, SessionState::Connected(socket));
        self.expire(now)
    }

    /// The connection of a session is lost. From now on, messages for it are counted. `None` if the
    /// session is not to be recovered.
    pub(crate) fn leave(
        &mut self,
        token: SessionToken,
        id: &Arc<str>,
        rooms: &[Arc<str>],
    ) -> Option<Watch> {
        let state = self.sessions.get_mut(&token)?;
        *state = SessionState::Leaving;
        Some(self.watches.begin(id, rooms))
    }

    /// Counts messages for a session that is on another node still. The watch has to be
    /// [ended](Self::end_watch), or the session [waits](Self::wait) with it.
    pub(crate) fn begin_watch(&mut self, id: &Arc<str>, rooms: &[Arc<str>]) -> Watch {
        self.watches.begin(id, rooms)
    }

    /// A session that was leaving waits for its client, unless it was ended meanwhile. Returns the
    /// sessions that end for it.
    #[must_use = "dropping a session may run code of the application"]
    pub(crate) fn wait(
        &mut self,
        now: Duration,
        token: SessionToken,
        session: Box<S>,
        watch: Watch,
    ) -> Vec<Box<S>> {
        if let Some(SessionState::Ending) = self.sessions.get(&token) {
            self.sessions.remove(&token);
            self.watches.end(&watch);
            return Vec::new();
        }
        let until = now.saturating_add(self.window);
        self.sessions.insert(token, SessionState::Waiting { session, watch, until });
        self.waiting += 1;
        self.ends.push_back((until, token));
        let mut ended = self.expire(now);
        // Those that are claimed are bounded, too.
        while self.waiting > self.most || self.ends.len() > self.most.saturating_mul(4).max(64) {
            ended.extend(self.end_first());
        }
        ended
    }

    /// Ends the session that ends first.
    fn end_first(&mut self) -> Option<Box<S>> {
        let (until, token) = self.ends.pop_front()?;
        let is_this = match self.sessions.get(&token) {
            Some(
                SessionState::Waiting { until: other, .. } | SessionState::Claimed { until: other },
            ) => *other == until,
            // It is connected again, under the same token.
            Some(SessionState::Connected(_) | SessionState::Leaving | SessionState::Ending)
            | None => false,
        };
        if is_this { self.remove(token) } else { None }
    }

    /// A session ends for good. Returns what is kept of it, if it has waited.
    pub(crate) fn end(&mut self, token: SessionToken) -> Option<Box<S>> {
        if let Some(state @ SessionState::Leaving) = self.sessions.get_mut(&token) {
            *state = SessionState::Ending;
        }
        self.remove(token)
    }

    /// Claims the session of a token, if it waits.
    pub(crate) fn claim_waiting(
        &mut self,
        now: Duration,
        token: SessionToken,
    ) -> SessionClaim<C, S> {
        match self.sessions.get(&token) {
            Some(SessionState::Waiting { .. }) => self.claim(now, token, |_| true),
            _ => SessionClaim::Unknown,
        }
    }

    /// Claims the session of a token, if `is_owner` agrees.
    pub(crate) fn claim(
        &mut self,
        now: Duration,
        token: SessionToken,
        is_owner: impl FnOnce(&S) -> bool,
    ) -> SessionClaim<C, S> {
        match self.sessions.get(&token) {
            None | Some(SessionState::Ending) => SessionClaim::Unknown,
            Some(SessionState::Connected(socket)) => SessionClaim::Connected(socket.clone()),
            Some(SessionState::Leaving) => SessionClaim::Leaving,
            Some(SessionState::Claimed { until }) if *until >= now => SessionClaim::Taken,
            Some(SessionState::Waiting { session, until, .. })
                if *until >= now && is_owner(session) =>
            {
                let claimed = SessionState::Claimed { until: *until };
                match self.sessions.insert(token, claimed) {
                    Some(SessionState::Waiting { session, watch, .. }) => {
                        self.waiting -= 1;
                        SessionClaim::Session(session, watch)
                    }
                    _ => SessionClaim::Unknown,
                }
            }
            Some(SessionState::Claimed { .. } | SessionState::Waiting { .. }) => {
                SessionClaim::Unknown
            }
        }
    }

    /// Whether it has a session with this token.
    pub(crate) fn knows(&self, token: SessionToken) -> bool {
        self.sessions.contains_key(&token)
    }

    /// The session of a token, if it is connected or waits.
    pub(crate) fn find(&self, token: SessionToken) -> Option<Result<&C, &S>> {
        match self.sessions.get(&token)? {
            SessionState::Connected(socket) => Some(Ok(socket)),
            SessionState::Waiting { session, .. } => Some(Err(session)),
            SessionState::Leaving | SessionState::Ending | SessionState::Claimed { .. } => None,
        }
    }

    /// The sessions that are connected or leave, and those that wait.
    pub(crate) fn tokens(&self) -> (Vec<SessionToken>, Vec<SessionToken>) {
        let is_gone =
            |state: &_| matches!(state, SessionState::Claimed { .. } | SessionState::Ending);
        let held = self.sessions.iter().filter(|(_, state)| !is_gone(state));
        held.map(|(token, _)| *token).partition(|token| {
            let state = self.sessions.get(token);
            !matches!(state, Some(SessionState::Waiting { .. }))
        })
    }

    /// Another node has the session that was claimed, maybe under the same token.
    pub(crate) fn forget(&mut self, token: SessionToken) {
        if let Some(SessionState::Claimed { .. }) = self.sessions.get(&token) {
            self.sessions.remove(&token);
        }
    }

    /// Counts a message that no history has. Called after it was delivered.
    pub(crate) fn count(&mut self, recipients: PlainRecipients<'_>, except: PlainExceptions<'_>) {
        self.watches.count(recipients, except);
    }

    /// Whether a message was counted for a session since it has left.
    pub(crate) fn has_missed(&self, watch: &Watch) -> bool {
        self.watches.has_missed(watch)
    }

    pub(crate) fn end_watch(&mut self, watch: Watch) {
        self.watches.end(&watch);
    }

    /// Removes the sessions whose window is over. Returns what was kept of them.
    #[must_use = "dropping a session may run code of the application"]
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<Box<S>> {
        let mut ended = Vec::new();
        while self.ends.front().is_some_and(|(until, _)| *until < now) {
            ended.extend(self.end_first());
        }
        ended
    }

    /// When the next session ends, if any waits or is claimed.
    pub(crate) fn next_end(&self) -> Option<Duration> {
        self.ends.front().map(|(until, _)| *until)
    }

    fn remove(&mut self, token: SessionToken) -> Option<Box<S>> {
        match self.sessions.get(&token)? {
            SessionState::Leaving | SessionState::Ending => None,
            _ => match self.sessions.remove(&token)? {
                SessionState::Waiting { session, watch, .. } => {
                    self.waiting -= 1;
                    self.watches.end(&watch);
                    Some(session)
                }
                _ => None,
            },
        }
    }
}

impl Watches {
    fn begin(&mut self, id: &Arc<str>, rooms: &[Arc<str>]) -> Watch {
        let number = self.next;
        self.next += 1;
        if let Some(observer) = &self.observer {
            let new = rooms.iter().filter(|room| !self.rooms.contains_key(*room));
            new.for_each(|room| observer.begun(room));
        }
        let begin = |counts: &mut HashMap<Arc<str>, WatchCount>, name: &Arc<str>| {
            let count = counts.entry(Arc::clone(name)).or_default();
            count.watchers.insert(Watch(number));
            (Arc::clone(name), count.messages)
        };
        let id = begin(&mut self.ids, id);
        let rooms = rooms.iter().map(|room| begin(&mut self.rooms, room)).collect();
        self.marks.insert(Watch(number), WatchMark { everyone: self.everyone, id, rooms });
        Watch(number)
    }

    fn count(&mut self, recipients: PlainRecipients<'_>, except: PlainExceptions<'_>) {
        let count = |counts: &mut HashMap<Arc<str>, WatchCount>, name: &Arc<str>| {
            if let Some(count) = counts.get_mut(name) {
                count.messages += 1;
            }
        };
        match recipients {
            PlainRecipients::Everyone => self.everyone += 1,
            PlainRecipients::Union { rooms, ids } => {
                rooms.iter().for_each(|room| count(&mut self.rooms, room));
                ids.iter().for_each(|id| count(&mut self.ids, id));
            }
        }
        let by_id = except.ids.iter().filter_map(|id| self.ids.get(id));
        let by_room = except.rooms.iter().filter_map(|room| self.rooms.get(room));
        let excepted: HashSet<&Watch> = by_id.chain(by_room).flat_map(|it| &it.watchers).collect();
        for watch in excepted {
            if let Some(mark) = self.marks.get_mut(watch) {
                mark.skip(recipients);
            }
        }
    }

    fn has_missed(&self, watch: &Watch) -> bool {
        let Some(mark) = self.marks.get(watch) else { return true };
        let changed = |counts: &HashMap<Arc<str>, WatchCount>, (name, before): &(Arc<str>, u64)| {
            counts.get(name).is_none_or(|count| count.messages != *before)
        };
        self.everyone != mark.everyone
            || changed(&self.ids, &mark.id)
            || mark.rooms.iter().any(|room| changed(&self.rooms, room))
    }

    fn end(&mut self, watch: &Watch) {
        let Some(mark) = self.marks.remove(watch) else { return };
        let end = |counts: &mut HashMap<Arc<str>, WatchCount>, name: &Arc<str>| {
            if let Some(count) = counts.get_mut(name) {
                count.watchers.remove(watch);
                if count.watchers.is_empty() {
                    counts.remove(name);
                }
            }
        };
        end(&mut self.ids, &mark.id.0);
        for (room, _) in &mark.rooms {
            end(&mut self.rooms, room);
            if let Some(observer) =
                self.observer.as_ref().filter(|_| !self.rooms.contains_key(room))
            {
                observer.ended(room);
            }
        }
    }
}

impl WatchMark {
    /// A message that was counted is not for this session.
    fn skip(&mut self, recipients: PlainRecipients<'_>) {
        match recipients {
            PlainRecipients::Everyone => self.everyone += 1,
            PlainRecipients::Union { rooms, ids } => {
                for (room, count) in &mut self.rooms {
                    *count += rooms.iter().filter(|other| *other == room).count() as u64;
                }
                self.id.1 += ids.iter().filter(|other| **other == self.id.0).count() as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn rooms(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    /// A table with one session, `kept`, that has left at 0 s.
    fn waiting(kept: &'static str) -> (RecoveryTable<&'static str, &'static str>, SessionToken) {
        let mut table = RecoveryTable::new(WINDOW, 10, None);
        let token = SessionToken::random(None);
        let _ = table.connect(secs(0), token, "socket");
        let watch = table.leave(token, &Arc::from("id"), &rooms(&["a", "b"])).unwrap();
        assert!(table.wait(secs(0), token, Box::new(kept), watch).is_empty());
        (table, token)
    }

    fn claim(table: &mut RecoveryTable<&str, &str>, now: u64, token: SessionToken) -> String {
        match table.claim(secs(now), token, |_| true) {
            SessionClaim::Session(session, watch) => {
                let missed = table.has_missed(&watch);
                table.end_watch(watch);
                format!("{session} {missed}")
            }
            SessionClaim::Connected(socket) => socket.to_owned(),
            SessionClaim::Leaving => "leaving".to_owned(),
            SessionClaim::Taken => "taken".to_owned(),
            SessionClaim::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn each_state_answers_a_claim() {
        let mut table = RecoveryTable::<_, &str>::new(WINDOW, 10, None);
        let token = SessionToken::random(None);
        assert_eq!(claim(&mut table, 0, token), "unknown");
        let _ = table.connect(secs(0), token, "socket");
        assert_eq!(claim(&mut table, 0, token), "socket");
        let watch = table.leave(token, &Arc::from("id"), &[]).unwrap();
        assert_eq!(claim(&mut table, 0, token), "leaving");
        assert!(table.wait(secs(1), token, Box::new("kept"), watch).is_empty());
        assert!(matches!(table.claim(secs(1), token, |_| false), SessionClaim::Unknown));
        assert_eq!(claim(&mut table, 1, token), "kept false");
        assert_eq!(claim(&mut table, 1, token), "taken");
        assert_eq!(claim(&mut table, 121, token), "taken");
        assert_eq!(claim(&mut table, 122, token), "unknown");
        assert!(table.expire(secs(122)).is_empty());
        assert!(table.sessions.is_empty() && table.ends.is_empty());
        assert!(table.watches.ids.is_empty());
        // A session that was ended, such as one of a socket that was kicked.
        let _ = table.connect(secs(0), token, "socket");
        assert!(table.end(token).is_none());
        assert!(table.leave(token, &Arc::from("id"), &[]).is_none());
        assert_eq!(claim(&mut table, 0, token), "unknown");
        // While it leaves.
        let _ = table.connect(secs(0), token, "socket");
        let watch = table.leave(token, &Arc::from("id"), &[]).unwrap();
        for _ in 0..2 {
            assert!(table.end(token).is_none());
            assert_eq!(claim(&mut table, 0, token), "unknown");
            assert!(table.find(token).is_none() && table.tokens() == (vec![], vec![]));
        }
        assert!(table.wait(secs(1), token, Box::new("kept"), watch).is_empty());
        assert_eq!(claim(&mut table, 1, token), "unknown");
        assert!(table.sessions.is_empty() && table.ends.is_empty());
        assert!(table.watches.ids.is_empty() && table.waiting == 0);
    }

    #[test]
    fn a_session_ends_with_its_window_or_for_newer_ones() {
        let (mut table, token) = waiting("kept");
        assert_eq!(table.next_end(), Some(WINDOW));
        assert_eq!(table.expire(secs(120)).len(), 0);
        assert_eq!(claim(&mut table, 121, token), "unknown");
        assert_eq!(table.expire(secs(121)), [Box::new("kept")]);
        assert_eq!(table.next_end(), None);
        assert!(table.sessions.is_empty() && table.watches.rooms.is_empty());
        let mut table = RecoveryTable::<_, u32>::new(WINDOW, 2, None);
        let mut ended = Vec::new();
        for number in 0..5 {
            let token = SessionToken::random(None);
            let _ = table.connect(secs(0), token, ());
            let watch = table.leave(token, &Arc::from("id"), &rooms(&["a"])).unwrap();
            ended.extend(table.wait(secs(0), token, Box::new(number), watch));
        }
        assert_eq!(ended, [Box::new(0), Box::new(1), Box::new(2)]);
        assert_eq!((table.sessions.len(), table.watches.ids["id"].watchers.len()), (2, 2));
    }

    #[test]
    fn a_session_that_comes_back_under_its_token_is_not_ended_for_its_earlier_window() {
        let mut table = RecoveryTable::new(WINDOW, 1, None);
        let token = SessionToken::random(None);
        for round in 0..20 {
            let _ = table.connect(secs(round), token, "socket");
            let watch = table.leave(token, &Arc::from("id"), &[]).unwrap();
            assert!(table.wait(secs(round), token, Box::new("kept"), watch).is_empty());
            if round < 19 {
                assert_eq!(claim(&mut table, round, token), "kept false");
            }
        }
        assert!(table.expire(secs(120)).is_empty());
        assert_eq!(table.expire(secs(140)), [Box::new("kept")]);
        assert_eq!((table.waiting, table.ends.len()), (0, 0));
    }

    #[test]
    fn messages_that_no_history_has_are_counted_for_those_that_would_get_them() {
        #[track_caller]
        fn check(recipients: PlainRecipients<'_>, missed: bool) {
            check_except(recipients, PlainExceptions::default(), missed);
            // Its own messages and those that except its room are not for it.
            let id = rooms(&["id", "other"]);
            check_except(recipients, PlainExceptions { ids: &id, rooms: &[] }, false);
            let except = PlainExceptions { ids: &id, rooms: &rooms(&["b", "a"]) };
            check_except(recipients, except, false);
            let others = PlainExceptions { ids: &rooms(&["a"]), rooms: &rooms(&["id"]) };
            check_except(recipients, others, missed);
        }

        #[track_caller]
        fn check_except(
            recipients: PlainRecipients<'_>,
            except: PlainExceptions<'_>,
            missed: bool,
        ) {
            let (mut table, token) = waiting("kept");
            table.count(recipients, except);
            assert_eq!(claim(&mut table, 1, token), format!("kept {missed}"));
            assert!(table.watches.ids.is_empty() && table.watches.rooms.is_empty());
            assert!(table.watches.marks.is_empty());
        }
        const fn union<'a>(rooms: &'a [Arc<str>], ids: &'a [Arc<str>]) -> PlainRecipients<'a> {
            PlainRecipients::Union { rooms, ids }
        }
        check(PlainRecipients::Everyone, true);
        check(union(&rooms(&["a"]), &[]), true);
        check(union(&rooms(&["c", "b"]), &[]), true);
        check(union(&rooms(&["a", "b"]), &rooms(&["id"])), true);
        check(union(&rooms(&["c", "id"]), &rooms(&["a"])), false);
        check(union(&[], &rooms(&["other", "id"])), true);
        check(union(&[], &[]), false);
    }
}
