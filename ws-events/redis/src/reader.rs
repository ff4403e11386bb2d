//! How does a request get to a server, and its answer back, besides the pipeline of a driver?

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::name::ServerState;
use crate::session::Ended;
use crate::topology::Topology;

/// The connections for requests of a session, if there is one.
pub(crate) struct ReaderSlot(watch::Sender<Option<Arc<Readers>>>);

/// A connection to each server, for requests.
pub(crate) struct Readers {
    pub(crate) servers: Vec<(MultiplexedConnection, Arc<ServerState>)>,
    /// `None` for a single server.
    pub(crate) topology: Option<Topology>,
    /// The end of the session.
    pub(crate) ended: Ended,
}

/// What happens to a request whose connection is lost before its answer: the server may have carried it
/// out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// It is repeated on the next connection: a second time changes nothing, and has the same answer.
    Repeat,
    /// It fails.
    Fail,
}

impl Default for ReaderSlot {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl ReaderSlot {
    /// There is a new session.
    pub(crate) fn set(&self, readers: Readers) {
        self.0.send_replace(Some(Arc::new(readers)));
    }

    /// The session has ended.
    pub(crate) fn clear(&self) {
        self.0.send_replace(None);
    }

    /// Asks the server of a channel, and waits for a session and its answer for at most `limit`.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(crate) async fn ask(
        &self,
        channel: &str,
        limit: Duration,
        unanswered: Unanswered,
        request: impl Fn(&ServerState) -> Cmd,
    ) -> Result<Value, String> {
        let asking = async {
            let mut slot = self.0.subscribe();
            loop {
                let readers = slot.wait_for(Option::is_some).await;
                let readers = readers.ok().and_then(|readers| readers.clone());
                let Some(readers) = readers else { return Err("the history has ended".to_owned()) };
                let at = readers.topology.as_ref().map_or(0, |it| it.master(channel));
                let Some((connection, server)) = readers.servers.get(at) else {
                    return Err("no server has the room".to_owned());
                };
                // Until there is another session.
                let is_other = |next: &Option<Arc<Readers>>| {
                    next.as_ref().is_some_and(|next| !Arc::ptr_eq(next, &readers))
                };
                if readers.ended.has_ended() {
                    // Nothing is sent, so the request can wait.
                    let _ = slot.wait_for(is_other).await;
                    continue;
                }
                let request = request(server);
                let answer = connection.clone().send_packed_command(&request).await;
                match answer {
                    Ok(Value::ServerError(error)) => {
                        readers.ended.end_if_stale(&error);
                        return Err(error.to_string());
                    }
                    Ok(answer) => return Ok(answer),
                    Err(error) if error.is_unrecoverable_error() || error.is_io_error() => {
                        if unanswered == Unanswered::Fail {
                            return Err("the connection was lost before the answer".to_owned());
                        }
                        let _ = slot.wait_for(is_other).await;
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        timeout(limit, asking).await.unwrap_or_else(|_| Err("Redis does not answer".to_owned()))
    }
}
