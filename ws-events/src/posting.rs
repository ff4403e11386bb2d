//! How does a message get into the outboxes of many?

use std::sync::Arc;
use std::task::Waker;

use ws_core::Prepared;

use crate::EmitError;
use crate::counters::{Counters, add};
use crate::mailbox::Posted;
use crate::member::Member;
use crate::outbox::Outbox;

/// What became of a message for many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// How many sockets it was for.
    pub matched: usize,
    /// How many of them have it in their outboxes.
    pub queued: usize,
    /// How many will not get it: their outboxes are full, or it was volatile and they are
    /// behind.
    pub dropped: usize,
    /// How many are being closed, since they did not keep up.
    pub disconnected: usize,
}

/// One message on its way into outboxes. Nobody is woken before it is done.
pub(crate) struct Posting<'a> {
    message: &'a Prepared,
    outbox: &'a Outbox,
    volatile: bool,
    delivery: Delivery,
    overtaken: usize,
    discarded: usize,
    wakers: Vec<Waker>,
}

impl<'a> Posting<'a> {
    pub(crate) const fn new(message: &'a Prepared, outbox: &'a Outbox, volatile: bool) -> Self {
        Self {
            message,
            outbox,
            volatile,
            delivery: Delivery { matched: 0, queued: 0, dropped: 0, disconnected: 0 },
            overtaken: 0,
            discarded: 0,
            wakers: Vec::new(),
        }
    }

    pub(crate) fn to(&mut self, member: &Arc<Member>) -> Posted {
        let (posted, waker) = member.mailbox.post(self.message.clone(), self.outbox, self.volatile);
        self.wakers.extend(waker);
        match posted {
            Posted::Queued { dropped } => {
                self.delivery.queued += 1;
                self.overtaken += dropped;
            }
            Posted::Dropped => self.delivery.dropped += 1,
            Posted::Cut { discarded } => {
                self.delivery.disconnected += 1;
                self.discarded += discarded;
            }
            // It is leaving.
            Posted::Closed => return posted,
        }
        self.delivery.matched += 1;
        posted
    }

    /// Counts, and wakes those whose tasks sleep. To be called without any lock.
    pub(crate) fn done(self, counters: &Counters) -> Delivery {
        let Delivery { queued, dropped, disconnected, .. } = self.delivery;
        add(&counters.queued, queued);
        add(&counters.refused, dropped + disconnected);
        add(&counters.dropped, self.overtaken);
        add(&counters.discarded, self.discarded);
        add(&counters.slow_consumers, disconnected);
        self.wakers.into_iter().for_each(Waker::wake);
        self.delivery
    }
}

/// Sends to one socket, and never waits.
pub(crate) fn post_to(member: &Arc<Member>, message: &Prepared) -> Result<(), EmitError> {
    let mut posting = Posting::new(message, &member.hub.outbox, false);
    let posted = posting.to(member);
    posting.done(&member.hub.counters);
    match posted {
        Posted::Queued { .. } => Ok(()),
        Posted::Dropped => Err(EmitError::Full),
        Posted::Cut { .. } => Err(EmitError::SlowConsumer),
        Posted::Closed => Err(EmitError::Closed),
    }
}
