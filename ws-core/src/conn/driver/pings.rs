//! Which pings wait for their pongs?

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// The pings that were sent and not answered, oldest first.
#[derive(Default)]
pub(crate) struct Pings {
    /// Apart, since most connections send none that somebody waits for.
    noted: Option<Box<Noted>>,
}

#[derive(Default)]
struct Noted {
    last: u64,
    waiting: Vec<Ping>,
    rtt: Option<Duration>,
}

struct Ping {
    number: u64,
    payload: Bytes,
    sent: Instant,
    rtt: Option<Duration>,
}

impl Pings {
    /// Notes a ping that is sent now, and gives its number.
    pub(crate) fn sent(&mut self, payload: Option<Bytes>) -> (u64, Bytes) {
        let noted = self.noted.get_or_insert_default();
        noted.last += 1;
        let number = noted.last;
        let payload = payload.unwrap_or_else(|| Bytes::copy_from_slice(&number.to_be_bytes()));
        let ping = Ping { number, payload: payload.clone(), sent: Instant::now(), rtt: None };
        noted.waiting.push(ping);
        (number, payload)
    }

    /// A payload for a ping that nobody waits for: not one that somebody else has.
    pub(crate) fn unnoted() -> [u8; 8] {
        rand::random()
    }

    /// Notes a pong, and says whether it answers a ping. It answers those before, too:
    /// a peer may answer only the latest (RFC 6455 §5.5.3).
    pub(crate) fn answered(&mut self, payload: &[u8]) -> bool {
        let open = |ping: &Ping| ping.rtt.is_none() && ping.payload == payload;
        let Some(noted) = &mut self.noted else { return false };
        let Some(newest) = noted.waiting.iter().rposition(open) else { return false };
        let now = Instant::now();
        for ping in noted.waiting.iter_mut().take(newest + 1).filter(|ping| ping.rtt.is_none()) {
            ping.rtt = Some(now.saturating_duration_since(ping.sent));
            noted.rtt = ping.rtt;
        }
        true
    }

    /// The round trip of a ping, once it is answered.
    pub(crate) fn rtt_of(&self, number: u64) -> Option<Duration> {
        self.noted.as_ref()?.waiting.iter().find(|ping| ping.number == number)?.rtt
    }

    /// Nobody waits for this ping any more.
    pub(crate) fn forget(&mut self, number: u64) {
        let Some(noted) = &mut self.noted else { return };
        noted.waiting.retain(|ping| ping.number != number);
        if noted.waiting.is_empty() {
            noted.waiting = Vec::new();
        }
    }

    /// The latest round trip.
    pub(crate) fn latest(&self) -> Option<Duration> {
        self.noted.as_ref()?.rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_answers_its_ping_and_those_before() {
        let mut pings = Pings::default();
        let (one, _) = pings.sent(None);
        let (two, payload) = pings.sent(None);
        let (three, _) = pings.sent(None);
        assert!(!pings.answered(b"unasked"));
        assert!(pings.answered(&payload));
        assert!(pings.rtt_of(one).is_some() && pings.rtt_of(two).is_some());
        assert!(pings.rtt_of(three).is_none());
        pings.forget(three);
        assert!(pings.rtt_of(two).is_some());
    }

    #[test]
    fn the_same_payload_twice_answers_the_later_and_with_it_both() {
        let mut pings = Pings::default();
        let (one, _) = pings.sent(Some(Bytes::from_static(b"x")));
        let (two, _) = pings.sent(Some(Bytes::from_static(b"x")));
        assert!(pings.answered(b"x"));
        assert!(pings.rtt_of(one).is_some() && pings.rtt_of(two).is_some());
    }
}
