//! How does an operation wait, and what does it leave behind when it is dropped?
//!
//! Nothing: the only thing that a future holds is its place in a queue, which it gives
//! up when it is dropped.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::reading::Reader;
use super::shared::Shared;
use super::waiters::Ticket;
use super::writing::Writer;
use super::{Ending, lock};
use crate::Error;

/// A place among those that wait for the reading side.
struct Reading<'a>(&'a Shared, Ticket);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.1.is_waiting() {
            lock(&self.0.reader).leave(&mut self.1);
        }
    }
}

/// A place among those that wait for the writing side.
struct Writing<'a>(&'a Shared, Ticket);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if self.1.is_waiting() {
            lock(&self.0.writer).waiters.leave(&mut self.1);
        }
    }
}

/// A ping that is waited for.
struct Pinging<'a>(&'a Shared, u64);

impl Drop for Pinging<'_> {
    fn drop(&mut self) {
        lock(&self.0.reader).pings.forget(self.1);
    }
}

impl Shared {
    /// Waits for something of the reading side.
    pub(super) async fn wait_reading<T>(
        &self,
        mut poll: impl FnMut(&mut Reader, &Self, &mut Ticket, &mut Context<'_>) -> Poll<T>,
    ) -> T {
        let mut place = Reading(self, Ticket::NONE);
        poll_fn(|cx| {
            let mut reader = lock(&self.reader);
            let polled = poll(&mut reader, self, &mut place.1, cx);
            if polled.is_ready() {
                reader.leave(&mut place.1);
            }
            polled
        })
        .await
    }

    /// Waits for something of the writing side.
    pub(super) async fn wait_writing<T>(
        &self,
        mut poll: impl FnMut(&mut Writer, &Self, &mut Ticket, &mut Context<'_>) -> Poll<T>,
    ) -> T {
        let mut place = Writing(self, Ticket::NONE);
        poll_fn(|cx| {
            let mut writer = lock(&self.writer);
            let polled = poll(&mut writer, self, &mut place.1, cx);
            if polled.is_ready() {
                writer.waiters.leave(&mut place.1);
            }
            polled
        })
        .await
    }

    /// Waits for the end, reading on meanwhile.
    pub(super) async fn wait_for_end(&self) -> Ending {
        self.wait_reading(Reader::poll_end).await
    }

    /// Sends a ping and waits for its pong, reading on meanwhile.
    pub(super) async fn ping(&self, payload: Option<Bytes>) -> Result<Duration, Error> {
        let sent = {
            let mut reader = lock(&self.reader);
            let mut writer = lock(&self.writer);
            writer.check_open(self)?;
            let (number, payload) = reader.pings.sent(payload);
            let sent = Pinging(self, number);
            let queued = writer.outbound.ping(&payload);
            writer.flush_now(self);
            drop((writer, reader));
            queued?;
            sent
        };
        self.wait_reading(|reader, shared, ticket, cx| {
            reader.poll_until(shared, ticket, cx, |reader| reader.pings.rtt_of(sent.1))
        })
        .await
    }
}

impl Reader {
    /// The end, for those that only wait for it.
    pub(super) fn poll_end(
        &mut self,
        shared: &Shared,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Ending> {
        let ending = || shared.ending.get().map(|ending| Ending::clone(ending));
        self.poll_until(shared, ticket, cx, |_| ending()).map(|ended| {
            // Reading fails only when the end is known.
            ended.or_else(|error| ending().ok_or(error)).unwrap_or_else(|error| Ending {
                sent: None,
                received: None,
                by: super::EndedBy::Transport,
                error,
            })
        })
    }
}
