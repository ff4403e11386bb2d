//! Which pings wait for their pongs?

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// The pings of `Conn::ping` that are not answered yet, oldest first.
#[derive(Default)]
pub(crate) struct PendingPings {
    /// Boxed, since most connections send none.
    sent: Option<Box<PendingPingList>>,
}

#[derive(Default)]
struct PendingPingList {
    last: u64,
    waiting: Vec<SentPing>,
    rtt: Option<Duration>,
}

struct SentPing {
    number: u64,
    payload: Bytes,
    sent: Instant,
    rtt: Option<Duration>,
}

impl PendingPings {
    /// Records a ping that is sent now. Returns its number and its payload.
    pub(crate) fn sent(&mut self, payload: Option<Bytes>) -> (u64, Bytes) {
        let pings = self.sent.get_or_insert_default();
        pings.last += 1;
        let number = pings.last;
        let payload = payload.unwrap_or_else(|| Bytes::copy_from_slice(&number.to_be_bytes()));
        let ping = SentPing { number, payload: payload.clone(), sent: Instant::now(), rtt: None };
        pings.waiting.push(ping);
        (number, payload)
    }

    /// Records a pong. Returns whether it answers a ping. It also answers all earlier pings: a
    /// peer may answer only the latest (RFC 6455 §5.5.3).
    pub(crate) fn answered(&mut self, payload: &[u8]) -> bool {
        let open = |ping: &SentPing| ping.rtt.is_none() && ping.payload == payload;
        let Some(pings) = &mut self.sent else { return false };
        let Some(newest) = pings.waiting.iter().rposition(open) else { return false };
        let now = Instant::now();
        for ping in pings.waiting.iter_mut().take(newest + 1).filter(|ping| ping.rtt.is_none()) {
            ping.rtt = Some(now.saturating_duration_since(ping.sent));
            pings.rtt = ping.rtt;
        }
        true
    }

    /// The round-trip time of a ping, once it is answered.
    pub(crate) fn rtt_of(&self, number: u64) -> Option<Duration> {
        self.sent.as_ref()?.waiting.iter().find(|ping| ping.number == number)?.rtt
    }

    /// No operation waits for this ping any more.
    pub(crate) fn forget(&mut self, number: u64) {
        let Some(pings) = &mut self.sent else { return };
        pings.waiting.retain(|ping| ping.number != number);
        if pings.waiting.is_empty() {
            pings.waiting = Vec::new();
        }
    }

    /// The latest round-trip time.
    pub(crate) fn latest(&self) -> Option<Duration> {
        self.sent.as_ref()?.rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_answers_its_ping_and_those_before() {
        let mut pings = PendingPings::default();
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
        let mut pings = PendingPings::default();
        let (one, _) = pings.sent(Some(Bytes::from_static(b"x")));
        let (two, _) = pings.sent(Some(Bytes::from_static(b"x")));
        assert!(pings.answered(b"x"));
        assert!(pings.rtt_of(one).is_some() && pings.rtt_of(two).is_some());
    }
}
