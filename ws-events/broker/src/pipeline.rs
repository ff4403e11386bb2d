//! Which envelopes were accepted and not confirmed, and is another accepted?

use std::collections::VecDeque;

use bytes::Bytes;
use ws_events::broker::PublishError;

use crate::config::DriverConfig;
use crate::session::QueuedEnvelope;

/// The most envelopes and bytes of a batch. A longer envelope is a batch of its own.
const BATCH: (usize, usize) = (64, 256 * 1024);

/// The bounded pipeline: the queue, and what is on its way to the server.
#[derive(Debug)]
pub(crate) struct Pipeline<N> {
    is_up: bool,
    max_payload: usize,
    server_max_payload: usize,
    max_envelopes: usize,
    max_bytes: usize,
    queue: VecDeque<QueuedEnvelope<N>>,
    /// Of the queue and of the batches on their way.
    envelopes: usize,
    bytes: usize,
}

/// A batch, and how much of the pipeline it takes.
#[derive(Debug)]
pub(crate) struct Batch<N> {
    pub(crate) envelopes: Vec<QueuedEnvelope<N>>,
    pub(crate) size: BatchSize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSize {
    pub(crate) envelopes: usize,
    pub(crate) bytes: usize,
}

impl<N: Clone> Pipeline<N> {
    pub(crate) fn new(config: &DriverConfig) -> Self {
        Self {
            is_up: false,
            max_payload: config.max_payload,
            server_max_payload: usize::MAX,
            max_envelopes: config.max_envelopes,
            max_bytes: config.max_bytes,
            queue: VecDeque::new(),
            envelopes: 0,
            bytes: 0,
        }
    }

    pub(crate) fn publish(&mut self, subject: &N, envelope: Bytes) -> Result<(), PublishError> {
        if envelope.len() > self.max_payload.min(self.max_bytes).min(self.server_max_payload) {
            return Err(PublishError::TooLarge);
        }
        if !self.is_up {
            return Err(PublishError::Down);
        }
        let bytes = self.bytes.saturating_add(envelope.len());
        if self.envelopes >= self.max_envelopes || bytes > self.max_bytes {
            return Err(PublishError::Full);
        }
        self.envelopes += 1;
        self.bytes = bytes;
        self.queue.push_back(QueuedEnvelope { subject: subject.clone(), envelope });
        Ok(())
    }

    /// Accepts envelopes from now on. The server accepts them up to this length.
    pub(crate) fn up(&mut self, max_payload: usize) {
        self.is_up = true;
        self.server_max_payload = max_payload;
    }

    /// Refuses envelopes from now on. What is queued stays.
    pub(crate) fn refuse(&mut self) {
        self.is_up = false;
    }

    /// Refuses envelopes, and forgets all that are not confirmed. Returns their number.
    pub(crate) fn down(&mut self) -> usize {
        self.refuse();
        self.queue = VecDeque::new();
        self.bytes = 0;
        std::mem::take(&mut self.envelopes)
    }

    /// The oldest envelopes of the queue. They are on their way from now on.
    pub(crate) fn take_batch(&mut self) -> Option<Batch<N>> {
        let mut bytes = 0;
        let fits = |queued: &&QueuedEnvelope<N>| {
            let is_first = bytes == 0;
            bytes += queued.envelope.len().max(1);
            is_first || bytes <= BATCH.1
        };
        let len = self.queue.iter().take(BATCH.0).take_while(fits).count();
        let envelopes: Vec<_> = self.queue.drain(..len).collect();
        let bytes = envelopes.iter().map(|queued| queued.envelope.len()).sum();
        let size = BatchSize { envelopes: envelopes.len(), bytes };
        (!envelopes.is_empty()).then_some(Batch { envelopes, size })
    }

    /// The server has got a batch, or a part of it.
    pub(crate) fn confirmed(&mut self, size: BatchSize) {
        self.envelopes = self.envelopes.saturating_sub(size.envelopes);
        self.bytes = self.bytes.saturating_sub(size.bytes);
    }

    /// Whether all envelopes were confirmed.
    pub(crate) const fn is_empty(&self) -> bool {
        self.envelopes == 0
    }
}

#[cfg(test)]
mod tests {
    use ws_events::broker::Subject;

    use super::*;

    fn pipeline(max_envelopes: usize, max_bytes: usize) -> Pipeline<Subject> {
        let config = DriverConfig::new().max_envelopes(max_envelopes).max_bytes(max_bytes);
        let mut pipeline = Pipeline::new(&config);
        pipeline.up(1024 * 1024);
        pipeline
    }

    fn publish(pipeline: &mut Pipeline<Subject>, len: usize) -> Result<(), PublishError> {
        pipeline.publish(&Subject::new("a").unwrap(), vec![0; len].into())
    }

    #[test]
    fn an_envelope_over_a_bound_is_refused() {
        let mut pipeline = pipeline(3, 100);
        assert_eq!(publish(&mut pipeline, 101), Err(PublishError::TooLarge));
        assert_eq!(publish(&mut pipeline, 60), Ok(()));
        assert_eq!(publish(&mut pipeline, 41), Err(PublishError::Full));
        assert_eq!(publish(&mut pipeline, 0), Ok(()));
        assert_eq!(publish(&mut pipeline, 40), Ok(()));
        assert_eq!(publish(&mut pipeline, 0), Err(PublishError::Full));
        pipeline.up(50);
        assert_eq!(publish(&mut pipeline, 51), Err(PublishError::TooLarge));
    }

    #[test]
    fn a_batch_takes_room_until_it_is_confirmed() {
        let mut pipeline = pipeline(100, 100);
        (0..100).for_each(|_| publish(&mut pipeline, 1).unwrap());
        let batch = pipeline.take_batch().unwrap();
        assert_eq!(batch.size, BatchSize { envelopes: 64, bytes: 64 });
        assert_eq!(publish(&mut pipeline, 1), Err(PublishError::Full));
        pipeline.confirmed(batch.size);
        assert_eq!(publish(&mut pipeline, 64), Ok(()));
        let sizes = [(); 2].map(|()| pipeline.take_batch().map(|batch| batch.size));
        assert_eq!(sizes, [Some(BatchSize { envelopes: 37, bytes: 100 }), None]);
    }

    #[test]
    fn a_long_envelope_is_a_batch_of_its_own() {
        let mut pipeline = pipeline(100, 8 * 1024 * 1024);
        for len in [1, 300 * 1024, 300 * 1024, 1] {
            publish(&mut pipeline, len).unwrap();
        }
        let sizes =
            [(); 4].map(|()| pipeline.take_batch().map_or(0, |batch| batch.envelopes.len()));
        assert_eq!(sizes, [1, 1, 1, 1]);
    }

    #[test]
    fn what_is_queued_or_on_its_way_at_the_end_is_counted() {
        let mut pipeline = pipeline(1000, 1000);
        (0..100).for_each(|_| publish(&mut pipeline, 1).unwrap());
        let batch = pipeline.take_batch().unwrap();
        pipeline.confirmed(BatchSize { envelopes: 4, bytes: 4 });
        assert_eq!((batch.size.envelopes, pipeline.down()), (64, 96));
        assert_eq!(publish(&mut pipeline, 1), Err(PublishError::Down));
        assert!(pipeline.is_empty() && pipeline.take_batch().is_none());
    }
}
