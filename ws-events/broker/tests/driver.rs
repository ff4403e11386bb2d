//! Does the driver keep its contract with a server that answers late, never, or with failures?
//!
//! The server is a value of the test, and time is paused.
#![cfg(test)]

mod support;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use support::{Recorder, subject};
use tokio::sync::Notify;
use tokio::time::Instant;
use ws_events::broker::{PublishError, Subject};
use ws_events_broker::{
    BoxFuture, BrokerDriver, Change, Connector, DriverConfig, Inbox, PublishFailure,
    QueuedEnvelope, Session, SessionError,
};

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Never,
}

/// A server, and what it was asked.
#[derive(Default)]
struct Script {
    connects: Mutex<VecDeque<Answer>>,
    changes: Mutex<VecDeque<Answer>>,
    publishes: Mutex<VecDeque<Answer>>,
    pings: Mutex<VecDeque<Answer>>,
    log: Mutex<Vec<String>>,
    hang_up: Notify,
    inboxes: Mutex<Vec<Inbox>>,
}

impl Script {
    /// The next answer of a queue, which is yes when the queue is empty.
    fn answer(answers: &Mutex<VecDeque<Answer>>) -> BoxFuture<'static, Result<(), SessionError>> {
        let answer = answers.lock().pop_front().unwrap_or(Answer::Yes);
        Box::pin(async move {
            match answer {
                Answer::Yes => Ok(()),
                Answer::No => Err(SessionError::new("no")),
                Answer::Never => std::future::pending().await,
            }
        })
    }

    fn note(&self, line: String) {
        self.log.lock().push(line);
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock())
    }
}

struct TestConnector(Arc<Script>);
struct TestSession(Arc<Script>);

impl Connector for TestConnector {
    type Session = TestSession;

    async fn connect(&self, inbox: Inbox) -> Result<TestSession, SessionError> {
        self.0.note("connect".to_owned());
        self.0.inboxes.lock().push(inbox);
        Script::answer(&self.0.connects).await?;
        Ok(TestSession(Arc::clone(&self.0)))
    }
}

impl Session for TestSession {
    type Name = Subject;

    fn max_payload(&self) -> usize {
        100
    }

    fn change(&self, changes: Vec<Change>) -> BoxFuture<'static, Result<(), SessionError>> {
        let mut names: Vec<_> = changes
            .iter()
            .map(|change| match change {
                Change::Subscribe(subject) => format!("+{subject}"),
                Change::Unsubscribe(subject) => format!("-{subject}"),
            })
            .collect();
        names.sort();
        self.0.note(names.join(" "));
        Script::answer(&self.0.changes)
    }

    fn publish(
        &self,
        batch: Vec<QueuedEnvelope>,
    ) -> BoxFuture<'static, Result<(), PublishFailure>> {
        self.0.note(format!("publish {}", batch.len()));
        let answer = Script::answer(&self.0.publishes);
        // Of a batch that fails, half has arrived.
        let confirmed = batch.len() / 2;
        Box::pin(async move { answer.await.map_err(|error| PublishFailure { confirmed, error }) })
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), SessionError>> {
        self.0.note("ping".to_owned());
        Script::answer(&self.0.pings)
    }

    fn closed(&self) -> BoxFuture<'static, SessionError> {
        let script = Arc::clone(&self.0);
        Box::pin(async move {
            script.hang_up.notified().await;
            SessionError::new("hung up")
        })
    }
}

type Driver = BrokerDriver<TestConnector>;

fn start(config: DriverConfig) -> (Driver, Arc<Script>, Arc<Recorder>) {
    let (script, recorder) = (Arc::new(Script::default()), Arc::new(Recorder::default()));
    let driver = BrokerDriver::new(TestConnector(Arc::clone(&script)), config);
    driver.start(Arc::clone(&recorder) as _);
    (driver, script, recorder)
}

async fn start_up(config: DriverConfig) -> (Driver, Arc<Script>, Arc<Recorder>) {
    let (driver, script, recorder) = start(config);
    recorder.until_status("up", 1).await;
    script.log();
    (driver, script, recorder)
}

fn publish(driver: &Driver, count: usize) {
    (0..count).for_each(|_| driver.publish(&subject("a"), "x".into()).unwrap());
}

/// Lets the task run until it waits.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn up_is_reported_after_all_subscriptions_are_confirmed() {
    let (driver, script, recorder) = start(DriverConfig::new());
    driver.subscribe(&[subject("a"), subject("b")]);
    script.changes.lock().extend([Answer::No, Answer::Never]);
    assert_eq!(driver.publish(&subject("a"), "x".into()), Err(PublishError::Down));
    recorder.until_status("up", 1).await;
    let attempt = ["connect", "+a +b"];
    assert_eq!(script.log(), attempt.repeat(3));
    // One outage is reported once.
    assert_eq!(recorder.statuses(), ["down", "up"]);
    assert_eq!(recorder.causes(), ["no"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_in_bounded_time() {
    let config = DriverConfig::new();
    let (_driver, script, recorder) = start(config.clone());
    script.connects.lock().push_back(Answer::Never);
    let started = Instant::now();
    recorder.until_status("up", 1).await;
    assert!(started.elapsed() < Duration::from_millis(3100));

    // A black hole is noticed by a ping, in less than ten seconds.
    let (_driver, script, recorder) = start_up(config).await;
    script.pings.lock().extend([Answer::Yes, Answer::Never]);
    let started = Instant::now();
    recorder.until_status("down", 1).await;
    assert!(started.elapsed() <= Duration::from_secs(10));
    assert_eq!(recorder.causes(), ["a request timed out"]);
    assert_eq!(script.log(), ["ping", "ping"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_and_not_confirmed_is_counted() {
    let (driver, script, recorder) = start_up(DriverConfig::new()).await;
    script.publishes.lock().extend([Answer::Yes, Answer::No, Answer::Never]);
    publish(&driver, 200);
    recorder.until_status("up", 2).await;
    assert_eq!(script.log(), ["publish 64", "publish 64", "publish 64", "publish 8", "connect"]);
    assert_eq!(recorder.statuses(), ["up", "down", "lost", "up"]);
    // The first batch and half of the second have arrived.
    assert_eq!(recorder.lost(), 200 - 64 - 32);
    // Nothing is left of them.
    publish(&driver, 1);
    settle().await;
    assert_eq!(script.log(), ["publish 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_is_connected_again_within_a_second() {
    let (driver, script, recorder) = start_up(DriverConfig::new()).await;
    driver.subscribe(&[subject("a")]);
    driver.unsubscribe(&[subject("a")]);
    driver.subscribe(&[subject("b")]);
    settle().await;
    assert_eq!(script.log(), ["+a", "+b -a"]);
    // It is not reachable for a while.
    script.connects.lock().extend([Answer::No; 20]);
    script.hang_up.notify_one();
    while !script.connects.lock().is_empty() {
        settle().await;
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    let reachable = Instant::now();
    recorder.until_status("up", 2).await;
    assert!(reachable.elapsed() <= Duration::from_secs(1));
    assert_eq!(script.log().last().map(String::as_str), Some("+b"));
    assert_eq!(recorder.statuses(), ["up", "down", "up"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_an_old_session_is_dropped() {
    let (_driver, script, recorder) = start_up(DriverConfig::new()).await;
    let old = script.inboxes.lock().remove(0);
    old.message("a", "1".into());
    script.hang_up.notify_one();
    recorder.until_status("up", 2).await;
    old.message("a", "2".into());
    script.inboxes.lock()[0].message("a", "3".into());
    assert_eq!(recorder.texts(), ["1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn an_envelope_that_the_server_refuses_is_refused_before() {
    let (driver, _, _) = start_up(DriverConfig::new()).await;
    assert_eq!(driver.publish(&subject("a"), vec![0; 100].into()), Ok(()));
    assert_eq!(driver.publish(&subject("a"), vec![0; 101].into()), Err(PublishError::TooLarge));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_confirmations_until_its_deadline() {
    let (driver, script, recorder) = start_up(DriverConfig::new()).await;
    script.publishes.lock().extend([Answer::Yes, Answer::Never]);
    publish(&driver, 100);
    let started = Instant::now();
    driver.shutdown(started + Duration::from_secs(1)).await;
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    assert_eq!((recorder.statuses(), recorder.lost()), (vec!["up", "lost"], 36));
    assert_eq!(driver.publish(&subject("a"), "x".into()), Err(PublishError::Down));
    // Without a connection, and before the start, there is nothing to wait for.
    let far = Instant::now() + Duration::from_secs(1000);
    driver.shutdown(far).await;
    let (driver, script, _) = start(DriverConfig::new());
    script.connects.lock().push_back(Answer::Never);
    driver.shutdown(far).await;
    let driver = BrokerDriver::new(TestConnector(Arc::default()), DriverConfig::new());
    driver.shutdown(far).await;
    driver.start(Arc::new(Recorder::default()));
    driver.shutdown(far).await;
    assert!(Instant::now() < started + Duration::from_secs(2));
}

#[test]
fn without_a_runtime_it_is_down() {
    let recorder = Arc::new(Recorder::default());
    let driver = BrokerDriver::new(TestConnector(Arc::default()), DriverConfig::new());
    driver.start(Arc::clone(&recorder) as _);
    assert_eq!(recorder.causes(), ["start needs a tokio runtime"]);
}
