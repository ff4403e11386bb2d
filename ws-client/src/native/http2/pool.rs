//! Which HTTP/2 connection opens the next WebSocket, and which servers support that?

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use ws_core::Conn;

use super::connection::{
    Http2Connection, OpenResult, StartResult, dial_error, is_not_processed, requires_http1,
};
use crate::native::deadline::HandshakeDeadline;
use crate::native::http1_connect;
use crate::native::request::ClientHandshake;
use crate::native::transport::{self, Alpn, Established, TransportConfig};
use crate::native::url::{Authority, HttpUrl};
use crate::{DialError, DialStep};

/// The maximum number of remembered servers.
const MAX_SERVERS: usize = 1000;

/// How long a dial waits while another one probes the server. Then it probes the server itself.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// The shared HTTP/2 connections, by server.
pub(crate) struct Http2Pool {
    fallback: Http2Fallback,
    servers: Mutex<HashMap<Authority, Arc<ServerEntry>>>,
}

/// What happens if a server does not support WebSockets over HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http2Fallback {
    /// The WebSocket is opened over HTTP/1.1.
    Http1,
    /// Dialling fails.
    Error,
}

/// The first dial holds the lock while it probes the server; others wait for the result, at most
/// `PROBE_WAIT`.
type ServerEntry = tokio::sync::Mutex<ServerInfo>;

enum ServerInfo {
    /// It supports WebSockets over HTTP/2, or was not probed yet. Each connection lives as long
    /// as its WebSockets.
    Http2(Vec<Weak<Http2Connection>>),
    /// It does not support WebSockets over HTTP/2.
    Http1Only,
}

/// What opens the next WebSocket.
enum ProtocolChoice {
    /// HTTP/1.1, on the connection that ALPN selected it on, if any.
    Http1(Option<Established>),
    Http2 {
        connection: Arc<Http2Connection>,
        is_new: bool,
    },
    /// The server sent GOAWAY before anything else.
    GoneAway(DialError),
}

impl Http2Pool {
    pub(crate) fn new(fallback: Http2Fallback) -> Self {
        Self { fallback, servers: Mutex::default() }
    }

    /// A pool with the same settings, without servers.
    pub(crate) fn empty(&self) -> Self {
        Self::new(self.fallback)
    }

    /// Opens a WebSocket.
    pub(crate) async fn open(
        &self,
        config: &TransportConfig,
        url: &HttpUrl,
        handshake: &ClientHandshake,
        deadline: HandshakeDeadline,
    ) -> Result<Conn, DialError> {
        let mut retried = false;
        loop {
            let choosing = self.choose(config, url, deadline);
            let chosen =
                deadline.run(url.authority(), Some(DialStep::Connection), choosing).await?;
            let established = match chosen {
                ProtocolChoice::Http1(established) => established,
                ProtocolChoice::GoneAway(error) if mem::replace(&mut retried, true) => {
                    return Err(error);
                }
                ProtocolChoice::GoneAway(_) => continue,
                ProtocolChoice::Http2 { connection, is_new } => {
                    match connection.open(url, handshake, deadline, is_new).await {
                        Ok(OpenResult::Opened(conn)) => return Ok(conn),
                        // A new connection is replaced once. A lost connection is not chosen again,
                        // so this loop ends.
                        Ok(OpenResult::NotProcessed(error))
                            if is_new && mem::replace(&mut retried, true) =>
                        {
                            return Err(error);
                        }
                        Ok(OpenResult::NotProcessed(_)) => continue,
                        Ok(OpenResult::NeedsHttp1(error)) => self.fall_back(None, error)?,
                        Err(error) if self.may_retry_with_http1(&error) => None,
                        Err(error) => return Err(error),
                    }
                }
            };
            let established = match established {
                Some(established) => established,
                None => transport::connect(config, url, Alpn::HTTP1, deadline).await?,
            };
            return http1_connect::over_transport(established, url, handshake, deadline).await;
        }
    }

    /// Chooses a connection with capacity, or makes a new one.
    async fn choose(
        &self,
        config: &TransportConfig,
        url: &HttpUrl,
        deadline: HandshakeDeadline,
    ) -> Result<ProtocolChoice, DialError> {
        if !url.is_encrypted() && self.fallback == Http2Fallback::Http1 {
            return Ok(ProtocolChoice::Http1(None));
        }
        let mut info = self.lock(url).await;
        let http1 = |established| {
            self.fall_back(established, DialError::NoHttp2).map(ProtocolChoice::Http1)
        };
        let ServerInfo::Http2(connections) = &mut *info else { return http1(None) };
        connections.retain(|connection| connection.strong_count() > 0);
        let mut open = connections.iter().filter_map(Weak::upgrade);
        if let Some(connection) = open.find(|connection| connection.has_capacity()) {
            return Ok(ProtocolChoice::Http2 { connection, is_new: false });
        }
        let alpn = match self.fallback {
            Http2Fallback::Http1 => Alpn::EITHER,
            Http2Fallback::Error => Alpn::HTTP2,
        };
        let established = transport::connect(config, url, alpn, deadline).await?;
        if url.is_encrypted() && !established.is_http2 {
            *info = ServerInfo::Http1Only;
            return http1(Some(established));
        }
        let connection = match Http2Connection::start(established).await {
            Ok(StartResult::Started(connection)) => connection,
            Ok(StartResult::Unsupported) => {
                *info = ServerInfo::Http1Only;
                return http1(None);
            }
            Ok(StartResult::NoStreams) => {
                let error = io::Error::new(
                    io::ErrorKind::ConnectionRefused,
                    "the server accepts no HTTP/2 streams for now",
                );
                let error = DialError::from(error).of_server(&url.authority().host_and_port());
                return self.fall_back(None, error).map(ProtocolChoice::Http1);
            }
            Err(error) if requires_http1(&error) => return http1(None),
            Err(error) if is_not_processed(&error) => {
                return Ok(ProtocolChoice::GoneAway(dial_error(url, error)));
            }
            Err(error) => return Err(dial_error(url, error)),
        };
        connections.push(Arc::downgrade(&connection));
        Ok(ProtocolChoice::Http2 { connection, is_new: true })
    }

    /// Is this a path without CONNECT, on a server that supports it elsewhere? The path may
    /// support GET, which HTTP/1.1 uses. The server is not remembered as HTTP/1.1 only.
    fn may_retry_with_http1(&self, error: &DialError) -> bool {
        let is_unsupported = error.refused_response().is_some_and(|response| {
            [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED].contains(&response.status)
        });
        self.fallback == Http2Fallback::Http1 && is_unsupported
    }

    /// HTTP/1.1, on this connection if there is one; `error` if HTTP/1.1 is not allowed.
    fn fall_back(
        &self,
        established: Option<Established>,
        error: DialError,
    ) -> Result<Option<Established>, DialError> {
        match self.fallback {
            Http2Fallback::Http1 => Ok(established),
            Http2Fallback::Error => Err(error),
        }
    }

    /// Locks the entry of a server. If a dial holds it for too long, a new entry replaces it: then the
    /// connection that this dial makes is not shared.
    async fn lock(&self, url: &HttpUrl) -> OwnedMutexGuard<ServerInfo> {
        loop {
            let server = self.server(url);
            if let Ok(info) = timeout(PROBE_WAIT, Arc::clone(&server).lock_owned()).await {
                return info;
            }
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            // Another dial may have replaced it.
            if servers.get(url.authority()).is_some_and(|current| Arc::ptr_eq(current, &server)) {
                servers.remove(url.authority());
            }
        }
    }

    /// The entry of a server. Evicts idle servers if there are too many.
    fn server(&self, url: &HttpUrl) -> Arc<ServerEntry> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.len() >= MAX_SERVERS && !servers.contains_key(url.authority()) {
            servers.retain(|_, server| is_in_use(server));
            if servers.len() >= MAX_SERVERS {
                // All servers are in use. Their WebSockets go on; the next ones make new connections.
                servers.clear();
            }
        }
        let new = || Arc::new(ServerEntry::new(ServerInfo::Http2(Vec::new())));
        Arc::clone(servers.entry(url.authority().clone()).or_insert_with(new))
    }
}

/// Is a dial in progress, or a WebSocket open?
fn is_in_use(server: &Arc<ServerEntry>) -> bool {
    let has_connections = |info: &ServerInfo| match info {
        ServerInfo::Http2(connections) => connections.iter().any(|it| it.strong_count() > 0),
        ServerInfo::Http1Only => false,
    };
    Arc::strong_count(server) > 1 || server.try_lock().is_ok_and(|info| has_connections(&info))
}

impl fmt::Debug for Http2Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Pool").field("fallback", &self.fallback).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_remembered_servers_is_limited() {
        let pool = Http2Pool::new(Http2Fallback::Http1);
        let server = |port: usize| {
            let url = HttpUrl::parse(&format!("wss://example.com:{port}")).unwrap();
            pool.server(&url)
        };
        let count = || pool.servers.lock().unwrap().len();
        let busy = server(1);
        for port in 2..=MAX_SERVERS {
            *server(port).try_lock().unwrap() = ServerInfo::Http1Only;
        }
        assert_eq!(count(), MAX_SERVERS);
        let last = server(MAX_SERVERS);
        assert!(matches!(*last.try_lock().unwrap(), ServerInfo::Http1Only), "it is remembered");
        drop(last);
        // The next server evicts all idle ones.
        server(MAX_SERVERS + 1);
        assert_eq!(count(), 2);
        assert!(Arc::ptr_eq(&busy, &server(1)));
        // All servers are in use: all entries are dropped.
        let all: Vec<_> = (2..=MAX_SERVERS).map(server).collect();
        assert_eq!(count(), MAX_SERVERS);
        server(MAX_SERVERS + 2);
        assert_eq!((count(), all.len()), (1, MAX_SERVERS - 1));
    }
}
