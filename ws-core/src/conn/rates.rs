//! When is it counted how fast the peer sends, and against which clock?

use tokio::task::coop;
use tokio::time::Instant;

use super::reading::Reader;
use crate::proto::{Event, Fault, Received};

impl Reader {
    /// Counts what came, where there are limits on that.
    #[inline]
    pub(super) fn count(&mut self, received: Received) -> Result<Received, Fault> {
        if self.rare.is_some() && !self.closing {
            self.count_rates(&received)?;
        }
        Ok(received)
    }

    fn count_rates(&mut self, received: &Received) -> Result<(), Fault> {
        let Some(rare) = &mut self.rare else { return Ok(()) };
        let Some(rates) = &mut rare.rates else { return Ok(()) };
        let now = || Instant::now().into_std();
        let fresh = self.bytes - std::mem::replace(&mut rare.counted, self.bytes);
        rates.bytes(fresh, now)?;
        match received.event {
            Some(Event::Message(_)) => rates.message(now),
            Some(Event::Ping(_) | Event::Pong(_)) => rates.control_frame(now),
            Some(Event::Close(_)) => Ok(()),
            None if self.inbound.has_last_frame() => rates.message(now),
            None => Ok(()),
        }
    }

    /// Notes that there is nothing more to read. A task that has used up its turn is told so
    /// even where there is.
    #[inline]
    pub(super) fn caught_up(&mut self) {
        if let Some(rare) = &mut self.rare
            && let Some(rates) = &mut rare.rates
            && coop::has_budget_remaining()
        {
            rates.caught_up(Instant::now().into_std());
        }
    }
}
