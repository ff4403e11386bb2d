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

use std::collections::{HashMap, VecDeque};
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
    /// The largest number of sessions that wait.
    most: usize,
    watches: Watches,
}

enum SessionState<C, S> {
    Connected(C),
    Leaving,
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

/// The messages that no history has, counted by recipient, as far as a session watches them.
#[derive(Default)]
struct Watches {
    everyone: u64,
    rooms: HashMap<Arc<str>, WatchCount>,
    ids: HashMap<Arc<str>, WatchCount>,
}

#[derive(Default)]
struct WatchCount {
    watchers: usize,
    messages: u64,
}

/// The counts when a session has left.
#[derive(Debug)]
pub(crate) struct Watch {
    everyone: u64,
    id: (Arc<str>, u64),
    rooms: Vec<(Arc<str>, u64)>,
}

/// What a client gets for a token.
pub(crate) enum Claim<C, S> {
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

impl<C: Clone, S> RecoveryTable<C, S> {
    pub(crate) fn new(window: Duration, most: usize) -> Self {
        let watches = Watches::default();
        Self { sessions: HashMap::new(), ends: VecDeque::new(), window, most, watches }
    }

    /// A socket has connected.
    pub(crate) fn connect(&mut self, token: SessionToken, socket: C) {
        self.sessions.insert(token, SessionState::Connected(socket));
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

    /// A session that was leaving waits for its client. Returns the sessions that end for it.
    #[must_use = "dropping a session may run code of the application"]
    pub(crate) fn wait(
        &mut self,
        now: Duration,
        token: SessionToken,
        session: Box<S>,
        watch: Watch,
    ) -> Vec<Box<S>> {
        let until = now.saturating_add(self.window);
        self.sessions.insert(token, SessionState::Waiting { session, watch, until });
        self.ends.push_back((until, token));
        let mut ended = self.expire(now);
        while self.ends.len() > self.most
            && let Some((_, token)) = self.ends.pop_front()
        {
            ended.extend(self.remove(token));
        }
        ended
    }

    /// A session ends for good. Returns what is kept of it.
    pub(crate) fn end(&mut self, token: SessionToken) -> Option<Box<S>> {
        self.remove(token)
    }

    /// Claims the session of a token, if `is_owner` agrees.
    pub(crate) fn claim(
        &mut self,
        now: Duration,
        token: SessionToken,
        is_owner: impl FnOnce(&S) -> bool,
    ) -> Claim<C, S> {
        match self.sessions.get(&token) {
            None => Claim::Unknown,
            Some(SessionState::Connected(socket)) => Claim::Connected(socket.clone()),
            Some(SessionState::Leaving) => Claim::Leaving,
            Some(SessionState::Claimed { until }) if *until >= now => Claim::Taken,
            Some(SessionState::Waiting { session, until, .. })
                if *until >= now && is_owner(session) =>
            {
                let claimed = SessionState::Claimed { until: *until };
                match self.sessions.insert(token, claimed) {
                    Some(SessionState::Waiting { session, watch, .. }) => {
                        Claim::Session(session, watch)
                    }
                    _ => Claim::Unknown,
                }
            }
            Some(SessionState::Claimed { .. } | SessionState::Waiting { .. }) => Claim::Unknown,
        }
    }

    /// Counts a message that no history has. Called after it was delivered.
    pub(crate) fn count(&mut self, recipients: PlainRecipients<'_>) {
        self.watches.count(recipients);
    }

    /// Whether a message was counted for a session since it has left.
    pub(crate) fn has_missed(&self, watch: &Watch) -> bool {
        self.watches.has_missed(watch)
    }

    pub(crate) fn end_watch(&mut self, watch: Watch) {
        self.watches.end(watch);
    }

    /// Removes the sessions whose window is over. Returns what was kept of them.
    #[must_use = "dropping a session may run code of the application"]
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<Box<S>> {
        let mut ended = Vec::new();
        while let Some((until, token)) = self.ends.front().copied()
            && until < now
        {
            self.ends.pop_front();
            let is_this = match self.sessions.get(&token) {
                Some(SessionState::Waiting { until: other, .. }) => *other == until,
                Some(SessionState::Claimed { until: other }) => *other == until,
                Some(SessionState::Connected(_) | SessionState::Leaving) | None => false,
            };
            if is_this {
                ended.extend(self.remove(token));
            }
        }
        ended
    }

    fn remove(&mut self, token: SessionToken) -> Option<Box<S>> {
        match self.sessions.get(&token)? {
            SessionState::Leaving => None,
            _ => match self.sessions.remove(&token)? {
                SessionState::Waiting { session, watch, .. } => {
                    self.watches.end(watch);
                    Some(session)
                }
                _ => None,
            },
        }
    }
}

impl Watches {
    fn begin(&mut self, id: &Arc<str>, rooms: &[Arc<str>]) -> Watch {
        let begin = |counts: &mut HashMap<Arc<str>, WatchCount>, name: &Arc<str>| {
            let count = counts.entry(Arc::clone(name)).or_default();
            count.watchers += 1;
            (Arc::clone(name), count.messages)
        };
        let id = begin(&mut self.ids, id);
        let rooms = rooms.iter().map(|room| begin(&mut self.rooms, room)).collect();
        Watch { everyone: self.everyone, id, rooms }
    }

    fn count(&mut self, recipients: PlainRecipients<'_>) {
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
    }

    fn has_missed(&self, watch: &Watch) -> bool {
        let changed = |counts: &HashMap<Arc<str>, WatchCount>, (name, before): &(Arc<str>, u64)| {
            counts.get(name).is_none_or(|count| count.messages != *before)
        };
        self.everyone != watch.everyone
            || changed(&self.ids, &watch.id)
            || watch.rooms.iter().any(|room| changed(&self.rooms, room))
    }

    fn end(&mut self, watch: Watch) {
        let end = |counts: &mut HashMap<Arc<str>, WatchCount>, name: &Arc<str>| {
            if let Some(count) = counts.get_mut(name) {
                count.watchers -= 1;
                if count.watchers == 0 {
                    counts.remove(name);
                }
            }
        };
        end(&mut self.ids, &watch.id.0);
        watch.rooms.iter().for_each(|(room, _)| end(&mut self.rooms, room));
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
        let mut table = RecoveryTable::new(WINDOW, 10);
        let token = SessionToken::random();
        table.connect(token, "socket");
        let watch = table.leave(token, &Arc::from("id"), &rooms(&["a", "b"])).unwrap();
        assert!(table.wait(secs(0), token, Box::new(kept), watch).is_empty());
        (table, token)
    }

    fn claim(table: &mut RecoveryTable<&str, &str>, now: u64, token: SessionToken) -> String {
        match table.claim(secs(now), token, |_| true) {
            Claim::Session(session, watch) => {
                let missed = table.has_missed(&watch);
                table.end_watch(watch);
                format!("{session} {missed}")
            }
            Claim::Connected(socket) => socket.to_owned(),
            Claim::Leaving => "leaving".to_owned(),
            Claim::Taken => "taken".to_owned(),
            Claim::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn each_state_answers_a_claim() {
        let mut table = RecoveryTable::<_, &str>::new(WINDOW, 10);
        let token = SessionToken::random();
        assert_eq!(claim(&mut table, 0, token), "unknown");
        table.connect(token, "socket");
        assert_eq!(claim(&mut table, 0, token), "socket");
        let watch = table.leave(token, &Arc::from("id"), &[]).unwrap();
        assert_eq!(claim(&mut table, 0, token), "leaving");
        assert!(table.end(token).is_none());
        assert!(table.wait(secs(1), token, Box::new("kept"), watch).is_empty());
        assert!(matches!(table.claim(secs(1), token, |_| false), Claim::Unknown));
        assert_eq!(claim(&mut table, 1, token), "kept false");
        assert_eq!(claim(&mut table, 1, token), "taken");
        assert_eq!(claim(&mut table, 121, token), "taken");
        assert_eq!(claim(&mut table, 122, token), "unknown");
        assert!(table.expire(secs(122)).is_empty());
        assert!(table.sessions.is_empty() && table.ends.is_empty());
        assert!(table.watches.ids.is_empty());
        // A session that was ended, such as one of a socket that was kicked.
        table.connect(token, "socket");
        assert!(table.end(token).is_none());
        assert!(table.leave(token, &Arc::from("id"), &[]).is_none());
        assert_eq!(claim(&mut table, 0, token), "unknown");
    }

    #[test]
    fn a_session_ends_with_its_window_or_for_newer_ones() {
        let (mut table, token) = waiting("kept");
        assert_eq!(table.expire(secs(120)).len(), 0);
        assert_eq!(claim(&mut table, 121, token), "unknown");
        assert_eq!(table.expire(secs(121)), [Box::new("kept")]);
        assert!(table.sessions.is_empty() && table.watches.rooms.is_empty());
        let mut table = RecoveryTable::<_, u32>::new(WINDOW, 2);
        let mut ended = Vec::new();
        for number in 0..5 {
            let token = SessionToken::random();
            table.connect(token, ());
            let watch = table.leave(token, &Arc::from("id"), &rooms(&["a"])).unwrap();
            ended.extend(table.wait(secs(0), token, Box::new(number), watch));
        }
        assert_eq!(ended, [Box::new(0), Box::new(1), Box::new(2)]);
        assert_eq!((table.sessions.len(), table.watches.ids["id"].watchers), (2, 2));
    }

    #[test]
    fn messages_that_no_history_has_are_counted_for_those_that_would_get_them() {
        #[track_caller]
        fn check(recipients: PlainRecipients<'_>, missed: bool) {
            let (mut table, token) = waiting("kept");
            table.count(recipients);
            assert_eq!(claim(&mut table, 1, token), format!("kept {missed}"));
            assert!(table.watches.ids.is_empty() && table.watches.rooms.is_empty());
        }
        let union = |rooms, ids| PlainRecipients::Union { rooms, ids };
        check(PlainRecipients::Everyone, true);
        check(union(&rooms(&["a"]), &[]), true);
        check(union(&rooms(&["c", "b"]), &[]), true);
        check(union(&rooms(&["c", "id"]), &rooms(&["a"])), false);
        check(union(&[], &rooms(&["other", "id"])), true);
        check(union(&[], &[]), false);
    }
}
