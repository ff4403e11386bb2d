//! What does a hub need from a store that tells all nodes where a session is?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;
use ws_core::Escaped;

/// Tells the hubs of several processes which of them holds a session, so that a client gets it back
/// on any of them. Passed to [`Recovery::store`](crate::Recovery::store). `RedisSessions` of
/// `ws-events-redis` keeps them in Redis, and [`MemorySessions`](crate::MemorySessions) in the memory
/// of one process.
///
/// A key stands for the token of a session, which cannot be derived from it. A record has at most
/// 256 KiB, as the hub encodes it. A store keeps both as they are, and does not read them. A record
/// that it loses or that comes too late is a session that is not recovered on another node, and
/// nothing worse.
///
/// A node that has given its session away may still have a record on its way, which comes behind that of
/// the next node. So each record has a generation, a number that grows with each one, and a store
/// compares them: it never keeps a record in place of a newer one. The record of a session that has
/// ended stays for two minutes.
///
/// The calls may run concurrently. The hub waits for none of them longer than 2 s, and does not
/// begin another one for the same key before that, but for [`replace`](Self::replace).
///
/// # Cancel safety
///
/// If a future is dropped, the change may be made or not.
pub trait SessionStore: Send + Sync + 'static {
    /// Called once for each hub, when it is built, before any other method.
    fn start(&self) {}

    /// Keeps a record for `ttl`, in place of the one before, unless that has a higher generation: then
    /// nothing changes, which is no error. This is one step.
    fn put(
        &self,
        key: &str,
        generation: u64,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<(), SessionStoreError>>;

    /// Keeps a record for `ttl` in place of the one before, with the generation of that, and returns
    /// that. If there is none, it keeps nothing. This is one step: of two calls, the second one gets the
    /// record of the first. So a store does not repeat one whose answer was lost: it may have been
    /// carried out. That is an error.
    fn replace(
        &self,
        key: &str,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Option<Bytes>, SessionStoreError>>;

    /// Ends the connection to the server. Called when the hub [drains](crate::Hub::drain), after
    /// the last other call. By default, it does nothing.
    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        let _ = deadline;
        Box::pin(std::future::ready(()))
    }
}

/// A [`SessionStore`] does not answer, or refuses, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of sessions is unavailable: {}", Escaped::new(&**.0))]
pub struct SessionStoreError(pub Arc<str>);
