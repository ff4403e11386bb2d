//! How are envelopes published and received on connections to Redis?

use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{join_all, try_join_all};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushInfo, PushKind, ServerError, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::task::coop::unconstrained;
use ws_events_broker::{
    BoxFuture, Change, Inbox, PublishFailure, QueuedEnvelope, Session, SessionError,
};

use crate::name::{RedisName, ServerState};
use crate::topology::Topology;

/// Gets the receipt of a message, and the number of subscribers that have got it.
pub(crate) type OnReceipt = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Connections to a server, or to all masters of a cluster.
pub(crate) struct RedisSession<N> {
    links: Vec<Link>,
    /// `None` for a single server.
    topology: Option<Topology>,
    receiver: Receiver,
    _tasks: Tasks,
    on_receipt: Option<OnReceipt>,
    name: PhantomData<fn() -> N>,
}

/// The connections to a server.
pub(crate) struct Link {
    pub(crate) publisher: MultiplexedConnection,
    pub(crate) subscriber: MultiplexedConnection,
    pub(crate) server: Arc<ServerState>,
}

impl<N: RedisName> RedisSession<N> {
    pub(crate) fn new(
        links: Vec<Link>,
        topology: Option<Topology>,
        receiver: Receiver,
        tasks: Tasks,
        on_receipt: Option<OnReceipt>,
    ) -> Self {
        Self { links, topology, receiver, _tasks: tasks, on_receipt, name: PhantomData }
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

impl<N: RedisName> Session for RedisSession<N> {
    type Name = N;

    fn max_payload(&self) -> usize {
        // `proto-max-bulk-len` is 512 MiB unless it was changed. The driver has a lower bound.
        usize::MAX
    }

    fn change(&self, changes: Vec<Change<N>>) -> BoxFuture<'static, Result<(), SessionError>> {
        let is_sharded = self.is_sharded();
        self.receiver.note(&changes);
        let parts = self.divide(changes, |change| change.subject().channel());
        let requests = parts.into_iter().map(|(link, changes)| {
            // One command for each channel: each is answered once, and a cluster refuses several
            // slots.
            let mut pipeline = Pipeline::with_capacity(changes.len());
            for change in &changes {
                let command = match (change, change.subject().is_pattern(), is_sharded) {
                    (Change::Subscribe(_), true, _) => "PSUBSCRIBE",
                    (Change::Subscribe(_), false, false) => "SUBSCRIBE",
                    (Change::Subscribe(_), false, true) => "SSUBSCRIBE",
                    (Change::Unsubscribe(_), true, _) => "PUNSUBSCRIBE",
                    (Change::Unsubscribe(_), false, false) => "UNSUBSCRIBE",
                    (Change::Unsubscribe(_), false, true) => "SUNSUBSCRIBE",
                };
                pipeline.cmd(command).arg(change.subject().channel());
            }
            let request =
                send(link.subscriber.clone(), pipeline, changes.len(), &self.receiver.ended);
            request.map(|done| done.map(drop).map_err(|failure| failure.error))
        });
        let requests: Vec<_> = requests.collect();
        try_join_all(requests).map(|done| done.map(|_| ())).boxed()
    }

    fn publish(
        &self,
        batch: Vec<QueuedEnvelope<N>>,
    ) -> BoxFuture<'static, Result<(), PublishFailure>> {
        let command = if self.is_sharded() { "SPUBLISH" } else { "PUBLISH" };
        let parts = self.divide(batch, |queued| queued.subject.channel());
        let requests = parts.into_iter().map(|(link, batch)| {
            let len = batch.len();
            let mut pipeline = Pipeline::with_capacity(len);
            let mut receipts = Vec::new();
            for (at, QueuedEnvelope { subject, envelope }) in batch.into_iter().enumerate() {
                subject.publish(&mut pipeline, command, &link.server, &envelope);
                receipts.extend(subject.receipt().map(|receipt| (at, receipt)));
            }
            let request = send(link.publisher.clone(), pipeline, len, &self.receiver.ended);
            let on_receipt = self.on_receipt.clone();
            request.map(move |done| match done {
                Ok(answers) => {
                    if let Some(on_receipt) = on_receipt {
                        for (at, receipt) in receipts {
                            // The answer to `PUBLISH` is the number of subscribers.
                            if let Some(Value::Int(count)) = answers.get(at) {
                                on_receipt(receipt, u64::try_from(*count).unwrap_or(0));
                            }
                        }
                    }
                    (len, None)
                }
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
            send(connection, pipeline, 1, &self.receiver.ended)
                .map(|done| done.map(drop).map_err(|failure| failure.error))
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

/// Sends a pipeline, and waits for its answers, none of which is an error. It is on its way when this returns, so that
/// requests keep their order: the buffer of a connection has room for all requests of a driver.
fn send(
    mut connection: MultiplexedConnection,
    pipeline: Pipeline,
    len: usize,
    ended: &Ended,
) -> BoxFuture<'static, Result<Vec<Value>, PublishFailure>> {
    let ended = ended.clone();
    let mut request = async move {
        let answers = connection.send_packed_commands(&pipeline, 0, len).await;
        let answers = answers
            .map_err(|error| PublishFailure { confirmed: 0, error: SessionError::new(error) })?;
        let mut refused = answers.iter().filter_map(|answer| match answer {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        let Some(error) = refused.next() else { return Ok(answers) };
        ended.end_if_stale(error);
        let error = SessionError::new(error);
        let confirmed = len.saturating_sub(1 + refused.count());
        Err(PublishFailure { confirmed, error })
    }
    .boxed();
    // Not by the budget of the task: without budget left, the request would wait, and a later one of
    // a task with a new budget would overtake it.
    match unconstrained(request.as_mut()).now_or_never() {
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
    fn note<N: RedisName>(&self, changes: &[Change<N>]) {
        let mut unsubscribed = self.unsubscribed.lock();
        for change in changes {
            if let Change::Unsubscribe(subject) = change {
                unsubscribed.insert(subject.channel().as_bytes().to_vec());
            }
        }
    }

    /// Handles what Redis sends without a request. Called by the task of a connection.
    pub(crate) fn push(&self, PushInfo { kind, data }: PushInfo) {
        let mut data = data.into_iter();
        if kind == PushKind::PMessage {
            // The pattern.
            data.next();
        }
        match (kind, data.next(), data.next()) {
            (
                PushKind::Message | PushKind::PMessage | PushKind::SMessage,
                Some(Value::BulkString(subject)),
                Some(Value::BulkString(envelope)),
            ) => {
                // A name of ours is UTF-8.
                if let Ok(subject) = std::str::from_utf8(&subject) {
                    self.inbox.message(subject, Bytes::from(envelope));
                }
            }
            // A cluster ends a subscription when the slot moves to another master.
            (
                PushKind::Unsubscribe | PushKind::PUnsubscribe | PushKind::SUnsubscribe,
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
    /// Ends the session if its server would refuse all such requests, and another session would be
    /// served: the server has become a replica, has given the slot to another master, or has lost the
    /// scripts. It does not close its connections.
    pub(crate) fn end_if_stale(&self, refused: &ServerError) {
        // Before Redis 7, the error of a script has the code of its cause in its text.
        let is_of_script = || refused.details().is_some_and(|text| text.contains("-READONLY "));
        if matches!(refused.code(), "READONLY" | "MOVED" | "NOSCRIPT") || is_of_script() {
            self.end(SessionError::new(refused));
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.borrow().is_some()
    }

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

#[cfg(test)]
mod tests {
    use futures::future::join;
    use redis::{AsyncConnectionConfig, RedisConnectionInfo};
    use tokio::io::{AsyncReadExt as _, duplex};
    use tokio::task::{consume_budget, coop, yield_now};

    use super::*;

    /// Without this, a batch of envelopes overtakes another, and the receivers report the other as
    /// lost.
    #[tokio::test]
    async fn requests_keep_their_order_when_the_task_has_no_budget_left() {
        let (near, mut server) = duplex(1024);
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_pipeline_buffer_size(8);
        let opened = MultiplexedConnection::new_with_config(&settings, near, config).await;
        let (connection, task) = opened.unwrap();
        tokio::spawn(task);
        let request = |word: &str| {
            let mut pipeline = Pipeline::new();
            pipeline.cmd("PUBLISH").arg("a").arg(word);
            send(connection.clone(), pipeline, 1, &Ended::default())
        };

        while coop::has_budget_remaining() {
            consume_budget().await;
        }
        let first = request("first");
        yield_now().await;
        let second = request("second");
        let requests = tokio::spawn(join(second, first));

        let mut sent = String::new();
        while !sent.contains("first") || !sent.contains("second") {
            let mut buffer = [0; 1024];
            let count = server.read(&mut buffer).await.unwrap();
            sent.push_str(str::from_utf8(&buffer[..count]).unwrap());
        }
        requests.abort();
        assert!(sent.find("first") < sent.find("second"), "{sent}");
    }
}
