//! How are envelopes published and received on connections to Redis?

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{join_all, try_join_all};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushInfo, PushKind, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use ws_events_broker::{
    BoxFuture, Change, Inbox, PublishFailure, QueuedEnvelope, Session, SessionError,
};

use crate::topology::Topology;

/// Connections to a server, or to all masters of a cluster.
pub(crate) struct RedisSession {
    links: Vec<Link>,
    /// `None` for a single server.
    topology: Option<Topology>,
    receiver: Receiver,
    _tasks: Tasks,
}

/// The connections to a server.
pub(crate) struct Link {
    pub(crate) publisher: MultiplexedConnection,
    pub(crate) subscriber: MultiplexedConnection,
}

impl RedisSession {
    pub(crate) fn new(
        links: Vec<Link>,
        topology: Option<Topology>,
        receiver: Receiver,
        tasks: Tasks,
    ) -> Self {
        Self { links, topology, receiver, _tasks: tasks }
    }

    /// Divides requests among the links, and keeps their order.
    fn divide<T>(&self, requests: Vec<T>, subject: impl Fn(&T) -> &str) -> Vec<(&Link, Vec<T>)> {
        let mut parts: Vec<_> = self.links.iter().map(|link| (link, Vec::new())).collect();
        for request in requests {
            let index = self.topology.as_ref().map_or(0, |it| it.master(subject(&request)));
            if let Some((_, part)) = parts.get_mut(index) {
                part.push(request);
            }
        }
        parts.retain(|(_, part)| !part.is_empty());
        parts
    }

    const fn is_sharded(&self) -> bool {
        self.topology.is_some()
    }
}

impl Session for RedisSession {
    fn max_payload(&self) -> usize {
        // `proto-max-bulk-len` is 512 MiB unless it was changed. The driver has a lower bound.
        usize::MAX
    }

    fn change(&self, changes: Vec<Change>) -> BoxFuture<'static, Result<(), SessionError>> {
        let (subscribe, unsubscribe) = match self.is_sharded() {
            false => ("SUBSCRIBE", "UNSUBSCRIBE"),
            true => ("SSUBSCRIBE", "SUNSUBSCRIBE"),
        };
        self.receiver.note(&changes);
        let parts = self.divide(changes, |change| change.subject().as_str());
        let requests = parts.into_iter().map(|(link, changes)| {
            // One command for each channel: each is answered once, and a cluster refuses several
            // slots.
            let mut pipeline = Pipeline::with_capacity(changes.len());
            for change in &changes {
                let command = match change {
                    Change::Subscribe(_) => subscribe,
                    Change::Unsubscribe(_) => unsubscribe,
                };
                pipeline.cmd(command).arg(change.subject().as_str());
            }
            let request = send(link.subscriber.clone(), pipeline, changes.len());
            request.map(|done| done.map_err(|failure| failure.error))
        });
        let requests: Vec<_> = requests.collect();
        try_join_all(requests).map(|done| done.map(|_| ())).boxed()
    }

    fn publish(
        &self,
        batch: Vec<QueuedEnvelope>,
    ) -> BoxFuture<'static, Result<(), PublishFailure>> {
        let command = if self.is_sharded() { "SPUBLISH" } else { "PUBLISH" };
        let parts = self.divide(batch, |queued| queued.subject.as_str());
        let requests = parts.into_iter().map(|(link, batch)| {
            let len = batch.len();
            let mut pipeline = Pipeline::with_capacity(len);
            for QueuedEnvelope { subject, envelope } in batch {
                pipeline.cmd(command).arg(subject.as_str()).arg(&envelope[..]);
            }
            let request = send(link.publisher.clone(), pipeline, len);
            request.map(move |done| match done {
                Ok(()) => (len, None),
                Err(failure) => (failure.confirmed, Some(failure.error)),
            })
        });
        let requests: Vec<_> = requests.collect();
        let all = join_all(requests).map(|outcomes| {
            let confirmed = outcomes.iter().map(|(confirmed, _)| confirmed).sum();
            match outcomes.into_iter().find_map(|(_, error)| error) {
                Some(error) => Err(PublishFailure { confirmed, error }),
                None => Ok(()),
            }
        });
        all.boxed()
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), SessionError>> {
        let connections =
            self.links.iter().flat_map(|it| [it.publisher.clone(), it.subscriber.clone()]);
        let pings = connections.map(|connection| {
            let mut pipeline = Pipeline::new();
            pipeline.cmd("PING");
            send(connection, pipeline, 1).map(|done| done.map_err(|failure| failure.error))
        });
        try_join_all(pings).map(|done| done.map(|_| ())).boxed()
    }

    fn closed(&self) -> BoxFuture<'static, SessionError> {
        let mut cause = self.receiver.ended.0.subscribe();
        async move {
            let cause = cause.wait_for(Option::is_some).await;
            cause.ok().and_then(|cause| cause.clone()).unwrap_or_else(closed)
        }
        .boxed()
    }
}

/// Sends a pipeline, and waits for its answers. It is on its way when this returns, so that
/// requests keep their order: the buffer of a connection has room for all requests of a driver.
fn send(
    mut connection: MultiplexedConnection,
    pipeline: Pipeline,
    len: usize,
) -> BoxFuture<'static, Result<(), PublishFailure>> {
    let mut request = async move {
        let answers = connection.send_packed_commands(&pipeline, 0, len).await;
        let answers = answers
            .map_err(|error| PublishFailure { confirmed: 0, error: SessionError::new(error) })?;
        let mut refused = answers.iter().filter_map(|answer| match answer {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        let Some(error) = refused.next() else { return Ok(()) };
        let confirmed = len.saturating_sub(1 + refused.count());
        Err(PublishFailure { confirmed, error: SessionError::new(error) })
    }
    .boxed();
    match request.as_mut().now_or_never() {
        Some(done) => std::future::ready(done).boxed(),
        None => request,
    }
}

/// What happens to the messages that arrive.
#[derive(Clone)]
pub(crate) struct Receiver {
    inbox: Inbox,
    pub(crate) ended: Ended,
    /// The subjects that this process unsubscribes: Redis confirms each once.
    unsubscribed: Arc<Mutex<HashSet<Vec<u8>>>>,
}

impl Receiver {
    pub(crate) fn new(inbox: Inbox) -> Self {
        Self { inbox, ended: Ended::default(), unsubscribed: Arc::default() }
    }

    /// Notes what is sent to Redis.
    fn note(&self, changes: &[Change]) {
        let mut unsubscribed = self.unsubscribed.lock();
        for change in changes {
            if let Change::Unsubscribe(subject) = change {
                unsubscribed.insert(subject.as_str().as_bytes().to_vec());
            }
        }
    }

    /// Handles what Redis sends without a request. Called by the task of a connection.
    pub(crate) fn push(&self, PushInfo { kind, data }: PushInfo) {
        let mut data = data.into_iter();
        match (kind, data.next(), data.next()) {
            (
                PushKind::Message | PushKind::SMessage,
                Some(Value::BulkString(subject)),
                Some(Value::BulkString(envelope)),
            ) => {
                // A subject of ours is ASCII.
                if let Ok(subject) = std::str::from_utf8(&subject) {
                    self.inbox.message(subject, Bytes::from(envelope));
                }
            }
            // A cluster ends a subscription when the slot moves to another master.
            (
                PushKind::Unsubscribe | PushKind::SUnsubscribe,
                Some(Value::BulkString(subject)),
                _,
            ) if !self.unsubscribed.lock().remove(&subject) => {
                self.ended.end(SessionError::new("Redis ended a subscription: the slot has moved"));
            }
            _ => {}
        }
    }
}

/// Why a session has ended, as soon as it has.
#[derive(Clone, Default)]
pub(crate) struct Ended(watch::Sender<Option<SessionError>>);

impl Ended {
    /// Ends the session. The first cause is kept.
    fn end(&self, error: SessionError) {
        self.0.send_if_modified(|cause| {
            let is_first = cause.is_none();
            cause.get_or_insert(error);
            is_first
        });
    }
}

/// The tasks of the connections of a session. They are aborted on drop.
#[derive(Default)]
pub(crate) struct Tasks(Mutex<Vec<AbortHandle>>);

impl Tasks {
    /// Runs the task of a connection. When it ends, the session does.
    pub(crate) fn spawn(&self, ended: Ended, task: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(async move {
            task.await;
            ended.end(closed());
        });
        self.0.lock().push(task.abort_handle());
    }
}

fn closed() -> SessionError {
    SessionError::new("Redis closed the connection")
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.get_mut().iter().for_each(AbortHandle::abort);
    }
}
