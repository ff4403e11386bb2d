//! How does a node prove that it has a key of the cluster, and how are envelopes of others dropped?
//!
//! A tag is behind each envelope: HMAC-SHA-256 of the subject, a zero byte and the envelope. So an
//! envelope cannot be moved to another subject.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{Broker, BrokerCapabilities, BrokerSink, BrokerStatus, PublishError, Subject};

/// The length of a tag, in bytes.
const TAG: usize = 32;

/// The shortest key, in bytes: as long as a tag.
pub(crate) const SHORTEST_KEY: usize = 32;

/// A broker whose envelopes have tags.
pub(crate) struct SignedBroker {
    inner: Box<dyn Broker>,
    keys: Arc<Keys>,
    on_forged: Arc<dyn Fn() + Send + Sync>,
}

/// The first key signs, and all verify.
struct Keys(Vec<hmac::Key>);

impl SignedBroker {
    /// `on_forged` is called for each envelope that is dropped.
    pub(crate) fn new(
        inner: Box<dyn Broker>,
        keys: &[Vec<u8>],
        on_forged: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        let keys = keys.iter().map(|key| hmac::Key::new(HMAC_SHA256, key)).collect();
        Self { inner, keys: Arc::new(Keys(keys)), on_forged }
    }
}

impl Keys {
    fn sign(&self, subject: &str, envelope: &[u8]) -> Option<Bytes> {
        let tag = tag(self.0.first()?, subject, envelope);
        let mut signed = BytesMut::with_capacity(envelope.len() + TAG);
        signed.extend_from_slice(envelope);
        signed.extend_from_slice(tag.as_ref());
        Some(signed.freeze())
    }

    /// The envelope without its tag, if that is the tag of one of the keys.
    fn verify(&self, subject: &str, mut signed: Bytes) -> Option<Bytes> {
        let tag = signed.split_off(signed.len().checked_sub(TAG)?);
        let expected = |key| self::tag(key, subject, &signed);
        let is_valid = |key| verify_slices_are_equal(expected(key).as_ref(), &tag).is_ok();
        self.0.iter().any(is_valid).then_some(signed)
    }
}

fn tag(key: &hmac::Key, subject: &str, envelope: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(subject.as_bytes());
    context.update(&[0]);
    context.update(envelope);
    context.sign()
}

impl Broker for SignedBroker {
    fn capabilities(&self) -> BrokerCapabilities {
        let inner = self.inner.capabilities();
        BrokerCapabilities { max_payload: inner.max_payload.saturating_sub(TAG), ..inner }
    }

    fn start(&self, sink: Arc<dyn BrokerSink>) {
        let (keys, on_forged) = (Arc::clone(&self.keys), Arc::clone(&self.on_forged));
        self.inner.start(Arc::new(VerifyingSink { sink, keys, on_forged }));
    }

    fn subscribe(&self, subjects: &[Subject]) {
        self.inner.subscribe(subjects);
    }

    fn unsubscribe(&self, subjects: &[Subject]) {
        self.inner.unsubscribe(subjects);
    }

    fn publish(&self, subject: &Subject, envelope: Bytes) -> Result<(), PublishError> {
        // There is a key: the settings were checked.
        let signed = self.keys.sign(subject.as_str(), &envelope).ok_or(PublishError::Down)?;
        self.inner.publish(subject, signed)
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        self.inner.shutdown(deadline)
    }
}

/// Passes on what has a valid tag.
struct VerifyingSink {
    sink: Arc<dyn BrokerSink>,
    keys: Arc<Keys>,
    on_forged: Arc<dyn Fn() + Send + Sync>,
}

impl BrokerSink for VerifyingSink {
    fn message(&self, subject: &str, envelope: Bytes) {
        match self.keys.verify(subject, envelope) {
            Some(envelope) => self.sink.message(subject, envelope),
            None => (self.on_forged)(),
        }
    }

    fn status(&self, status: BrokerStatus) {
        self.sink.status(status);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(keys: &[u8]) -> Keys {
        Keys(keys.iter().map(|byte| hmac::Key::new(HMAC_SHA256, &[*byte; SHORTEST_KEY])).collect())
    }

    #[track_caller]
    fn check(sender: &[u8], receiver: &[u8], is_accepted: bool) {
        let signed = keys(sender).sign("ws.all", b"envelope").unwrap();
        let accepted = keys(receiver).verify("ws.all", signed);
        let expected = is_accepted.then_some(Bytes::from_static(b"envelope"));
        assert_eq!(accepted, expected, "{sender:?} {receiver:?}");
    }

    #[test]
    fn the_first_key_signs_and_any_key_verifies() {
        check(&[1], &[1], true);
        check(&[1], &[2], false);
        // A rotation: all accept the new key, then all send with it, then the old one goes.
        check(&[1, 2], &[1], true);
        check(&[1], &[1, 2], true);
        check(&[2, 1], &[1, 2], true);
        check(&[2], &[1, 2], true);
        check(&[2], &[1], false);
        check(&[2, 1], &[1], false);
    }

    #[test]
    fn what_has_no_tag_or_that_of_another_subject_is_dropped() {
        let keys = keys(&[1]);
        let signed = keys.sign("ws.all", b"envelope").unwrap();
        assert_eq!(keys.verify("ws.n.1", signed.clone()), None);
        for len in 0..signed.len() {
            assert_eq!(keys.verify("ws.all", signed.slice(..len)), None, "{len}");
        }
        for at in 0..signed.len() {
            let mut changed = signed.to_vec();
            changed[at] ^= 1;
            assert_eq!(keys.verify("ws.all", changed.into()), None, "{at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_without_the_key_are_accepted(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(keys(&[1, 2]).verify("ws.all", bytes.into()), None);
        }
    }
}
