//! How do the hubs of one process find each other's sessions?

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::recovery::store::{SessionStore, SessionStoreError};

/// What a record takes beside its key and its bytes.
const OVERHEAD: usize = 256;

/// A [`SessionStore`] in the memory of this process, for several hubs in it: a test of a cluster, or
/// a hub for each runtime. A clone is the same store. A single hub needs none.
///
/// ```
/// use ws_events::broker::LoopbackBus;
/// use ws_events::cluster::ClusterConfig;
/// use ws_events::{Hub, MemorySessions, Protocol, Recovery, pair};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (bus, sessions) = (LoopbackBus::new(1), MemorySessions::new());
/// let node = || {
///     let recovery = Recovery::new().store(sessions.clone());
///     Hub::builder().envelope().recovery(recovery).build_clustered(ClusterConfig::new(bus.join()))
/// };
/// let (one, two) = (node()?, node()?);
/// let connect = |hub: &Hub| {
///     let ((client, server), hub) = (pair(), hub.clone());
///     tokio::spawn(async move { hub.serve_as(server, Protocol::Resumable).await });
///     client
/// };
/// let client = connect(&one);
/// client.write(r#"{"resume":null}"#).await?;
/// let welcome: serde_json::Value = serde_json::from_str(client.read().await?.as_text().unwrap())?;
/// # while sessions.is_empty() || one.nodes().is_empty() || two.nodes().is_empty() {
/// #     tokio::time::sleep(std::time::Duration::from_millis(5)).await;
/// # }
/// client.close_now();
/// // It comes back to the other hub.
/// let client = connect(&two);
/// client.write(serde_json::json!({"resume": welcome["session"]}).to_string()).await?;
/// assert!(client.read().await?.as_text().unwrap().contains(r#""recovered":true"#));
/// # Ok(()) }
/// ```
///
/// The histories of the hubs have to be in a store that they share, which
/// [`MemoryHistory`](crate::MemoryHistory) is not: a session in a room whose history only one hub
/// has is a new one on another hub.
///
/// It is short, so its source is a pattern for a store of your own.
#[derive(Clone)]
pub struct MemorySessions {
    records: Arc<Mutex<RecordTable>>,
    started: Instant,
}

impl MemorySessions {
    /// A store of at most 20,000 records and 64 MiB.
    pub fn new() -> Self {
        Self::with_limits(20_000, 64 * 1024 * 1024)
    }

    /// A store of at most so many records, and of so many bytes in all. A record counts its key, its
    /// bytes, and 256 more, and a session that has ended has a short one for two minutes. Beyond either
    /// limit, the records that end first are removed. One that is longer than all bytes is refused.
    pub fn with_limits(records: usize, bytes: usize) -> Self {
        let table = RecordTable { most: records, most_bytes: bytes, ..RecordTable::default() };
        Self { records: Arc::new(Mutex::new(table)), started: Instant::now() }
    }

    /// The number of records, one for each session that is kept, was claimed, or has just ended.
    pub fn len(&self) -> usize {
        self.now(|table, _| table.records.len())
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does something with the records whose time is not over.
    fn now<T>(&self, change: impl FnOnce(&mut RecordTable, Duration) -> T) -> T {
        let mut table = self.records.lock();
        // Under the lock, so that instants are in its order.
        let now = self.started.elapsed();
        table.expire(now);
        change(&mut table, now)
    }
}

impl Default for MemorySessions {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionStore for MemorySessions {
    fn put(
        &self,
        key: &str,
        generation: u64,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<(), SessionStoreError>> {
        Box::pin(ready(self.now(|table, now| {
            if table.records.get(key).is_some_and(|kept| kept.generation > generation) {
                return Ok(());
            }
            table.put(key, generation, record, now.saturating_add(ttl))
        })))
    }

    fn replace(
        &self,
        key: &str,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Option<Bytes>, SessionStoreError>> {
        Box::pin(ready(self.now(|table, now| {
            let Some(kept) = table.records.get(key) else { return Ok(None) };
            let (generation, before) = (kept.generation, kept.bytes.clone());
            let put = table.put(key, generation, record, now.saturating_add(ttl));
            put.map(|()| Some(before))
        })))
    }
}

impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessions").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The records by key, and in the order in which they end. Instants are durations since the store
/// was made.
#[derive(Default)]
struct RecordTable {
    records: HashMap<Arc<str>, KeptRecord>,
    ends: BTreeMap<(Duration, u64), Arc<str>>,
    most: usize,
    bytes: usize,
    most_bytes: usize,
    next: u64,
}

struct KeptRecord {
    generation: u64,
    bytes: Bytes,
    /// Its place in the order.
    end: (Duration, u64),
}

impl RecordTable {
    fn put(
        &mut self,
        key: &str,
        generation: u64,
        record: Bytes,
        until: Duration,
    ) -> Result<(), SessionStoreError> {
        let size = size_of(key, &record);
        if size > self.most_bytes {
            return Err(SessionStoreError("a record is longer than all of its memory".into()));
        }
        self.remove(key);
        let (key, end): (Arc<str>, _) = (Arc::from(key), (until, self.next));
        self.next += 1;
        self.bytes += size;
        self.ends.insert(end, Arc::clone(&key));
        self.records.insert(key, KeptRecord { generation, bytes: record, end });
        while self.records.len() > self.most || self.bytes > self.most_bytes {
            let Some((_, key)) = self.ends.pop_first() else { break };
            self.remove(&key);
        }
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        if let Some(KeptRecord { bytes, end, .. }) = self.records.remove(key) {
            self.bytes -= size_of(key, &bytes);
            self.ends.remove(&end);
        }
    }

    /// Removes the records whose time is over.
    fn expire(&mut self, now: Duration) {
        while let Some(first) = self.ends.first_entry().filter(|first| first.key().0 <= now) {
            let key = first.remove();
            self.remove(&key);
        }
    }
}

fn size_of(key: &str, record: &Bytes) -> usize {
    OVERHEAD + key.len() + record.len()
}
