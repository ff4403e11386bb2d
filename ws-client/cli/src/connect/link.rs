//! What is at the other end: one connection, or one that is made again?

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::time::timeout;
use ws_client::reconnect::{Loss, Outbox, ReconnectError, State};
use ws_client::{Conn, Message, Reconnect, ReconnectingConn, StatusCode};

use super::screen::Screen;
use super::{Args, MOMENT};
use crate::exit;
use crate::print::time;
use crate::reach::explain;

#[derive(Clone)]
pub(super) struct Link {
    url: String,
    end: End,
}

#[derive(Clone)]
enum End {
    Once(Conn),
    Kept(ReconnectingConn, Conn),
}

impl Link {
    pub(super) async fn open(args: &Args, screen: &Screen) -> Result<Self> {
        let url = args.url.clone();
        let dial = args.reach.dial(&url)?;
        if !args.reconnect {
            let conn = dial.connect().await.map_err(|error| explain(&error, &url))?;
            tell_response(args, &conn, screen);
            return Ok(Self { url, end: End::Once(conn) });
        }
        let mut reconnect = Reconnect::new(dial).outbox(Outbox::at_least_once());
        if let Some(attempts) = args.max_attempts {
            reconnect = reconnect.max_attempts(attempts);
        }
        let kept = reconnect.start();
        let mut events = kept.events();
        while let Some(state) = events.next().await {
            match state {
                State::Connected => break,
                State::Ended(why) => return Err(anyhow!(given_up(&why, &url))),
                other => tell(&other, &url, screen),
            }
        }
        let conn = kept.connected().await.map_err(|why| anyhow!(given_up(&why, &url)))?;
        tell_response(args, &conn, screen);
        Ok(Self { url, end: End::Kept(kept, conn) })
    }

    /// What was agreed on.
    pub(super) fn describe(&self) -> String {
        let (End::Once(conn) | End::Kept(_, conn)) = &self.end;
        let mut agreed = vec![match conn.peer_addr() {
            Some(address) => address.to_string(),
            None => crate::reach::complete(&self.url),
        }];
        agreed.extend(conn.subprotocol().map(|name| format!("subprotocol {name}")));
        if conn.is_compressed() {
            agreed.push("compressed".to_owned());
        }
        agreed.join(", ")
    }

    /// Tells when the connection is lost, and when there is one again.
    pub(super) fn tell_states(&self, screen: Arc<Screen>) {
        let End::Kept(kept, _) = &self.end else { return };
        let (mut events, url) = (kept.events(), self.url.clone());
        tokio::spawn(async move {
            // What there was from the beginning was told.
            let _ = events.next().await;
            while let Some(state) = events.next().await {
                tell(&state, &url, &screen);
            }
        });
    }

    /// The next message; `None` when there will be none.
    pub(super) async fn read(&self) -> Option<Message> {
        match &self.end {
            End::Once(conn) => conn.read().await.ok(),
            End::Kept(kept, _) => kept.read().await.ok(),
        }
    }

    /// Sends a message. When it cannot be sent, reading says why.
    pub(super) async fn write(&self, message: Message) {
        match &self.end {
            End::Once(conn) => drop(conn.write(message).await),
            End::Kept(kept, _) => drop(kept.write(message).await),
        }
    }

    /// How long a ping takes.
    pub(super) async fn ping(&self) -> String {
        let conn = match &self.end {
            End::Once(conn) => conn.clone(),
            End::Kept(kept, _) => match kept.connected().await {
                Ok(conn) => conn,
                Err(error) => return exit::chain(&error),
            },
        };
        match conn.ping().await {
            Ok(rtt) => format!("pong after {}", time(rtt)),
            Err(error) => format!("no pong: {}", exit::chain(&error)),
        }
    }

    /// Waits until the server has read everything, and this side what it said before that:
    /// answers that are on their way are here before the pong is. A moment, for a connection
    /// that there is only once; as long as it takes, for one that is made again.
    pub(super) async fn settle(&self) {
        match &self.end {
            End::Once(conn) => {
                let settled = async {
                    let _ = conn.flush().await;
                    let _ = conn.ping().await;
                };
                let _ = timeout(MOMENT, settled).await;
            }
            End::Kept(..) => self.confirm().await,
        }
    }

    /// Waits until the server is known to have what was promised to be delivered.
    pub(super) async fn confirm(&self) {
        if let End::Kept(kept, _) = &self.end {
            // When it fails, `ended` tells.
            let _ = kept.flush().await;
        }
    }

    pub(super) async fn close(&self, code: StatusCode, reason: &str) {
        // How it ended is told by `ended`.
        match &self.end {
            End::Once(conn) => drop(conn.close(code, reason).await),
            End::Kept(kept, _) => drop(kept.close(code, reason).await),
        }
    }

    /// How it ended.
    pub(super) async fn ended(&self) -> (String, ExitCode) {
        let kept = match &self.end {
            End::Once(conn) => return exit::of(&conn.closed().await),
            End::Kept(kept, _) => kept,
        };
        let (text, code) = match kept.state() {
            State::Ended(ReconnectError::GaveUp(Loss::Ended(ending))) => exit::of(&ending),
            State::Ended(ReconnectError::Closed) => ("closed".to_owned(), ExitCode::SUCCESS),
            State::Ended(why) => (given_up(&why, &self.url), ExitCode::FAILURE),
            _ => ("the connection is still open".to_owned(), ExitCode::FAILURE),
        };
        match kept.undelivered().len() {
            0 => (text, code),
            1 => (format!("{text}; 1 message was not confirmed"), ExitCode::FAILURE),
            many => (format!("{text}; {many} messages were not confirmed"), ExitCode::FAILURE),
        }
    }
}

/// The answer to the opening handshake, for those who want to see it.
fn tell_response(args: &Args, conn: &Conn, screen: &Screen) {
    if let Some(response) = conn.response().filter(|_| args.verbose) {
        screen.response(&response);
    }
}

fn tell(state: &State, url: &str, screen: &Screen) {
    match state {
        State::Waiting { loss, wait, .. } => {
            screen.note(&format!("{}; again in {:.1} s", why(loss, url), wait.as_secs_f64()));
        }
        State::Connected => screen.note("connected again"),
        // Attempts come when they were said to come, and the end is told at the end.
        _ => {}
    }
}

fn given_up(error: &ReconnectError, url: &str) -> String {
    match error {
        ReconnectError::GaveUp(loss) => why(loss, url),
        other => exit::chain(other),
    }
}

fn why(loss: &Loss, url: &str) -> String {
    match loss {
        Loss::Dial(error) => format!("{:#}", explain(error, url)),
        Loss::Ended(ending) => exit::of(ending).0,
        other => exit::chain(other),
    }
}
