//! How does `ws connect` use one connection, or one that reconnects?

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::timeout;
use ws_client::reconnect::{ConnectionFailure, ReconnectError, ReconnectState, SendQueueConfig};
use ws_client::{Conn, Message, Reconnect, ReconnectingConn, StatusCode};

use super::args::ConnectArgs;
use super::screen::Screen;
use crate::connect_options::{describe, explain, printed_url};
use crate::exit_code::describe_end;
use crate::print::time;

/// How long a pong is waited for before closing.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// How long `/ping` waits for the pong, and with `--reconnect` for a connection.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Connection {
    url: String,
    /// The connection; with `--reconnect`, the first one.
    conn: Conn,
    /// With `--reconnect`.
    reconnecting: Option<ReconnectingConn>,
}

impl Connection {
    pub(super) async fn open(args: &ConnectArgs, screen: &Screen) -> Result<Self> {
        let url = args.url.clone();
        let dial = args.options.dial(&url)?;
        if !args.reconnect {
            let conn = dial.connect().await.map_err(|error| explain(&error, &url))?;
            print_response(args, &conn, screen);
            return Ok(Self { url, conn, reconnecting: None });
        }
        let mut reconnect = Reconnect::new(dial).send_queue(SendQueueConfig::at_least_once());
        if let Some(attempts) = args.max_attempts {
            reconnect = reconnect.max_attempts(attempts);
        }
        let reconnecting = reconnect.start();
        let mut events = reconnecting.events();
        while let Some(state) = events.next().await {
            match state {
                ReconnectState::Connected => break,
                ReconnectState::Ended(error) => return Err(anyhow!(describe_error(&error, &url))),
                other => report(&other, &url, screen),
            }
        }
        let conn = reconnecting.connected().await;
        let conn = conn.map_err(|error| anyhow!(describe_error(&error, &url)))?;
        print_response(args, &conn, screen);
        Ok(Self { url, conn, reconnecting: Some(reconnecting) })
    }

    /// The address and what was negotiated.
    pub(super) fn describe(&self) -> String {
        let mut negotiated = vec![match self.conn.peer_addr() {
            Some(address) => address.to_string(),
            None => printed_url(&self.url),
        }];
        negotiated.extend(self.conn.subprotocol().map(|name| format!("subprotocol {name}")));
        negotiated.extend(self.conn.is_compressed().then(|| "compressed".to_owned()));
        negotiated.join(", ")
    }

    /// Prints when the connection is lost, and when it is open again.
    pub(super) fn report_states(&self, screen: Arc<Screen>) {
        let Some(reconnecting) = &self.reconnecting else { return };
        let (mut events, url) = (reconnecting.events(), self.url.clone());
        tokio::spawn(async move {
            // The first state was printed by `open`.
            let _ = events.next().await;
            while let Some(state) = events.next().await {
                report(&state, &url, &screen);
            }
        });
    }

    /// The next message; `None` after the last one.
    pub(super) async fn read(&self) -> Option<Message> {
        match &self.reconnecting {
            None => self.conn.read().await.ok(),
            Some(reconnecting) => reconnecting.read().await.ok(),
        }
    }

    /// Sends a message. `end` reports an error.
    pub(super) async fn write(&self, message: Message) {
        match &self.reconnecting {
            None => drop(self.conn.write(message).await),
            Some(reconnecting) => drop(reconnecting.write(message).await),
        }
    }

    /// Pings, and describes the result.
    pub(super) async fn ping(&self) -> String {
        let ping = async {
            let conn = match &self.reconnecting {
                None => Ok(self.conn.clone()),
                Some(reconnecting) => reconnecting.connected().await,
            };
            match conn {
                Err(error) => describe(&error),
                Ok(conn) => match conn.ping().await {
                    Ok(rtt) => format!("pong after {}", time(rtt)),
                    Err(error) => format!("no pong: {}", describe(&error)),
                },
            }
        };
        let late = |_| format!("no pong within {}", time(PONG_TIMEOUT));
        timeout(PONG_TIMEOUT, ping).await.unwrap_or_else(late)
    }

    /// Waits until the server has received everything. Its replies before the pong have arrived
    /// then, too. A single connection waits for `CONFIRM_TIMEOUT`, a reconnecting one without a
    /// limit.
    pub(super) async fn settle(&self) {
        if self.reconnecting.is_some() {
            return self.confirm().await;
        }
        let settled = async {
            let _ = self.conn.flush().await;
            let _ = self.conn.ping().await;
        };
        let _ = timeout(CONFIRM_TIMEOUT, settled).await;
    }

    /// Waits until the server has confirmed all messages of a reconnecting connection.
    pub(super) async fn confirm(&self) {
        if let Some(reconnecting) = &self.reconnecting {
            // `end` reports an error.
            let _ = reconnecting.flush().await;
        }
    }

    pub(super) async fn close(&self, code: StatusCode, reason: &str) {
        // `end` reports an error.
        let _ = match &self.reconnecting {
            None => self.conn.close(code, reason).await,
            Some(reconnecting) => reconnecting.close(code, reason).await,
        };
    }

    /// Waits for the end, and returns it as text and exit code.
    pub(super) async fn end(&self) -> (String, ExitCode) {
        let Some(reconnecting) = &self.reconnecting else {
            return describe_end(&self.conn.closed().await);
        };
        let (text, code) = match reconnecting.state() {
            ReconnectState::Ended(ReconnectError::GaveUp(ConnectionFailure::Ended(ending))) => {
                describe_end(&ending)
            }
            ReconnectState::Ended(ReconnectError::Closed) => {
                ("closed".to_owned(), ExitCode::SUCCESS)
            }
            ReconnectState::Ended(error) => (describe_error(&error, &self.url), ExitCode::FAILURE),
            _ => ("the connection is still open".to_owned(), ExitCode::FAILURE),
        };
        match self.unconfirmed() {
            None => (text, code),
            Some(unconfirmed) => (format!("{text}; {unconfirmed}"), ExitCode::FAILURE),
        }
    }

    /// How many messages of a reconnecting connection were not confirmed, as text; `None` if all
    /// were.
    pub(super) fn unconfirmed(&self) -> Option<String> {
        match self.reconnecting.as_ref()?.undelivered().len() {
            0 => None,
            1 => Some("1 message was not confirmed".to_owned()),
            many => Some(format!("{many} messages were not confirmed")),
        }
    }
}

/// Prints the response to the opening handshake, with `--verbose`.
fn print_response(args: &ConnectArgs, conn: &Conn, screen: &Screen) {
    if let Some(response) = conn.response().filter(|_| args.verbose) {
        screen.response(&response);
    }
}

/// Prints a state of a reconnecting connection.
fn report(state: &ReconnectState, url: &str, screen: &Screen) {
    match state {
        ReconnectState::Waiting { failure, wait, .. } => {
            let (why, wait) = (describe_failure(failure, url), wait.as_secs_f64());
            screen.note(&format!("{why}; next attempt in {wait:.1} s"));
        }
        ReconnectState::Connected => screen.note("reconnected"),
        // The wait announces the next attempt, and `end` reports the end.
        _ => {}
    }
}

fn describe_error(error: &ReconnectError, url: &str) -> String {
    match error {
        ReconnectError::GaveUp(failure) => describe_failure(failure, url),
        other => describe(other),
    }
}

fn describe_failure(failure: &ConnectionFailure, url: &str) -> String {
    match failure {
        ConnectionFailure::Dial(error) => format!("{:#}", explain(error, url)),
        ConnectionFailure::Ended(ending) => describe_end(ending).0,
        other => describe(other),
    }
}
