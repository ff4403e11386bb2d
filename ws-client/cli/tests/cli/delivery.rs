//! Does the send queue keep its delivery guarantee when the server is killed repeatedly?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{ChildStderr, Stdio};
use std::time::Duration;

use tokio::io::AsyncBufReadExt as _;
use tokio::time::timeout;
use ws_client::reconnect::{Backoff, ReconnectState, SendQueueConfig};
use ws_client::{Dial, Reconnect, ReconnectingConn, StatusCode};

use crate::program::{Program, Server, Watchdog, run, signal, ws};

const MESSAGES: u64 = 10_000;
const KILLS: u64 = 20;

/// A server that prints each message before it reads the next one. A pong confirms that all
/// messages before the ping were printed.
struct Victim {
    address: String,
    child: tokio::process::Child,
    _watchdog: Watchdog,
    printed: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>,
}

impl Victim {
    async fn start(address: &str) -> Self {
        let mut command = tokio::process::Command::from(ws(&["listen", address]));
        command.args(["-q", "--sink", "--print"]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stderr = tokio::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let line = stderr.next_line().await.unwrap().unwrap();
        let address = line.strip_prefix("listening on ws://").unwrap_or_else(|| panic!("{line}"));
        let printed = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let watchdog = Watchdog::over(child.id().unwrap());
        Self { address: address.to_owned(), child, _watchdog: watchdog, printed }
    }

    /// The next printed number; `None` at the end of the output.
    async fn next(&mut self) -> Option<u64> {
        let line = self.printed.next_line().await.unwrap();
        line.map(|number| number.parse().unwrap())
    }
}

/// Returns the messages that each server has read, in order, and the last server, which must still
/// send pongs.
async fn receive_and_kill(mut victim: Victim) -> (Vec<Vec<u64>>, Victim) {
    let mut runs = Vec::new();
    for kill in 1..=KILLS + 1 {
        // The last server is not killed.
        let until = if kill > KILLS { MESSAGES - 1 } else { kill * MESSAGES / (KILLS + 2) };
        let mut run = Vec::new();
        while let Some(number) = victim.next().await {
            run.push(number);
            if number >= until {
                break;
            }
        }
        if kill <= KILLS {
            // SIGKILL: no close frame, no flush.
            victim.child.kill().await.unwrap();
            while let Some(number) = victim.next().await {
                run.push(number);
            }
            victim = Victim::start(&victim.address).await;
        }
        runs.push(run);
    }
    (runs, victim)
}

/// Writes numbers while servers are killed. Returns the received messages and the number of
/// attempts.
async fn deliver(queue: SendQueueConfig) -> (Vec<Vec<u64>>, u64) {
    let victim = Victim::start("127.0.0.1:0").await;
    let dial = Dial::new(format!("ws://{}", victim.address));
    let (first, max) = (Duration::from_millis(20), Duration::from_millis(200));
    // A small capacity, so that writing continues during the whole test.
    let conn = Reconnect::new(dial)
        .backoff(Backoff::new().first(first).max(max))
        .send_queue(queue.capacity(100 * 68))
        .start();
    let receiving = tokio::spawn(receive_and_kill(victim));
    let attempts = tokio::spawn(count_attempts(conn.clone()));
    let reading = tokio::spawn({
        let conn = conn.clone();
        // Pongs are received only while messages are read.
        async move { conn.read().await.unwrap_err() }
    });
    let all = async {
        let may_lose = queue == SendQueueConfig::at_most_once();
        for number in 0.. {
            // The killed servers may lose any number of messages. More are written until the last
            // server has one.
            if number >= MESSAGES && (!may_lose || receiving.is_finished()) {
                break;
            }
            conn.write(number.to_string()).await.unwrap();
        }
        let (runs, mut victim) = receiving.await.unwrap();
        // The server stops reading when nobody reads its output.
        tokio::spawn(async move { while victim.next().await.is_some() {} });
        conn.flush().await.unwrap();
        assert!(conn.undelivered().is_empty());
        runs
    };
    let runs = timeout(Duration::from_secs(100), all).await.unwrap();
    conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
    reading.await.unwrap();
    (runs, attempts.await.unwrap())
}

async fn count_attempts(conn: ReconnectingConn) -> u64 {
    let mut events = conn.events();
    drop(conn);
    let mut attempts = 0;
    while let Some(state) = events.next().await {
        attempts += u64::from(matches!(state, ReconnectState::Connecting { .. }));
    }
    attempts
}

/// In each run, the numbers are consecutive: on one connection, no message is lost or repeated.
fn check_runs(runs: &[Vec<u64>]) {
    assert_eq!(runs.len() as u64, KILLS + 1);
    for run in runs {
        for pair in run.windows(2) {
            assert_eq!(pair[0] + 1, pair[1]);
        }
    }
}

/// At least one attempt for each kill, and at most one every 100 to 200 ms. A loop without a wait
/// would make thousands.
fn check_attempts(attempts: u64) {
    assert!((KILLS..50 * KILLS).contains(&attempts), "{attempts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_least_once_loses_no_message() {
    let (runs, attempts) = deliver(SendQueueConfig::at_least_once()).await;
    check_runs(&runs);
    check_attempts(attempts);
    let mut next = 0;
    for number in runs.iter().flatten() {
        // A run starts at the next number or before it.
        assert!(*number <= next, "{next} is lost, {number} came");
        next = next.max(number + 1);
    }
    assert_eq!(next, MESSAGES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_once_repeats_no_message() {
    let (runs, attempts) = deliver(SendQueueConfig::at_most_once()).await;
    check_runs(&runs);
    check_attempts(attempts);
    let all: Vec<_> = runs.concat();
    assert!(all.is_sorted_by(|one, next| one < next), "something came twice");
    assert_eq!(all.first(), Some(&0));
    assert!(all.last() >= Some(&(MESSAGES - 1)));
}

/// More lines than a pipe buffers, so that some are read before all are written.
fn lines() -> String {
    (0..2000).map(|number| format!("{number:0>100}\n")).collect()
}

/// Starts `ws connect --reconnect`, kills its server, and waits until it has noticed.
fn connect_and_kill_server(args: &[&str]) -> (String, Program, BufReader<ChildStderr>) {
    let mut server = Server::start(&["-q"]);
    let mut child = Program::start(&[&["connect", "--reconnect", &server.url], args].concat());
    let mut said = BufReader::new(child.stderr.take().unwrap());
    hear(&mut said, "connected (");
    server.child.kill().unwrap();
    hear(&mut said, "; next attempt in ");
    (server.address().to_owned(), child, said)
}

fn hear(said: &mut BufReader<ChildStderr>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "no {text}");
    }
}

fn check_unconfirmed(mut child: Program, mut said: BufReader<ChildStderr>) {
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(rest.contains(" messages were not confirmed"), "{rest}");
}

#[test]
fn a_pipe_waits_for_all_confirmations() {
    let (address, mut child, _said) = connect_and_kill_server(&[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines().as_bytes()).unwrap();
    drop(stdin);
    let _server = Server::start_at(&address, &["-q"]);
    let mut echoed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut echoed).unwrap();
    assert!(echoed == lines());
    assert!(child.wait().unwrap().success());
}

#[test]
fn unconfirmed_messages_are_reported() {
    // Interrupted while it waits for the next attempt.
    let (_, mut child, said) = connect_and_kill_server(&[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines().as_bytes()).unwrap();
    drop(stdin);
    signal("INT", child.id());
    check_unconfirmed(child, said);
    // After the last attempt.
    let (_, mut child, said) = connect_and_kill_server(&["--max-attempts", "3"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines().as_bytes()).unwrap();
    drop(stdin);
    check_unconfirmed(child, said);
    // Confirmed messages are not reported.
    let server = Server::start(&["-q"]);
    let connect = |args: &[&str]| run(&[&["connect", "-r", &server.url], args].concat(), b"");
    connect(&["-n", "1", "-m", "hello"]).check(0, "hello\n", "");
    connect(&["-m", "hello"]).check(0, "hello\n", "");
}

#[test]
fn an_invalid_line_ends_the_connection_behind_the_lines_before_it() {
    let problem = "line 2 of the input is not UTF-8 (--binary sends bytes)";
    // The server is there: it has the line, and its close frame is the normal one.
    for reconnect in [&[][..], &["--reconnect"]] {
        let server = Server::start(&["--print"]);
        let ran = run(&[&["connect", &server.url], reconnect].concat(), b"a\n\xff\nb\n");
        assert_eq!(ran.code, 1, "{reconnect:?} {ran:?}");
        assert!(ran.err.contains(problem), "{reconnect:?} {ran:?}");
        assert!(!ran.err.contains("not confirmed"), "{reconnect:?} {ran:?}");
        let said = server.interrupt();
        let end = "closed with 1000 normal closure, after 1 messages";
        assert!(said.contains(end), "{reconnect:?} {said}");
    }
    // It has gone, so nothing confirms the line.
    let (_, mut child, mut said) = connect_and_kill_server(&[]);
    child.stdin.take().unwrap().write_all(b"a\n\xff\n").unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(rest.contains(&format!("{problem}; 1 message was not confirmed\n")), "{rest}");
}
