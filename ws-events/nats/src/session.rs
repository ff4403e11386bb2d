//! How are envelopes published and received on a connection to NATS?

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures::future::FutureExt as _;
use futures::stream::{SelectAll, Stream, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::coop::unconstrained;
use tokio::task::{AbortHandle, yield_now};
use ws_events::broker::Subject;
use ws_events_broker::{
    BoxFuture, Change, Inbox, PublishFailure, QueuedEnvelope, Session, SessionError,
};

/// A connection to a server.
pub(crate) struct NatsSession {
    client: Client,
    requests: mpsc::UnboundedSender<Request>,
    /// Set by the reader, after it has passed on what arrived before the end.
    ended: watch::Receiver<Option<SessionError>>,
    tasks: [AbortHandle; 2],
}

/// What the writer does, and whom it tells when the server has got it. The driver bounds their
/// number.
enum Request {
    Change(Vec<Change>, oneshot::Sender<()>),
    Publish(Vec<QueuedEnvelope>, oneshot::Sender<()>),
    Ping(oneshot::Sender<()>),
}

impl NatsSession {
    /// Starts the tasks of a connection. The session ends with its first failure.
    pub(crate) async fn start(
        client: Client,
        inbox: Inbox,
        failure: watch::Sender<Option<SessionError>>,
    ) -> Result<Self, SessionError> {
        let markers = client.new_inbox();
        let marked = client.subscribe(markers.clone()).await.map_err(SessionError::new)?;
        let round_trips = Arc::new(RoundTrips::default());
        let (requests, to_do) = mpsc::unbounded_channel();
        let (subscribers, new_streams) = mpsc::unbounded_channel();
        let reader = Reader {
            inbox,
            marked,
            new_streams,
            envelopes: SelectAll::new(),
            round_trips: Arc::clone(&round_trips),
            failure: failure.subscribe(),
        };
        let writer = Writer {
            client: client.clone(),
            markers,
            round_trips,
            subscribers,
            subscriptions: HashMap::new(),
        };
        let (end, ended) = watch::channel(None);
        let reading = tokio::spawn(async move {
            let cause = reader.run().await;
            end.send_replace(Some(cause));
        });
        let writing = tokio::spawn(async move {
            let error = writer.run(to_do).await;
            fail(&failure, error.unwrap_or_else(closed));
        });
        let tasks = [reading.abort_handle(), writing.abort_handle()];
        Ok(Self { client, requests, ended, tasks })
    }

    fn request(
        &self,
        request: impl FnOnce(oneshot::Sender<()>) -> Request,
    ) -> BoxFuture<'static, Result<(), SessionError>> {
        let (done, confirmed) = oneshot::channel();
        // If the writer has ended, `done` is dropped.
        drop(self.requests.send(request(done)));
        let mut ended = self.ended.clone();
        async move {
            tokio::select! {
                biased;
                Ok(()) = confirmed => Ok(()),
                // By then, the reader has passed on what arrived: the driver drops the session.
                cause = set(&mut ended) => Err(cause),
            }
        }
        .boxed()
    }
}

impl Session for NatsSession {
    type Name = Subject;

    fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    fn change(&self, changes: Vec<Change>) -> BoxFuture<'static, Result<(), SessionError>> {
        self.request(|done| Request::Change(changes, done))
    }

    fn publish(
        &self,
        batch: Vec<QueuedEnvelope>,
    ) -> BoxFuture<'static, Result<(), PublishFailure>> {
        let published = self.request(|done| Request::Publish(batch, done));
        published.map(|it| it.map_err(|error| PublishFailure { confirmed: 0, error })).boxed()
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), SessionError>> {
        self.request(Request::Ping)
    }

    fn closed(&self) -> BoxFuture<'static, SessionError> {
        let mut ended = self.ended.clone();
        async move { set(&mut ended).await }.boxed()
    }
}

impl Drop for NatsSession {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Records why a session fails. The first cause is kept.
pub(crate) fn fail(failure: &watch::Sender<Option<SessionError>>, error: SessionError) {
    failure.send_if_modified(|cause| {
        let is_first = cause.is_none();
        cause.get_or_insert(error);
        is_first
    });
}

/// Waits until a cause is set.
async fn set(cause: &mut watch::Receiver<Option<SessionError>>) -> SessionError {
    let cause = cause.wait_for(Option::is_some).await;
    cause.ok().and_then(|cause| cause.clone()).unwrap_or_else(closed)
}

fn closed() -> SessionError {
    SessionError::new("the connection to NATS has ended")
}

/// Markers that are on their way to the server and back, oldest first. The server handles the
/// requests of a connection in their order, so a marker that has come back confirms all before it.
#[derive(Default)]
struct RoundTrips(Mutex<Markers>);

#[derive(Default)]
struct Markers {
    /// The number of the latest.
    latest: u64,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl RoundTrips {
    /// Makes a marker.
    fn begin(&self, done: oneshot::Sender<()>) -> Bytes {
        let mut markers = self.0.lock();
        markers.latest += 1;
        let number = markers.latest;
        markers.waiting.push_back((number, done));
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    /// A marker has come back.
    fn end(&self, marker: &[u8]) {
        let Ok(number) = marker.try_into().map(u64::from_be_bytes) else { return };
        let mut markers = self.0.lock();
        let confirmed = markers.waiting.iter().take_while(|(marker, _)| *marker <= number).count();
        for (_, done) in markers.waiting.drain(..confirmed) {
            // Nobody waits for it after a timeout.
            let _ = done.send(());
        }
    }
}

/// Sends requests in their order.
struct Writer {
    client: Client,
    /// The subject of the markers.
    markers: String,
    round_trips: Arc<RoundTrips>,
    subscribers: mpsc::UnboundedSender<Envelopes>,
    /// The messages of a subscription end when its sender sends.
    subscriptions: HashMap<Subject, oneshot::Sender<()>>,
}

/// The messages of a subscription, until it ends.
type Envelopes = Pin<Box<dyn Stream<Item = Message> + Send>>;

impl Writer {
    /// Returns why it ended. It ends when the session is dropped.
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) -> Option<SessionError> {
        while let Some(request) = requests.recv().await {
            if let Err(error) = self.handle(request).await {
                return Some(error);
            }
        }
        None
    }

    async fn handle(&mut self, request: Request) -> Result<(), SessionError> {
        let done = match request {
            Request::Ping(done) => done,
            Request::Publish(batch, done) => {
                for QueuedEnvelope { subject, envelope } in batch {
                    let published = self.client.publish(subject.as_str().to_owned(), envelope);
                    published.await.map_err(SessionError::new)?;
                }
                done
            }
            Request::Change(changes, done) => {
                for change in changes {
                    match change {
                        Change::Subscribe(subject) => self.subscribe(subject).await?,
                        Change::Unsubscribe(subject) => {
                            end_subscription(self.subscriptions.remove(&subject));
                        }
                    }
                }
                done
            }
        };
        let marker = self.round_trips.begin(done);
        self.client.publish(self.markers.clone(), marker).await.map_err(SessionError::new)
    }

    async fn subscribe(&mut self, subject: Subject) -> Result<(), SessionError> {
        let subscriber = self.client.subscribe(subject.as_str().to_owned());
        let subscriber = subscriber.await.map_err(SessionError::new)?;
        let (subscription, ended) = oneshot::channel::<()>();
        // If the writer ends, the reader still passes on what has arrived.
        let ended = async {
            if ended.await.is_err() {
                pending::<()>().await;
            }
        };
        // On its end, the subscriber is dropped, and unsubscribes.
        let envelopes = subscriber.take_until(ended).boxed();
        end_subscription(self.subscriptions.insert(subject, subscription));
        self.subscribers.send(envelopes).map_err(|_| closed())
    }
}

fn end_subscription(subscription: Option<oneshot::Sender<()>>) {
    if let Some(subscription) = subscription {
        // The reader may have ended.
        let _ = subscription.send(());
    }
}

/// Passes on what arrives.
struct Reader {
    inbox: Inbox,
    marked: Subscriber,
    new_streams: mpsc::UnboundedReceiver<Envelopes>,
    /// Those of all subscriptions.
    envelopes: SelectAll<Envelopes>,
    round_trips: Arc<RoundTrips>,
    failure: watch::Receiver<Option<SessionError>>,
}

impl Reader {
    /// Returns why the session ends, after it has passed on what arrived before.
    async fn run(mut self) -> SessionError {
        let cause = self.read().await;
        self.end_round_trips(None).await;
        cause
    }

    async fn read(&mut self) -> SessionError {
        // A writer that ends sets `failure`.
        loop {
            tokio::select! {
                Some(message) = self.envelopes.next(), if !self.envelopes.is_empty() => {
                    self.inbox.message(message.subject.as_str(), message.payload);
                }
                marker = self.marked.next() => match marker {
                    Some(marker) => self.end_round_trips(Some(marker)).await,
                    None => return closed(),
                },
                Some(stream) = self.new_streams.recv() => self.envelopes.push(stream),
                cause = set(&mut self.failure) => return cause,
            }
        }
    }

    /// Ends the round trips of this marker, and of those that have arrived behind it.
    ///
    /// Subscriptions have queues of their own. What the server sent before a marker is in them, and would
    /// be lost if the session ended after the confirmation.
    async fn end_round_trips(&mut self, marker: Option<Message>) {
        let mut next = || unconstrained(self.marked.next()).now_or_never();
        let latest = iter::from_fn(|| next().flatten()).last().or(marker);
        self.pass_on_arrived().await;
        if let Some(latest) = latest {
            self.round_trips.end(&latest.payload);
        }
    }

    /// Passes on what the queues of the subscriptions hold now.
    async fn pass_on_arrived(&mut self) {
        while let Ok(stream) = self.new_streams.try_recv() {
            self.envelopes.push(stream);
        }
        let mut counts = HashMap::<String, usize>::new();
        for passed_on in 1_usize.. {
            // The budget of the task must not hide a message.
            let next = unconstrained(self.envelopes.next()).now_or_never();
            let Some(Some(message)) = next else { return };
            self.inbox.message(message.subject.as_str(), message.payload);
            if passed_on % TURN == 0 {
                yield_now().await;
            }
            if passed_on > MESSAGES {
                let count = counts.entry(message.subject.to_string()).or_default();
                *count += 1;
                // The streams take turns: each has passed on what its queue held at first.
                if *count > MESSAGES {
                    return;
                }
            }
        }
    }
}

/// Messages that wait for the reader, for each subscription. `async-nats` drops more.
pub(crate) const MESSAGES: usize = 8192;

/// Messages that the reader passes on before others run.
const TURN: usize = 128;
