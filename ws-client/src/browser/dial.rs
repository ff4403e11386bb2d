//! Which settings does dialling a WebSocket have in a browser?

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use web_sys::Url;
use ws_core::handshake::check_subprotocols;

use super::conn::Conn;
use super::error::DialError;
use super::state::{ConnState, SharedConn};
use super::{runtime, task};
use crate::first_ready::first_ready;
use crate::watched::Watched;
use crate::{DialTimeout, InvalidUrl};

/// Opens a WebSocket: the URL and the settings. The setters can be chained, in any order.
///
/// [`connect`](Self::connect) reports invalid settings, before anything is sent. A clone can
/// be dialled again.
///
/// `Debug` does not show the URL, which may hold secrets.
#[derive(Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct Dial {
    url: String,
    subprotocols: Vec<String>,
    read_limit: usize,
    close_timeout: Duration,
    timeout: Option<Duration>,
}

impl Dial {
    /// A WebSocket to a `ws` or `wss` URL; `http` and `https` mean the same.
    ///
    /// The URL must not have a fragment ([RFC 6455 §3]).
    ///
    /// [RFC 6455 §3]: https://www.rfc-editor.org/rfc/rfc6455#section-3
    pub fn new(url: impl AsRef<str>) -> Self {
        Self {
            url: url.as_ref().to_owned(),
            subprotocols: Vec::new(),
            read_limit: 1024 * 1024,
            close_timeout: Duration::from_secs(5),
            timeout: Some(Duration::from_secs(30)),
        }
    }

    /// Sets the subprotocols to offer, in order of preference. Default: none.
    ///
    /// If the server selects another one, or none, dialling fails.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the maximum length of a received message in bytes. Default: 1 MiB.
    ///
    /// The browser receives a longer message whole. Then the connection closes with 3009.
    pub const fn read_limit(mut self, bytes: usize) -> Self {
        self.read_limit = bytes;
        self
    }

    /// Sets how long the closing handshake may take. Default: 5 s.
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets the timeout of the whole opening handshake. Default: 30 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Disables [`connect_timeout`](Self::connect_timeout).
    pub const fn no_connect_timeout(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`DialError::Failed`] whenever the browser does not open the connection. It does not tell
    /// why.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the opening handshake.
    pub async fn connect(self) -> Result<Conn, DialError> {
        let (url, server) = parse(&self.url)?;
        check_subprotocols(&self.subprotocols)?;
        let shared: SharedConn = Arc::new(Watched::new(ConnState::new(self.read_limit)));
        // Dropping it closes the socket.
        let handle = Conn::new(Arc::clone(&shared));
        runtime::spawn(task::run(Arc::clone(&shared), url, self.subprotocols, self.close_timeout));
        let opened = shared.wait(|state| state.opened());
        let subprotocol = match self.timeout {
            None => opened.await?,
            Some(limit) => {
                let late = async {
                    runtime::sleep(limit).await;
                    Err(DialError::Timeout(DialTimeout { limit, server, step: None }))
                };
                first_ready(opened, late).await?
            }
        };
        Ok(handle.with_subprotocol(subprotocol))
    }

    /// A browser sends no pings.
    #[cfg(feature = "reconnect")]
    pub(crate) const fn default_keepalive(self) -> Self {
        self
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("read_limit", &self.read_limit)
            .field("close_timeout", &self.close_timeout)
            .field("connect_timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The URL as the browser writes it, and its host with the port, if that is not the default.
fn parse(url: &str) -> Result<(String, Box<str>), InvalidUrl> {
    let Ok(parsed) = Url::new(url) else {
        return Err(if url.contains("://") { InvalidUrl::Host } else { InvalidUrl::Relative });
    };
    match &*parsed.protocol() {
        "ws:" | "wss:" => {}
        "http:" => parsed.set_protocol("ws:"),
        "https:" => parsed.set_protocol("wss:"),
        other => {
            let scheme = other.trim_end_matches(':');
            let rest = url.trim_start().get(other.len()..).unwrap_or_default();
            return Err(InvalidUrl::scheme(scheme, rest));
        }
    }
    let url = parsed.href();
    if url.contains('#') { Err(InvalidUrl::Fragment) } else { Ok((url, parsed.host().into())) }
}
