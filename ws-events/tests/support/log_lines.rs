//! How do tests get the events of a log as lines?

use std::fmt::Debug;

use tracing::span::{Attributes, Id as SpanId, Record};
use tracing::{Event as LogEvent, Metadata, Subscriber};

/// Passes each event that is `enabled` to `write`, as a line: its level and its fields.
pub(crate) struct LogLines<W> {
    pub(crate) enabled: fn(&Metadata<'_>) -> bool,
    pub(crate) write: W,
}

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl<W: Fn(String) + 'static> Subscriber for LogLines<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (self.enabled)(metadata)
    }

    fn event(&self, event: &LogEvent<'_>) {
        let mut fields = Fields(event.metadata().level().to_string());
        event.record(&mut fields);
        (self.write)(fields.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> SpanId {
        SpanId::from_u64(1)
    }

    fn record(&self, _: &SpanId, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &SpanId, _: &SpanId) {}
    fn enter(&self, _: &SpanId) {}
    fn exit(&self, _: &SpanId) {}
}
