//! Which connection carries the next socket?

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::StatusCode;
use url::Origin;
use ws_core::Conn;

use super::link::{Link, Opened};
use crate::opening::Opening;
use crate::patience::Patience;
use crate::reach::{Alpn, Reached, Route};
use crate::target::Target;
use crate::{DialError, over_stream};

/// How many servers are remembered.
const SERVERS: usize = 1000;

/// What is known about servers, and the connections to them that sockets share.
pub(crate) struct Pool {
    unwilling: Unwilling,
    servers: Mutex<HashMap<Origin, Arc<Server>>>,
}

/// What becomes of a socket to a server that does not allow it over HTTP/2?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwilling {
    /// It is opened over HTTP/1.1.
    Http1,
    /// It is not opened.
    Error,
}

/// What is known about a server. Who finds it out has the lock meanwhile, and the others wait.
type Server = tokio::sync::Mutex<Known>;

#[derive(Default)]
struct Known {
    /// It does not allow WebSockets over HTTP/2.
    is_http1: bool,
    /// Connections that last as long as there are sockets on them.
    links: Vec<Weak<Link>>,
}

/// The way to go.
enum Way {
    /// HTTP/1.1, on a connection that may be there.
    Http1(Option<Reached>),
    /// A stream of a connection, which was there before if it is not fresh.
    Http2 { link: Arc<Link>, fresh: bool },
}

impl Pool {
    pub(crate) fn new(unwilling: Unwilling) -> Self {
        Self { unwilling, servers: Mutex::default() }
    }

    /// One with the same settings, that knows nothing.
    pub(crate) fn like(&self) -> Self {
        Self::new(self.unwilling)
    }

    pub(crate) async fn open(
        &self,
        route: &Route,
        target: &Target,
        opening: &Opening,
        patience: Patience,
    ) -> Result<Conn, DialError> {
        loop {
            match patience.wait(self.way(route, target)).await? {
                Way::Http1(reached) => {
                    return by_http1(reached, route, target, opening, patience).await;
                }
                Way::Http2 { link, fresh } => {
                    match link.open(target, opening, patience, fresh).await {
                        Ok(Opened::Conn(conn)) => return Ok(conn),
                        // It is not taken again, so that this comes to an end.
                        Ok(Opened::LinkLost) => {}
                        Err(error) if self.may_be_the_version(&error) => {
                            return by_http1(None, route, target, opening, patience).await;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    async fn way(&self, route: &Route, target: &Target) -> Result<Way, DialError> {
        if !target.is_encrypted() && self.unwilling == Unwilling::Http1 {
            return Ok(Way::Http1(None));
        }
        let server = self.server(target);
        let mut known = server.lock().await;
        if known.is_http1 {
            return self.unwilling(None);
        }
        known.links.retain(|link| link.strong_count() > 0);
        let open = known.links.iter().filter_map(Weak::upgrade).find(|link| link.has_room());
        if let Some(link) = open {
            return Ok(Way::Http2 { link, fresh: false });
        }
        let alpn = match self.unwilling {
            Unwilling::Http1 => Alpn::EITHER,
            Unwilling::Error => Alpn::HTTP2,
        };
        let reached = route.reach(target, alpn).await?;
        if target.is_encrypted() && !reached.is_http2 {
            known.is_http1 = true;
            return self.unwilling(Some(reached));
        }
        match Link::begin(reached).await? {
            Some(link) => {
                known.links.push(Arc::downgrade(&link));
                Ok(Way::Http2 { link, fresh: true })
            }
            None => {
                known.is_http1 = true;
                self.unwilling(None)
            }
        }
    }

    /// Does this path know no CONNECT, on a server that allows it elsewhere? It may know
    /// GET, by which HTTP/1.1 asks. Another path may know both, so it is not remembered.
    fn may_be_the_version(&self, error: &DialError) -> bool {
        const UNKNOWN: [StatusCode; 2] =
            [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
        let status = error.refusal().map(|refusal| refusal.status);
        self.unwilling == Unwilling::Http1 && status.is_some_and(|it| UNKNOWN.contains(&it))
    }

    fn unwilling(&self, reached: Option<Reached>) -> Result<Way, DialError> {
        match self.unwilling {
            Unwilling::Http1 => Ok(Way::Http1(reached)),
            Unwilling::Error => Err(DialError::NoHttp2),
        }
    }

    /// What is known about a server, and room for it.
    fn server(&self, target: &Target) -> Arc<Server> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = target.url().origin();
        if servers.len() >= SERVERS && !servers.contains_key(&origin) {
            servers.retain(|_, server| is_in_use(server));
        }
        if servers.len() >= SERVERS && !servers.contains_key(&origin) {
            // All of them have sockets, which go on; whoever comes next cannot join them.
            servers.clear();
        }
        Arc::clone(servers.entry(origin).or_default())
    }
}

async fn by_http1(
    reached: Option<Reached>,
    route: &Route,
    target: &Target,
    opening: &Opening,
    patience: Patience,
) -> Result<Conn, DialError> {
    let reached = match reached {
        Some(reached) => reached,
        None => patience.wait(route.reach(target, Alpn::HTTP1)).await?,
    };
    over_stream::connect_reached(reached, target, opening, patience).await
}

/// Is somebody about to connect to it, or connected?
fn is_in_use(server: &Arc<Server>) -> bool {
    let is_linked = |known: &Known| known.links.iter().any(|link| link.strong_count() > 0);
    Arc::strong_count(server) > 1 || server.try_lock().is_ok_and(|known| is_linked(&known))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("unwilling", &self.unwilling).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_servers_are_remembered_than_there_is_room_for() {
        let pool = Pool::new(Unwilling::Http1);
        let known = |port: usize| {
            let target = Target::parse(&format!("wss://example.com:{port}")).unwrap();
            pool.server(&target)
        };
        let count = || pool.servers.lock().unwrap().len();
        let busy = known(1);
        for port in 2..=SERVERS {
            known(port).try_lock().unwrap().is_http1 = true;
        }
        assert_eq!(count(), SERVERS);
        assert!(known(SERVERS).try_lock().unwrap().is_http1, "it is remembered");
        // The next one takes the place of those that nobody is at.
        known(SERVERS + 1);
        assert_eq!(count(), 2);
        assert!(Arc::ptr_eq(&busy, &known(1)));
        // When somebody is at each of them, they are forgotten all the same.
        let all: Vec<_> = (2..=SERVERS).map(known).collect();
        assert_eq!(count(), SERVERS);
        known(SERVERS + 2);
        assert_eq!((count(), all.len()), (1, SERVERS - 1));
    }
}
