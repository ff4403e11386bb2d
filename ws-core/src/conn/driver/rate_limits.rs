//! When is it counted how fast the peer sends, and against which clock?

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::coop;
use tokio::time::Instant;

use crate::conn::driver::connection::Shared;
use crate::conn::driver::reader::{Reader, Step};
use crate::conn::driver::wait_queue::Ticket;
use crate::proto::{Failure, Mode, ProtocolEvent, Received};

/// When something came after there was nothing: the transport says so to whoever waits, and
/// this listens in. So silence is told from what piled up because nobody read.
pub(crate) struct Arrival {
    first: OnceLock<Instant>,
    waker: Waker,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.first.get_or_init(Instant::now);
        self.waker.wake_by_ref();
    }
}

impl Reader {
    /// Counts what came, where there are limits on that.
    #[inline]
    pub(crate) fn count(&mut self, received: Received) -> Result<Received, Failure> {
        if self.rare.is_some() && !self.closing {
            self.count_rates(&received)?;
        }
        Ok(received)
    }

    fn count_rates(&mut self, received: &Received) -> Result<(), Failure> {
        let Some(rare) = &mut self.rare else { return Ok(()) };
        let Some(rates) = &mut rare.rates else { return Ok(()) };
        let now = || Instant::now().into_std();
        let fresh = self.bytes - std::mem::replace(&mut rare.counted, self.bytes);
        rates.bytes(fresh, now)?;
        match received.event {
            Some(ProtocolEvent::Message(_)) => rates.message(now),
            Some(ProtocolEvent::Ping(_) | ProtocolEvent::Pong(_)) => rates.control_frame(now),
            Some(ProtocolEvent::Close(_)) => Ok(()),
            None if self.inbound.has_last_frame() => rates.message(now),
            None => Ok(()),
        }
    }

    /// Reads once, as [`poll_fill`](Self::poll_fill) does, and notes when there is nothing.
    #[inline]
    pub(crate) fn poll_fill_noting(
        &mut self,
        shared: &Shared,
        ticket: &Ticket,
        cx: &mut Context<'_>,
        mode: Mode,
    ) -> Poll<Step> {
        if self.rare.as_ref().is_none_or(|rare| rare.rates.is_none()) {
            return self.poll_fill(shared, ticket, cx, mode);
        }
        self.catch_up();
        let arrival = Arc::new(Arrival { first: OnceLock::new(), waker: cx.waker().clone() });
        let waker = Waker::from(Arc::clone(&arrival));
        let polled = self.poll_fill(shared, ticket, &mut Context::from_waker(&waker), mode);
        // A task that has used up its turn is told that there is nothing even where there is.
        if polled.is_pending() && coop::has_budget_remaining() {
            self.rare_mut().arrival = Some(arrival);
        }
        polled
    }

    /// There was nothing until something arrived, or until now.
    fn catch_up(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        let (Some(rates), Some(arrival)) = (&mut rare.rates, rare.arrival.take()) else { return };
        let until = arrival.first.get().copied().unwrap_or_else(Instant::now);
        rates.reset_idle(until.into_std());
    }
}
