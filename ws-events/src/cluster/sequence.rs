//! Which envelopes of an origin are new, which are duplicates, and which did not arrive?
//!
//! An origin numbers its envelopes on each subject. A receiver delivers what comes in order. A
//! number that is skipped is lost, also if it comes later. The last envelopes of a series have no
//! successor that would show their loss, so a heartbeat [claims](Claim) the last number of each
//! subject. Another subject may be slower than that of the heartbeats, so a claim is enforced with
//! the next heartbeat.

use std::collections::HashMap;

use tokio::time::{Duration, Instant};

use crate::broker::Subject;

/// Numbers of subjects that are not used for so long may be forgotten.
const IDLE: Duration = Duration::from_secs(60);

/// The most subjects that are in a heartbeat.
pub(crate) const MAX_CLAIMS: usize = 1024;

/// The most subjects whose numbers are kept. Beyond that, those that are idle are forgotten, and then
/// those that were used least recently.
const MAX_SUBJECTS: usize = 64 * 1024;

/// The number of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SequenceNumber {
    /// The number that the subject began with.
    pub(crate) first: u64,
    pub(crate) this: u64,
}

/// The numbers that an origin has given on one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) subject: Subject,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The numbers of this node's envelopes.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    subjects: HashMap<Subject, Numbers>,
    /// At least as large as all numbers that were given.
    total: u64,
}

#[derive(Debug)]
struct Numbers {
    first: u64,
    /// The last number that was given.
    last: u64,
    /// The last number whose envelope the broker has taken.
    published: u64,
    used: Instant,
}

impl Numbering {
    /// The next number on a subject.
    pub(crate) fn next(&mut self, subject: &Subject, now: Instant) -> SequenceNumber {
        if let Some(numbers) = self.subjects.get_mut(subject) {
            numbers.last += 1;
            numbers.used = now;
            self.total = self.total.max(numbers.last);
            return SequenceNumber { first: numbers.first, this: numbers.last };
        }
        self.make_room(now);
        // Larger than all earlier numbers on this subject, if these were forgotten.
        self.total += 1;
        let first = self.total;
        let numbers = Numbers { first, last: first, published: first - 1, used: now };
        self.subjects.insert(subject.clone(), numbers);
        SequenceNumber { first, this: first }
    }

    /// The envelope with the last number was refused: it does not exist.
    pub(crate) fn take_back(&mut self, subject: &Subject) {
        if let Some(numbers) = self.subjects.get_mut(subject) {
            numbers.last -= 1;
        }
    }

    /// The broker has taken an envelope with this number.
    pub(crate) fn published(&mut self, subject: &Subject, number: u64) {
        if let Some(numbers) = self.subjects.get_mut(subject) {
            numbers.published = numbers.published.max(number);
        }
    }

    /// What was published, and whether that is all.
    pub(crate) fn claims(&self) -> (Vec<Claim>, bool) {
        let mut claims: Vec<_> = self.subjects.iter().collect();
        let is_complete = claims.len() <= MAX_CLAIMS;
        if !is_complete {
            claims.sort_unstable_by_key(|(_, numbers)| std::cmp::Reverse(numbers.used));
            claims.truncate(MAX_CLAIMS);
        }
        let claim = |(subject, numbers): (&Subject, &Numbers)| Claim {
            subject: subject.clone(),
            first: numbers.first,
            last: numbers.published,
        };
        (claims.into_iter().map(claim).collect(), is_complete)
    }

    fn make_room(&mut self, now: Instant) {
        if self.subjects.len() < MAX_SUBJECTS {
            return;
        }
        self.subjects.retain(|_, numbers| now.duration_since(numbers.used) < IDLE);
        if self.subjects.len() >= MAX_SUBJECTS {
            let mut used: Vec<_> = self.subjects.values().map(|numbers| numbers.used).collect();
            used.sort_unstable();
            let middle = used.get(used.len() / 2).copied().unwrap_or(now);
            self.subjects.retain(|_, numbers| numbers.used > middle);
        }
    }
}

/// Which envelopes of one origin on one subject have arrived.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The number of the next envelope; `None` before counting begins.
    next: Option<u64>,
    /// First and last of the claim that is enforced with the next one.
    claimed: Option<(u64, u64)>,
}

/// What an envelope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new. So many before it are lost.
    New { lost: u64 },
    /// It was delivered, or counted as lost.
    Old,
}

impl Window {
    /// An envelope with this number has arrived.
    pub(crate) fn receive(&mut self, number: SequenceNumber) -> Verdict {
        let SequenceNumber { first, this } = number;
        let lost = match self.next {
            Some(next) if this < next => return Verdict::Old,
            Some(next) => this.saturating_sub(next.max(first)),
            None => 0,
        };
        self.next = Some(this.saturating_add(1));
        Verdict::New { lost }
    }

    /// The origin claims these numbers. Returns how many are lost by its earlier claim.
    pub(crate) fn claim(&mut self, first: u64, last: u64) -> u64 {
        let lost = match (self.next, self.claimed) {
            (Some(next), Some((first, last))) if next <= last => {
                self.next = Some(last.saturating_add(1));
                (last.saturating_add(1)).saturating_sub(next.max(first))
            }
            (None, Some((_, last))) => {
                self.next = Some(last.saturating_add(1));
                0
            }
            (Some(_), Some(_)) | (_, None) => 0,
        };
        self.claimed = Some((first, last));
        lost
    }

    /// The origin claims nothing more. Returns how many are lost by its last claim.
    pub(crate) fn settle(&mut self) -> u64 {
        self.claimed.map_or(0, |(first, last)| self.claim(first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    /// Numbers that arrive → what each is, and what is lost then.
    #[track_caller]
    fn check(numbers: &[u64], expected: &[Option<u64>]) {
        let mut window = Window::default();
        let receive = |this: &u64| match window.receive(SequenceNumber { first: 1, this: *this }) {
            Verdict::New { lost } => Some(lost),
            Verdict::Old => None,
        };
        assert_eq!(numbers.iter().map(receive).collect::<Vec<_>>(), expected, "{numbers:?}");
    }

    #[test]
    fn each_number_is_delivered_once_in_order_or_lost_once() {
        check(&[1, 2, 3], &[Some(0), Some(0), Some(0)]);
        check(&[7, 8], &[Some(0), Some(0)]);
        check(&[1, 1, 2, 1], &[Some(0), None, Some(0), None]);
        check(&[1, 4, 2, 3, 5], &[Some(0), Some(2), None, None, Some(0)]);
        check(&[u64::MAX, u64::MAX, 1], &[Some(0), Some(0), None]);
    }

    #[test]
    fn a_lost_tail_is_counted_with_the_second_claim() {
        let mut window = Window::default();
        window.receive(SequenceNumber { first: 1, this: 1 });
        assert_eq!((window.claim(1, 4), window.claim(1, 5)), (0, 3));
        // Too late: it is counted.
        assert_eq!(window.receive(SequenceNumber { first: 1, this: 3 }), Verdict::Old);
        assert_eq!(window.receive(SequenceNumber { first: 1, this: 5 }), Verdict::New { lost: 0 });
        assert_eq!((window.claim(1, 5), window.claim(1, 5)), (0, 0));
    }

    #[test]
    fn counting_begins_with_the_second_claim_or_the_first_envelope() {
        let mut window = Window::default();
        assert_eq!((window.claim(0, 0), window.claim(0, 0)), (0, 0));
        assert_eq!(window.receive(SequenceNumber { first: 9, this: 11 }), Verdict::New { lost: 2 });
        let mut window = Window::default();
        assert_eq!((window.claim(1, 5), window.claim(1, 6)), (0, 0));
        assert_eq!(window.receive(SequenceNumber { first: 1, this: 8 }), Verdict::New { lost: 2 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_subject_that_was_forgotten_begins_above_its_earlier_numbers() {
        let mut numbering = Numbering::default();
        let number = |numbering: &mut Numbering, name: &str| {
            let SequenceNumber { first, this } = numbering.next(&subject(name), Instant::now());
            numbering.published(&subject(name), this);
            (first, this)
        };
        assert_eq!(number(&mut numbering, "a"), (1, 1));
        assert_eq!(number(&mut numbering, "a"), (1, 2));
        assert_eq!(number(&mut numbering, "b"), (3, 3));
        numbering.take_back(&subject("b"));
        assert_eq!(number(&mut numbering, "b"), (3, 3));
        let (mut claims, is_complete) = numbering.claims();
        claims.sort_unstable_by_key(|claim| claim.last);
        let claim = |name, first, last| Claim { subject: subject(name), first, last };
        assert!(is_complete);
        assert_eq!(claims, [claim("a", 1, 2), claim("b", 3, 3)]);
        tokio::time::advance(Duration::from_secs(1)).await;
        for at in 0..MAX_SUBJECTS {
            number(&mut numbering, &format!("r.{at}"));
            if at == MAX_SUBJECTS / 2 {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
        assert!(numbering.subjects.len() <= MAX_SUBJECTS);
        let (first, this) = number(&mut numbering, "a");
        assert!(first == this && first > 2);
        assert_eq!(numbering.claims().0.len(), MAX_CLAIMS);
        assert!(!numbering.claims().1);
    }
}
