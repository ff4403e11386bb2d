//! How is a connection to a NATS server made?

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use ws_events_broker::{Connector, Inbox, SessionError};

use crate::config::{InvalidNatsUrl, NatsConfig};
use crate::session::{self, MESSAGES, NatsSession};

/// Connects to the servers of a configuration, one after the other.
pub(crate) struct NatsConnector {
    config: NatsConfig,
    servers: Vec<ServerAddr>,
    /// The number of attempts.
    attempts: AtomicUsize,
}

impl NatsConnector {
    pub(crate) fn new(config: NatsConfig) -> Result<Self, InvalidNatsUrl> {
        Ok(Self { servers: config.servers()?, attempts: AtomicUsize::new(0), config })
    }

    fn next_server(&self) -> Option<&ServerAddr> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        self.servers.get(attempt % self.servers.len().max(1))
    }
}

impl Connector for NatsConnector {
    type Session = NatsSession;

    async fn connect(&self, inbox: Inbox) -> Result<NatsSession, SessionError> {
        install_cryptography();
        let server = self.next_server().ok_or_else(|| SessionError::new("there is no URL"))?;
        let failure = watch::Sender::new(None);
        let events = failure.clone();
        let has_others = self.servers.len() > 1;
        let options = with_credentials(self.config.options.clone(), server)
            // The client tries to connect once again on its own, with what the session has not sent
            // yet. The session ends anyway.
            .max_reconnects(1)
            .reconnect_delay_callback(|_| Duration::ZERO)
            .ignore_discovered_servers()
            .client_capacity(COMMANDS)
            .subscription_capacity(MESSAGES)
            .event_callback(move |event| {
                if let Some(error) = end_of_session(&event, has_others) {
                    session::fail(&events, error);
                }
                std::future::ready(())
            });
        let client = options.connect(server.clone()).await.map_err(SessionError::new)?;
        NatsSession::start(client, inbox, failure).await
    }
}

/// The credentials of a URL: `async-nats` ignores them. A user without a password is a token.
fn with_credentials(options: ConnectOptions, server: &ServerAddr) -> ConnectOptions {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    match (server.username(), server.password()) {
        (Some(user), Some(password)) => options.user_and_password(decode(user), decode(password)),
        (Some(token), None) => options.token(decode(token)),
        (None, _) => options,
    }
}

/// `async-nats` panics on TLS if several implementations are compiled in, and the process has
/// not chosen one.
fn install_cryptography() {
    use async_nats::rustls::crypto::{CryptoProvider, aws_lc_rs};

    if CryptoProvider::get_default().is_none() {
        // Another thread may have installed one just now.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Whether a session is over after an event, and why.
fn end_of_session(event: &Event, has_others: bool) -> Option<SessionError> {
    match event {
        Event::Connected | Event::Draining | Event::SlowConsumer(_) => None,
        Event::LameDuckMode => has_others.then(|| SessionError::new("the server is about to stop")),
        Event::Disconnected | Event::Closed => {
            Some(SessionError::new("the connection to NATS has ended"))
        }
        Event::ServerError(error) => Some(SessionError::new(error)),
        Event::ClientError(error) => Some(SessionError::new(error)),
    }
}

/// Without servers, since their URLs contain passwords.
impl fmt::Debug for NatsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConnector").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Commands that wait for the task of the client.
const COMMANDS: usize = 256;
