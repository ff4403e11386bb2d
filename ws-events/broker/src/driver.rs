//! What does the task of a broker do, from its start to its shutdown?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::stream::{FuturesOrdered, StreamExt as _};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use ws_events::broker::{BrokerSink, BrokerStatus, PublishError};

use crate::backoff::Backoff;
use crate::config::DriverConfig;
use crate::pipeline::{Batch, BatchSize, Pipeline};
use crate::session::{BoxFuture, Connector, Inbox, PublishFailure, Session, SessionError};
use crate::subscriptions::Subscriptions;

/// Connects to the server of a broker, and keeps it connected. The module documentation has its
/// states.
///
/// Its methods are those of [`Broker`](ws_events::broker::Broker), with the same contract. No lock
/// is held while it waits for the network. On drop, the task ends at once.
#[derive(Debug)]
pub struct BrokerDriver<C: Connector> {
    connector: Arc<C>,
    shared: Arc<Shared<NameOf<C>>>,
    /// The task, once it has started.
    task: Mutex<Option<AbortHandle>>,
}

/// What a connector subscribes to and publishes on.
type NameOf<C> = <<C as Connector>::Session as Session>::Name;

/// What the task and the handle share.
#[derive(Debug)]
struct Shared<N> {
    config: DriverConfig,
    pipeline: Mutex<Pipeline<N>>,
    subscriptions: Mutex<Subscriptions<N>>,
    /// Notified after a change of the pipeline, the subscriptions or the phase.
    changed: Notify,
    phase: watch::Sender<Phase>,
}

/// How far the life of a driver has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    /// What is queued is flushed until then.
    Stopping(Instant),
    Ended,
}

/// Why a session ended.
#[derive(Debug)]
enum SessionEnd {
    Failed(SessionError),
    /// By a shutdown.
    Stopped,
}

impl<C: Connector> BrokerDriver<C> {
    /// A driver that does nothing until it is started.
    #[must_use]
    pub fn new(connector: C, config: DriverConfig) -> Self {
        let shared = Shared {
            pipeline: Mutex::new(Pipeline::new(&config)),
            subscriptions: Mutex::default(),
            changed: Notify::new(),
            phase: watch::Sender::new(Phase::New),
            config,
        };
        Self { connector: Arc::new(connector), shared: Arc::new(shared), task: Mutex::default() }
    }

    /// The longest envelope, in bytes. A server may accept less.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.shared.config.max_payload.min(self.shared.config.max_bytes)
    }

    /// Starts the task. A second call does nothing. Without a tokio runtime, the status stays
    /// `Down`.
    pub fn start(&self, sink: Arc<dyn BrokerSink>) {
        let mut task = self.task.lock();
        if task.is_some() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            sink.status(BrokerStatus::Down { cause: "start needs a tokio runtime".to_owned() });
            return;
        };
        let is_new = self.shared.phase.send_if_modified(|phase| {
            let is_new = *phase == Phase::New;
            if is_new {
                *phase = Phase::Running;
            }
            is_new
        });
        if is_new {
            let (connector, shared) = (Arc::clone(&self.connector), Arc::clone(&self.shared));
            *task = Some(runtime.spawn(run(connector, shared, sink)).abort_handle());
        }
    }

    /// Records subjects. Those that are recorded already change nothing.
    pub fn subscribe(&self, subjects: &[NameOf<C>]) {
        self.shared.subscriptions.lock().subscribe(subjects);
        self.shared.changed.notify_one();
    }

    /// Removes subjects.
    pub fn unsubscribe(&self, subjects: &[NameOf<C>]) {
        self.shared.subscriptions.lock().unsubscribe(subjects);
        self.shared.changed.notify_one();
    }

    /// Queues an envelope.
    ///
    /// # Errors
    ///
    /// `TooLarge`, `Down` until the session is up, or `Full`.
    pub fn publish(&self, subject: &NameOf<C>, envelope: Bytes) -> Result<(), PublishError> {
        self.shared.pipeline.lock().publish(subject, envelope)?;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Refuses envelopes, sends what is queued, and ends the task. What was not confirmed at the
    /// deadline is counted in the status `Lost`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown goes on.
    pub fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        let mut pipeline = self.shared.pipeline.lock();
        pipeline.refuse();
        self.shared.phase.send_modify(|phase| match phase {
            Phase::New => *phase = Phase::Ended,
            Phase::Running => *phase = Phase::Stopping(deadline),
            Phase::Stopping(until) => *until = deadline.min(*until),
            Phase::Ended => {}
        });
        drop(pipeline);
        self.shared.changed.notify_one();
        let mut phase = self.shared.phase.subscribe();
        Box::pin(async move {
            // The sender lives as long as this handle.
            let _ = phase.wait_for(|phase| *phase == Phase::Ended).await;
        })
    }
}

impl<N: Clone> Shared<N> {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Accepts envelopes, unless a shutdown has begun.
    fn accept(&self, max_payload: usize) {
        // `shutdown` changes the phase under this lock.
        let mut pipeline = self.pipeline.lock();
        if self.phase() == Phase::Running {
            pipeline.up(max_payload);
        }
    }

    fn take_batch(&self) -> Option<Batch<N>> {
        self.pipeline.lock().take_batch()
    }
}

impl<C: Connector> Drop for BrokerDriver<C> {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

/// The task: sessions, and the delays between them.
async fn run<C: Connector>(
    connector: Arc<C>,
    shared: Arc<Shared<NameOf<C>>>,
    sink: Arc<dyn BrokerSink>,
) {
    let mut backoff = Backoff::new(shared.config.max_backoff);
    let mut is_down_reported = false;
    let _guard = EndGuard(&shared);
    let mut phase = shared.phase.subscribe();
    loop {
        let inbox = Inbox::new(Arc::clone(&sink));
        let stop = phase.wait_for(|phase| *phase != Phase::Running);
        let connected = tokio::select! {
            _ = stop => break,
            connected = connect(&*connector, &shared, inbox.clone()) => connected,
        };
        let end = match connected {
            Err(error) => SessionEnd::Failed(error),
            Ok(session) => {
                let since = Instant::now();
                is_down_reported = false;
                let end = run_session(session, &shared, &*sink).await;
                // A server that ends each session at once gets longer and longer delays.
                if since.elapsed() > shared.config.max_backoff {
                    backoff.reset();
                }
                end
            }
        };
        inbox.close();
        let lost = shared.pipeline.lock().down();
        shared.subscriptions.lock().disconnected();
        let is_stopped = matches!(end, SessionEnd::Stopped);
        if let SessionEnd::Failed(error) = end
            && !is_down_reported
        {
            is_down_reported = true;
            sink.status(BrokerStatus::Down { cause: error.cause().to_owned() });
        }
        if lost > 0 {
            sink.status(BrokerStatus::Lost { envelopes: lost as u64 });
        }
        if is_stopped {
            break;
        }
        tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
            () = sleep(backoff.next()) => {}
        }
    }
}

/// Ends the phases with the task, even if the task panics or is aborted, so that a shutdown never
/// waits for it.
struct EndGuard<'a, N: Clone>(&'a Shared<N>);

impl<N: Clone> Drop for EndGuard<'_, N> {
    fn drop(&mut self) {
        self.0.pipeline.lock().refuse();
        self.0.phase.send_replace(Phase::Ended);
    }
}

/// Connects, and subscribes what is recorded.
async fn connect<C: Connector>(
    connector: &C,
    shared: &Shared<NameOf<C>>,
    inbox: Inbox,
) -> Result<C::Session, SessionError> {
    let connecting = timeout(shared.config.connect_timeout, connector.connect(inbox));
    let session = connecting.await.map_err(|_| timed_out("the connection"))??;
    let all = shared.subscriptions.lock().restart();
    for batch in all.chunks(MAX_CHANGES) {
        confirmed(shared, session.change(batch.to_vec())).await?;
    }
    // What was recorded meanwhile. Later changes are confirmed while the broker is up: it may never
    // happen that there are none.
    let changes = shared.subscriptions.lock().take_changes(MAX_CHANGES);
    if !changes.is_empty() {
        confirmed(shared, session.change(changes)).await?;
    }
    Ok(session)
}

/// Waits for the server.
async fn confirmed<T, N>(
    shared: &Shared<N>,
    request: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, SessionError> {
    timeout(shared.config.request_timeout, request).await.map_err(|_| timed_out("a request"))?
}

fn timed_out(what: &str) -> SessionError {
    SessionError::new(format!("{what} timed out"))
}

/// Serves a session until it fails, or until all is sent after a shutdown.
async fn run_session<S: Session>(
    session: S,
    shared: &Shared<S::Name>,
    sink: &dyn BrokerSink,
) -> SessionEnd {
    let config = &shared.config;
    shared.accept(session.max_payload());
    sink.status(BrokerStatus::Up);

    let mut closed = session.closed();
    let mut on_their_way = FuturesOrdered::new();
    let mut change: Option<BoxFuture<'static, Result<(), SessionError>>> = None;
    let mut ping: Option<BoxFuture<'static, Result<(), SessionError>>> = None;
    let mut next_ping = Instant::now() + config.ping_interval;
    loop {
        while on_their_way.len() < MAX_BATCHES
            && let Some(batch) = shared.take_batch()
        {
            let sent =
                publish(session.publish(batch.envelopes), batch.size, config.request_timeout);
            on_their_way.push_back(sent);
        }
        if change.is_none() {
            let changes = shared.subscriptions.lock().take_changes(MAX_CHANGES);
            change = (!changes.is_empty()).then(|| session.change(changes));
            change = change.map(|change| within(config.request_timeout, change));
        }
        let deadline = match shared.phase() {
            Phase::Stopping(_) if shared.pipeline.lock().is_empty() => return SessionEnd::Stopped,
            Phase::Stopping(deadline) => Some(deadline),
            Phase::New | Phase::Running | Phase::Ended => None,
        };
        let outcome = tokio::select! {
            error = &mut closed => Err(error),
            Some(sent) = on_their_way.next(), if !on_their_way.is_empty() => match sent {
                Ok(size) => {
                    shared.pipeline.lock().confirmed(size);
                    Ok(())
                }
                Err(PublishFailure { confirmed, error }) => {
                    shared.pipeline.lock().confirmed(BatchSize { envelopes: confirmed, bytes: 0 });
                    Err(error)
                }
            },
            changed = wait(&mut change) => {
                change = None;
                changed
            }
            answered = wait(&mut ping) => {
                ping = None;
                answered
            }
            () = sleep_until(next_ping), if ping.is_none() => {
                next_ping = Instant::now() + config.ping_interval;
                ping = Some(within(config.request_timeout, session.ping()));
                Ok(())
            }
            () = at(deadline) => return SessionEnd::Stopped,
            () = shared.changed.notified() => Ok(()),
        };
        if let Err(error) = outcome {
            // Some may have been confirmed at the same time, which the budget of the task must not hide.
            while let Some(Some(Ok(size))) = unconstrained(on_their_way.next()).now_or_never() {
                shared.pipeline.lock().confirmed(size);
            }
            return SessionEnd::Failed(error);
        }
    }
}

/// Waits until the server has confirmed a batch.
async fn publish(
    sent: BoxFuture<'static, Result<(), PublishFailure>>,
    size: BatchSize,
    limit: Duration,
) -> Result<BatchSize, PublishFailure> {
    match timeout(limit, sent).await {
        Ok(outcome) => outcome.map(|()| size),
        Err(_) => Err(PublishFailure { confirmed: 0, error: timed_out("a batch of envelopes") }),
    }
}

fn within(
    limit: Duration,
    request: BoxFuture<'static, Result<(), SessionError>>,
) -> BoxFuture<'static, Result<(), SessionError>> {
    Box::pin(async move { timeout(limit, request).await.map_err(|_| timed_out("a request"))? })
}

/// Waits for a request. Without one, it never ends.
async fn wait(
    request: &mut Option<BoxFuture<'static, Result<(), SessionError>>>,
) -> Result<(), SessionError> {
    match request {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}

/// Waits until a deadline. Without one, it never ends.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The most subscriptions and unsubscriptions of a request.
const MAX_CHANGES: usize = 512;

/// The most batches that are on their way.
const MAX_BATCHES: usize = 32;
