//! How do tests run brokers against a real server, and record what arrives?
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod contract;
pub(crate) mod hubs;
pub(crate) mod pointer;
pub(crate) mod proxy;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use ws_events::broker::{Broker, BrokerSink, BrokerStatus, PublishError, Subject};

/// Longer than everything that a test waits for.
pub(crate) const FOREVER: Duration = Duration::from_secs(60);

/// Waits for what must come.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(FOREVER, future).await.expect("it takes too long")
}

/// A server on a port of 127.0.0.1. It is killed on drop.
pub(crate) struct Server {
    program: &'static str,
    arguments: Vec<String>,
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
}

impl Server {
    /// Starts a server on a free port, and waits until it accepts connections. `None` if it is not
    /// installed.
    pub(crate) async fn start(
        program: &'static str,
        arguments: impl Fn(u16, &str) -> Vec<String>,
    ) -> Option<Self> {
        let installed = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        if installed.is_err() {
            skip(&format!("{program} is not installed"));
            return None;
        }
        let port = free_port();
        let folder = new_folder();
        let arguments = arguments(port, folder.to_str().unwrap());
        let child = spawn(program, &arguments);
        let server = Self { program, arguments, child, port, folder };
        server.wait_until_it_listens().await;
        Some(server)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as `SIGKILL` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.program, &self.arguments);
        self.wait_until_it_listens().await;
    }

    async fn wait_until_it_listens(&self) {
        within(async {
            while TcpStream::connect(self.addr()).await.is_err() {
                pause().await;
            }
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(program: &str, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// An empty folder in the target folder of the test.
pub(crate) fn new_folder() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("broker-{}-{number}", std::process::id());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A port of 127.0.0.1 that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Prints that a test is skipped. It is a failure if all peers are required.
pub(crate) fn skip(missing: &str) {
    let is_required = std::env::var_os("WS_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!is_required, "{missing}");
    // Not with `println!`, whose output is captured when a test passes.
    writeln!(std::io::stdout(), "{missing}\n1 interop tests not run").unwrap();
}

/// The time between two looks at something that reports no changes.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await; // tidy: sleep is the subject
}

pub(crate) fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

/// Records what a broker passes on.
#[derive(Default)]
pub(crate) struct Recorder {
    messages: Mutex<Vec<(String, Bytes)>>,
    statuses: Mutex<Vec<BrokerStatus>>,
    changes: watch::Sender<()>,
}

impl BrokerSink for Recorder {
    fn message(&self, subject: &str, envelope: Bytes) {
        self.messages.lock().push((subject.to_owned(), envelope));
        self.changes.send_replace(());
    }

    fn status(&self, status: BrokerStatus) {
        self.statuses.lock().push(status);
        self.changes.send_replace(());
    }
}

impl Recorder {
    pub(crate) fn messages(&self) -> Vec<(String, Bytes)> {
        self.messages.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.messages.lock().len()
    }

    /// The messages as texts.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |(_, envelope): &(String, Bytes)| String::from_utf8_lossy(envelope).into_owned();
        self.messages.lock().iter().map(text).collect()
    }

    /// The statuses, without causes and numbers.
    pub(crate) fn statuses(&self) -> Vec<&'static str> {
        let name = |status: &BrokerStatus| match status {
            BrokerStatus::Up => "up",
            BrokerStatus::Down { .. } => "down",
            BrokerStatus::Lost { .. } => "lost",
        };
        self.statuses.lock().iter().map(name).collect()
    }

    /// The causes of `Down`.
    pub(crate) fn causes(&self) -> Vec<String> {
        let cause = |status: &BrokerStatus| match status {
            BrokerStatus::Down { cause } => Some(cause.clone()),
            BrokerStatus::Up | BrokerStatus::Lost { .. } => None,
        };
        self.statuses.lock().iter().filter_map(cause).collect()
    }

    /// How many envelopes were reported as lost.
    pub(crate) fn lost(&self) -> u64 {
        let lost = |status: &BrokerStatus| match status {
            BrokerStatus::Lost { envelopes } => *envelopes,
            BrokerStatus::Up | BrokerStatus::Down { .. } => 0,
        };
        self.statuses.lock().iter().map(lost).sum()
    }

    /// Waits until a condition holds.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        within(async {
            while !condition(self) {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Waits until a status was reported so often.
    pub(crate) async fn until_status(&self, name: &str, count: usize) {
        self.until(|it| it.statuses().iter().filter(|it| **it == name).count() >= count).await;
    }
}

/// A broker and what it passes on.
pub(crate) struct Node {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) recorder: Arc<Recorder>,
}

impl Node {
    /// Starts a broker.
    pub(crate) fn start(broker: Arc<dyn Broker>, subjects: &[Subject]) -> Self {
        let recorder = Arc::new(Recorder::default());
        broker.start(Arc::clone(&recorder) as _);
        broker.subscribe(subjects);
        Self { broker, recorder }
    }

    /// Starts a broker, and waits until it is up.
    pub(crate) async fn up(broker: Arc<dyn Broker>, subjects: &[Subject]) -> Self {
        let node = Self::start(broker, subjects);
        node.recorder.until_status("up", 1).await;
        // What was subscribed after the start may not be confirmed yet.
        node.settle(subjects).await;
        node
    }

    /// Publishes, and waits while the pipeline is full.
    pub(crate) async fn publish(&self, subject: &Subject, envelope: impl Into<Bytes>) {
        let envelope = envelope.into();
        while let Err(error) = self.broker.publish(subject, envelope.clone()) {
            assert_eq!(error, PublishError::Full);
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the envelopes on all these subjects arrive here.
    pub(crate) async fn settle(&self, subjects: &[Subject]) {
        for subject in subjects {
            within(async {
                let marker = format!("settle {}", subject.as_str());
                while !self.recorder.texts().contains(&marker) {
                    let _ = self.broker.publish(subject, marker.clone().into());
                    pause().await;
                }
            })
            .await;
        }
    }

    /// The numbered envelopes that have arrived on a subject, as (publisher, number).
    pub(crate) fn numbers(&self, subject: &Subject) -> Vec<(usize, usize)> {
        let parse = |(name, envelope): (String, Bytes)| {
            let text = String::from_utf8(envelope.to_vec()).unwrap();
            let (publisher, number) = text.split_once(':')?;
            (name == subject.as_str())
                .then(|| (publisher.parse().unwrap(), number.parse().unwrap()))
        };
        self.recorder.messages().into_iter().filter_map(parse).collect()
    }
}
