//! How does a message get into the outboxes of many?

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use serde::Serialize;
use ws_core::PreparedMessage;

use crate::EmitError;
use crate::carrier::Loads;
use crate::counters::add;
use crate::hub::Inner;
use crate::mail::{Call, Manner, Posted};
use crate::member::{Mail, Member};
use crate::outbox::Outbox;
use crate::patience::within;
use crate::waiting::Place;

/// What became of a message for many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
    message: &'a PreparedMessage,
    outbox: &'a Outbox,
    manner: Manner,
    delivery: Delivery,
    overtaken: usize,
    discarded: usize,
    wakers: Vec<Waker>,
    loads: Loads,
    /// What was thrown out: it may be the last of what the application gave.
    out: Vec<PreparedMessage>,
    crowded: bool,
}

impl<'a> Posting<'a> {
    /// To one, whose own task writes.
    pub(crate) const fn to_one(
        message: &'a PreparedMessage,
        outbox: &'a Outbox,
        volatile: bool,
    ) -> Self {
        Self::new(message, outbox, Manner { volatile, carried: false })
    }

    /// To many, to whom it is carried.
    pub(crate) const fn to_many(
        message: &'a PreparedMessage,
        outbox: &'a Outbox,
        volatile: bool,
    ) -> Self {
        Self::new(message, outbox, Manner { volatile, carried: true })
    }

    const fn new(message: &'a PreparedMessage, outbox: &'a Outbox, manner: Manner) -> Self {
        Self {
            message,
            outbox,
            manner,
            delivery: Delivery { matched: 0, queued: 0, dropped: 0, disconnected: 0 },
            overtaken: 0,
            discarded: 0,
            wakers: Vec::new(),
            loads: Loads::new(),
            out: Vec::new(),
            crowded: false,
        }
    }

    pub(crate) fn to(&mut self, mailbox: &Mail, member: &Arc<Member>) -> Posted {
        let message = self.message.clone();
        let (posted, call) = mailbox.post(message, self.outbox, self.manner, &mut self.out);
        match call {
            Call::Nobody => {}
            Call::Task(task) => self.wakers.push(task),
            Call::Carrier => self.loads.add(member),
        }
        match posted {
            Posted::Queued { dropped, crowded } => {
                self.delivery.queued += 1;
                self.overtaken += dropped;
                self.crowded |= crowded;
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
    pub(crate) fn done(self, hub: &Inner) -> Delivery {
        let counters = &hub.counters;
        if self.crowded {
            hub.turns.ask();
        }
        let Delivery { queued, dropped, disconnected, .. } = self.delivery;
        add(&counters.queued, queued);
        add(&counters.refused, dropped + disconnected);
        add(&counters.dropped, self.overtaken);
        add(&counters.discarded, self.discarded);
        add(&counters.slow_consumers, disconnected);
        self.wakers.into_iter().for_each(Waker::wake);
        self.loads.set_off();
        self.delivery
    }
}

/// Sends to one socket, and never waits.
pub(crate) fn post_to(member: &Arc<Member>, message: &PreparedMessage) -> Result<(), EmitError> {
    let mut posting = Posting::to_one(message, &member.hub.outbox, false);
    let posted = posting.to(&member.mailbox, member);
    posting.done(&member.hub);
    result(posted)
}

/// Sends to one socket, and waits for room for so long at most.
pub(crate) async fn post_wait(
    member: &Member,
    message: &PreparedMessage,
    patience: Duration,
) -> Result<(), EmitError> {
    let Member { hub, mailbox, .. } = member;
    let mut waits = Waits(member, Place::default());
    let posting = poll_fn(|cx| mailbox.poll_post(message, &hub.outbox, &mut waits.1, cx));
    let Some((posted, call)) = within(patience, posting).await else {
        mailbox.drop_one();
        add(&hub.counters.refused, 1);
        return Err(EmitError::Full);
    };
    if let Posted::Queued { crowded, .. } = posted {
        add(&hub.counters.queued, 1);
        if crowded {
            hub.turns.ask();
        }
    }
    if let Call::Task(task) = call {
        task.wake();
    }
    result(posted)
}

/// A place among those that wait for room, given up when this is dropped.
struct Waits<'a>(&'a Member, Place);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.mailbox.give_up(&mut self.1);
    }
}

const fn result(posted: Posted) -> Result<(), EmitError> {
    match posted {
        Posted::Queued { .. } => Ok(()),
        Posted::Dropped => Err(EmitError::Full),
        Posted::Cut { .. } => Err(EmitError::SlowConsumer),
        Posted::Closed => Err(EmitError::Closed),
    }
}
