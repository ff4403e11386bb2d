//! How fast does the peer send, and when was it silent?

use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

use tokio::time::Instant;

use crate::Rate;
use crate::proto::{Failure, ProtocolEvent, RateLimiter, Received};

/// The rate limits of a connection, and what they have counted.
pub(crate) struct RateMeter {
    rates: RateLimiter,
    /// How many received bytes have been counted.
    counted: u64,
    /// Set while the transport has nothing to read.
    arrival: Option<Arc<Arrival>>,
}

/// A waker that records when the transport has bytes again. This distinguishes a silent peer
/// from one whose bytes piled up because the application did not read.
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

impl Arrival {
    pub(crate) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self { first: OnceLock::new(), waker })
    }
}

impl RateMeter {
    pub(crate) const fn new(rates: RateLimiter) -> Self {
        Self { rates, counted: 0, arrival: None }
    }

    /// Counts what has arrived: `bytes` in all, and one event.
    pub(crate) fn count(
        &mut self,
        bytes: u64,
        received: &Received,
        has_last_frame: bool,
    ) -> Result<(), Failure> {
        let now = || Instant::now().into_std();
        let fresh = bytes - std::mem::replace(&mut self.counted, bytes);
        self.rates.take(Rate::Bytes, fresh, now)?;
        let frame = match received.event {
            Some(ProtocolEvent::Message(_)) => Rate::Messages,
            Some(ProtocolEvent::Ping(_) | ProtocolEvent::Pong(_)) => Rate::ControlFrames,
            None if has_last_frame => Rate::Messages,
            Some(ProtocolEvent::Close(_)) | None => return Ok(()),
        };
        self.rates.take(frame, 1, now)
    }

    /// The transport has nothing to read, and wakes `arrival` when it has.
    pub(crate) fn begin_silence(&mut self, arrival: Arc<Arrival>) {
        self.arrival = Some(arrival);
    }

    /// The peer was silent until the arrival, or until now.
    pub(crate) fn end_silence(&mut self) {
        let Some(arrival) = self.arrival.take() else { return };
        let until = arrival.first.get().copied().unwrap_or_else(Instant::now);
        self.rates.reset_idle(until.into_std());
    }
}
