//! How are the connections to a server or to the masters of a cluster made?

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{try_join, try_join_all};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, PushInfo, Value};
use ws_events_broker::{Connector, Inbox, SessionError};

use crate::config::{Endpoint, InvalidRedisUrl, RedisConfig};
use crate::name::{RedisName, ServerState};
use crate::reader::{ReaderSlot, Readers};
use crate::session::{Ended, Link, OnReceipt, Receiver, RedisSession, Tasks};
use crate::stream;
use crate::topology::Topology;

/// Connects to the servers of a configuration, one after the other.
pub(crate) struct RedisConnector<N> {
    config: RedisConfig,
    endpoints: Vec<Endpoint>,
    /// The number of attempts.
    attempts: AtomicUsize,
    on_receipt: Option<OnReceipt>,
    /// If requests besides the pipeline are wanted.
    readers: Option<Arc<ReaderSlot>>,
    name: PhantomData<fn() -> N>,
}

impl<N> RedisConnector<N> {
    pub(crate) fn new(config: RedisConfig) -> Result<Self, InvalidRedisUrl> {
        let (endpoints, attempts) = (config.endpoints()?, AtomicUsize::new(0));
        Ok(Self { endpoints, attempts, config, on_receipt: None, readers: None, name: PhantomData })
    }

    /// Puts a connection for requests to each server into this slot, for each session.
    pub(crate) fn readers(mut self, slot: &Arc<ReaderSlot>) -> Self {
        self.readers = Some(Arc::clone(slot));
        self
    }

    /// Calls `on_receipt` with each receipt, and the number of subscribers that have got the message.
    pub(crate) fn on_receipt(
        mut self,
        on_receipt: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Self {
        self.on_receipt = Some(Arc::new(on_receipt));
        self
    }

    /// The endpoint of the next attempt.
    fn next_endpoint(&self) -> Option<&Endpoint> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        self.endpoints.get(attempt % self.endpoints.len().max(1))
    }

    /// Opens and authenticates a connection. Its task is one of `tasks`.
    async fn open(
        &self,
        endpoint: &Endpoint,
        tasks: &Tasks,
        ended: &Ended,
        receiver: Option<&Receiver>,
    ) -> Result<MultiplexedConnection, SessionError> {
        let stream = stream::open(&endpoint.address, &self.config).await?;
        // The driver has timeouts of its own.
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        if let Some(receiver) = receiver {
            let receiver = receiver.clone();
            config = config.set_push_sender(move |push: PushInfo| {
                receiver.push(push);
                Ok::<(), ()>(())
            });
        }
        let opened = MultiplexedConnection::new_with_config(&endpoint.settings, stream, config);
        let (connection, task) = opened.await.map_err(SessionError::new)?;
        tasks.spawn(ended.clone(), task);
        Ok(connection)
    }

    /// Makes both connections to a server.
    async fn link(
        &self,
        endpoint: &Endpoint,
        tasks: &Tasks,
        receiver: &Receiver,
        scripts: &[&str],
    ) -> Result<Link, SessionError> {
        let publisher = self.open(endpoint, tasks, &receiver.ended, None);
        let subscriber = self.open(endpoint, tasks, &receiver.ended, Some(receiver));
        let (publisher, subscriber) = try_join(publisher, subscriber).await?;
        if self.readers.is_none() {
            // A broker only publishes, and asks nothing.
            return Ok(Link { publisher, subscriber, server: Arc::default() });
        }
        let server = Arc::new(prepare(publisher.clone(), scripts).await?);
        check_server(subscriber.clone(), &server).await?;
        Ok(Link { publisher, subscriber, server })
    }

    /// Opens a connection for requests to the server of each link.
    async fn open_readers(
        &self,
        endpoints: &[Endpoint],
        links: &[Link],
        topology: Option<Topology>,
        tasks: &Tasks,
        ended: &Ended,
    ) -> Result<(), SessionError> {
        let Some(slot) = &self.readers else { return Ok(()) };
        let opened = endpoints.iter().zip(links).map(async |(endpoint, link)| {
            let connection = self.open(endpoint, tasks, ended, None).await?;
            check_server(connection.clone(), &link.server).await?;
            Ok((connection, Arc::clone(&link.server)))
        });
        let servers = try_join_all(opened).await?;
        slot.set(Readers { servers, topology, ended: ended.clone() });
        Ok(())
    }

    /// Asks a server of a cluster for the masters.
    async fn discover(&self, seed: &Endpoint) -> Result<Topology, SessionError> {
        let tasks = Tasks::default();
        let mut connection = self.open(seed, &tasks, &Ended::default(), None).await?;
        let mut command = redis::cmd("CLUSTER");
        let slots = connection.send_packed_command(command.arg("SLOTS")).await;
        match slots.map_err(SessionError::new)? {
            Value::ServerError(error) => Err(SessionError::new(error)),
            slots => Topology::parse(&slots)
                .ok_or_else(|| SessionError::new("the cluster has slots without a master")),
        }
    }
}

impl<N: RedisName> Connector for RedisConnector<N> {
    type Session = RedisSession<N>;

    async fn connect(&self, inbox: Inbox) -> Result<RedisSession<N>, SessionError> {
        let endpoint = self.next_endpoint().ok_or_else(|| SessionError::new("there is no URL"))?;
        let (receiver, tasks) = (Receiver::new(inbox), Tasks::default());
        if !self.config.is_sharded {
            let links = vec![self.link(endpoint, &tasks, &receiver, N::SCRIPTS).await?];
            let endpoints = std::slice::from_ref(endpoint);
            self.open_readers(endpoints, &links, None, &tasks, &receiver.ended).await?;
            let on_receipt = self.on_receipt.clone();
            return Ok(RedisSession::new(links, None, receiver, tasks, on_receipt));
        }
        let topology = self.discover(endpoint).await?;
        let masters =
            topology.masters.iter().map(|(host, port)| endpoint.with_address(host, *port));
        let masters: Vec<_> = masters.collect();
        let links = masters.iter().map(|master| self.link(master, &tasks, &receiver, N::SCRIPTS));
        let links = try_join_all(links).await?;
        let known = Some(topology.clone());
        self.open_readers(&masters, &links, known, &tasks, &receiver.ended).await?;
        Ok(RedisSession::new(links, Some(topology), receiver, tasks, self.on_receipt.clone()))
    }
}

/// Loads scripts, and asks a server which run of it this is.
///
/// A replica is refused: it carries out nothing that writes, and nobody would learn when it becomes
/// the master.
async fn prepare(
    mut connection: MultiplexedConnection,
    scripts: &[&str],
) -> Result<ServerState, SessionError> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("INFO").arg("server");
    pipeline.cmd("INFO").arg("replication");
    for script in scripts {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(*script);
    }
    let answers = connection.send_packed_commands(&pipeline, 0, 2 + scripts.len()).await;
    let texts = answers.map_err(SessionError::new)?.into_iter().map(text);
    let mut texts = texts.collect::<Result<Vec<_>, _>>()?.into_iter();
    let info = texts.next().unwrap_or_default();
    if texts.next().is_some_and(|info| info.lines().any(|line| line.trim() == "role:slave")) {
        return Err(SessionError::new("the server is a replica"));
    }
    Ok(ServerState { run_id: run_id(&info)?.to_owned(), scripts: texts.collect() })
}

/// Refuses a connection that has reached another server: a name may move to it between two connections.
async fn check_server(
    mut connection: MultiplexedConnection,
    server: &ServerState,
) -> Result<(), SessionError> {
    let info = connection.send_packed_command(redis::cmd("INFO").arg("server")).await;
    if run_id(&text(info.map_err(SessionError::new)?)?)? != server.run_id {
        return Err(SessionError::new("the connections have reached two servers"));
    }
    Ok(())
}

fn text(answer: Value) -> Result<String, SessionError> {
    match answer {
        Value::ServerError(error) => Err(SessionError::new(error)),
        answer => redis::from_redis_value(answer).map_err(SessionError::new),
    }
}

/// The run of a server, in its answer to `INFO`.
fn run_id(info: &str) -> Result<&str, SessionError> {
    let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    run_id.map(str::trim).ok_or_else(|| SessionError::new("the server has no `run_id`"))
}

/// Without endpoints, since they contain passwords.
impl<N> fmt::Debug for RedisConnector<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnector").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Requests that a connection takes without waiting: the batches of a driver, and a few more.
const PIPELINE_BUFFER: usize = 64;
