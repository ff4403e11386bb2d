//! How are broadcasts written without waking the task of each recipient?
//!
//! To wake a task costs more than to write a message. Recipients whose tasks sleep are grouped,
//! and each group gets one short-lived task, a batch writer. It writes what is queued for each
//! of them, and hands a socket whose transport does not take all of it to the socket's own task
//! ([`writer`](crate::delivery::writer)).

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::task::yield_now;
use ws_core::PreparedMessage;

use crate::delivery::overflow::Overflow;
use crate::delivery::recipient::Recipient;
use crate::delivery::send_queue::{BatchItems, TakenBatch};
use crate::delivery::stats::add;
use crate::sync::{Arc, Runtime, RuntimeId, try_write_batch};

/// The number of recipients per batch writer. Other tasks run between two batch writers, and other
/// threads can steal a batch writer.
const GROUP_SIZE: usize = 32;

/// After this many messages, or this many bytes of them, a batch writer yields: each may have to
/// be compressed.
const MAX_MESSAGES_PER_POLL: usize = 512;
const MAX_BYTES_PER_POLL: u32 = 256 * 1024;

/// No message is added to a batch that has this many bytes before compression. The connection
/// counts only the compressed bytes, of which there may be few.
const MAX_BATCH_BYTES: u32 = 64 * 1024;

/// The recipients for which batch writers have to write. A batch writer runs on the runtime of
/// its recipients' tasks, so it makes progress whenever they do.
pub(crate) struct BatchWriters<R> {
    full: Vec<RecipientGroup<R>>,
    /// At most one for each runtime.
    partial: Vec<RecipientGroup<R>>,
}

struct RecipientGroup<R> {
    runtime: Option<RuntimeId>,
    recipients: Vec<Arc<R>>,
}

impl<R: Recipient> BatchWriters<R> {
    pub(crate) const fn new() -> Self {
        Self { full: Vec::new(), partial: Vec::new() }
    }

    pub(crate) fn add(&mut self, recipient: &Arc<R>) {
        let runtime = recipient.runtime().map(Runtime::id);
        let at = self.partial.iter().position(|group| group.runtime == runtime);
        let at = at.unwrap_or_else(|| {
            let recipients = Vec::with_capacity(GROUP_SIZE);
            self.partial.push(RecipientGroup { runtime, recipients });
            self.partial.len() - 1
        });
        let Some(group) = self.partial.get_mut(at) else { return };
        group.recipients.push(Arc::clone(recipient));
        if group.recipients.len() == GROUP_SIZE {
            self.full.push(self.partial.swap_remove(at));
        }
    }

    /// Spawns a batch writer for each group. Called without any lock.
    pub(crate) fn spawn(self) {
        for RecipientGroup { recipients, .. } in self.full.into_iter().chain(self.partial) {
            let runtime = recipients.first().and_then(|recipient| recipient.runtime().cloned());
            let writer = BatchWriter { recipients: recipients.into_iter(), writing: false };
            match runtime {
                // Without a coop budget: it is short, and the last recipients are not later
                // than the first.
                Some(runtime) => drop(runtime.spawn(unconstrained(writer))),
                None => drop(writer),
            }
        }
    }
}

/// Writes for a group of recipients. Dropped, it hands the rest of them to their own tasks.
struct BatchWriter<R: Recipient> {
    recipients: std::vec::IntoIter<Arc<R>>,
    /// Whether it has begun with the first of them.
    writing: bool,
}

impl<R: Recipient> Future for BatchWriter<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { recipients, writing } = &mut *self;
        recipients.as_slice().iter().for_each(|recipient| recipient.prefetch_link());
        let (mut count, mut bytes) = (0, 0);
        while let Some(recipient) = recipients.as_slice().first() {
            *writing = count < MAX_MESSAGES_PER_POLL && bytes < MAX_BYTES_PER_POLL;
            if !*writing {
                return pin!(yield_now()).poll(cx);
            }
            let written = write_batch(&**recipient);
            (count, bytes) = (count + written.0, bytes.saturating_add(written.1));
            recipients.next();
        }
        Poll::Ready(())
    }
}

impl<R: Recipient> Drop for BatchWriter<R> {
    fn drop(&mut self) {
        // A transport that panicked may have taken a part. The socket's own task finds out.
        let mut stalled = self.writing;
        for recipient in self.recipients.by_ref() {
            recipient.queue().hand_to_task(std::mem::take(&mut stalled));
        }
    }
}

/// Writes what is queued for one recipient. Returns the number of messages that were taken, and
/// of their bytes.
fn write_batch<R: Recipient>(recipient: &R) -> (usize, u32) {
    let mut source = BatchSource::new(recipient);
    let written = recipient.with_link(|link| {
        try_write_batch(link, |room| {
            source.next(|recipient| recipient.queue().take_batch_unless_stalled(room))
        })
    });
    let BatchSource { count, bytes, is_last, .. } = source;
    drop(source);
    match written {
        Some(Ok(batch)) if batch.flushed && is_last => {}
        Some(Ok(batch)) => recipient.queue().hand_to_task(!batch.flushed),
        // The socket's task finds the error, even if nothing is queued any more.
        Some(Err(_)) => recipient.queue().hand_to_task(true),
        // The connection has ended.
        None => {}
    }
    (count, bytes)
}

/// Gives a connection the queued messages of a recipient, batch by batch. It counts them as
/// written when they are taken, since a transport that fails has taken some of them.
pub(crate) struct BatchSource<'a, R: Recipient> {
    recipient: &'a R,
    count: usize,
    /// Small, since the task of each socket holds it.
    bytes: u32,
    /// Whether the queue was empty after the last batch.
    is_last: bool,
}

impl<'a, R: Recipient> BatchSource<'a, R> {
    pub(crate) const fn new(recipient: &'a R) -> Self {
        Self { recipient, count: 0, bytes: 0, is_last: false }
    }

    /// The next messages, by `take`; none after the last one, or when there are
    /// [enough](MAX_BATCH_BYTES).
    pub(crate) fn next(
        &mut self,
        take: impl FnOnce(&R) -> TakenBatch<PreparedMessage>,
    ) -> BatchItems<PreparedMessage> {
        if self.is_last || self.bytes >= MAX_BATCH_BYTES {
            return BatchItems::new();
        }
        let taken = take(self.recipient);
        self.count += taken.items.len();
        self.bytes = self.bytes.saturating_add(u32::try_from(taken.bytes).unwrap_or(u32::MAX));
        self.is_last = taken.is_last;
        taken.items
    }
}

impl<R: Recipient> Drop for BatchSource<'_, R> {
    fn drop(&mut self) {
        let shared = self.recipient.delivery();
        add(&shared.counters.written, self.count);
        shared.counters.change_queued_bytes(0, self.bytes as usize);
        if let Overflow::Block(_) = shared.limits.overflow {
            self.recipient.queue().take_waiters().into_iter().for_each(Waker::wake);
        }
    }
}
