//! How do the hubs of several processes keep the histories of their rooms in Redis?
//!
//! A room is a stream, and a hash with its epoch and its last offset. A script appends a record to
//! the stream and publishes it, as one step, so all subscribers get the records of a room in the
//! order of their offsets. The process that has sent a record gets it that way, too.
//!
//! A process subscribes to the channels of all rooms, and passes on what its members are to get: see
//! [`tracker`]. What it has missed while it was not connected is read from the stream.

mod inbox;
pub(crate) mod name;
mod task;
mod tracker;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use ws_events::broker::{InvalidSubject, PublishError, Subject};
use ws_events::{
    Appended, History, HistoryError, HistoryPage, HistoryReply, HistorySink, HistoryStore, Position,
};
use ws_events_broker::{BoxFuture, BrokerDriver};

use crate::config::{InvalidRedisUrl, RedisConfig};
use crate::connector::RedisConnector;
use crate::history::inbox::{HistoryInbox, HistoryItem};
use crate::history::name::{
    AppendLimits, HistoryName, REQUEST_TIMEOUT, RoomKey, channels, parse_page,
};
use crate::history::task::HistoryTask;
use crate::reader::{ReaderSlot, Unanswered};

/// Keeps the histories of rooms in Redis or Valkey, for the hubs of several processes. They survive
/// the end of each process.
///
/// ```no_run
/// use ws_events::{History, Hub};
/// use ws_events::cluster::ClusterConfig;
/// use ws_events_redis::{RedisBroker, RedisConfig, RedisHistory};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = RedisConfig::new("redis://127.0.0.1:6379");
/// let hub = Hub::builder()
///     .envelope()
///     .history("chat:*", History::new())
///     .history_store(RedisHistory::new(config.clone())?)
///     .build_clustered(ClusterConfig::new(RedisBroker::new(config)?))?;
/// # drop(hub);
/// # Ok(()) }
/// ```
///
/// A message to a room with a history goes to Redis first, and then to all members of the room, in
/// all processes, in the order of the history: [`Delivery::stored`](ws_events::Delivery::stored) is
/// `Queued`. While Redis is not connected, or its pipeline is full, it is `Refused`: nobody gets the
/// message. Other rooms do not depend on it. A hub without a cluster may have this store, too.
///
/// # What is lost
///
/// * When the connection is lost, a process reads what its members have missed, and passes it on, in
///   order. If Redis has trimmed a part of it, or has been started again, or another server has taken
///   its place, [`HistorySink::lost`] says what the hub does. A server that was started again may
///   lack what it had confirmed, so its histories begin anew, whatever it has kept on disk. So do those
///   of a replica that becomes the master. While it is a replica, the store does not connect to it: the
///   [fallbacks](RedisConfig::fallback) may be the replicas.
/// * Messages that were sent to Redis when the connection was lost may be stored or not:
///   [`HubEvent::NotStored`](ws_events::cluster::HubEvent::NotStored) has their largest number, in
///   which questions for positions may be counted, too. No message is stored twice. What Redis refuses,
///   because its memory is full or a key is of another type, is reported in the same way.
///
/// # In Redis
///
/// The keys and channels begin with a prefix, `ws` by default. All processes of an application need
/// the same one, and two applications need different ones. A room that gets no message keeps its
/// stream for the [age](History::age) of its messages, and its position for a day more. A room that
/// nobody reads has up to a sixteenth more messages, at most 16, or a sixteenth more bytes. Memory is
/// limited by [`History::bytes`] for each room, so use the setting `maxmemory` with `noeviction` and
/// decide which rooms exist: other settings remove whole rooms, whose clients are not recovered then.
///
/// A message is refused if it is longer than
/// [`DriverConfig::max_payload`](crate::DriverConfig::max_payload). With [`RedisConfig::sharded`],
/// the rooms are divided among the masters of a Redis Cluster. An ACL user needs, beside the rights of
/// a broker, `+info +script|load +evalsha +time +hmget +hset +del +pexpire +xadd +xlen +xrange
/// +xrevrange +xtrim`, the keys `~ws:*` and the channels `&ws:*`.
pub struct RedisHistory {
    driver: Arc<BrokerDriver<RedisConnector<HistoryName>>>,
    inbox: Arc<HistoryInbox>,
    readers: Arc<ReaderSlot>,
    channels: Arc<[Arc<str>]>,
    task: Mutex<Option<AbortHandle>>,
}

impl RedisHistory {
    /// A store that connects when the hub is built, which needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If a URL is not valid. Whether the server can be reached is known later: messages are refused
    /// until then.
    pub fn new(config: RedisConfig) -> Result<Self, InvalidRedisUrl> {
        let (driver, readers) = (config.driver.clone(), Arc::new(ReaderSlot::default()));
        let inbox = Arc::new(HistoryInbox::new(Arc::clone(&readers)));
        let on_receipt = {
            let inbox = Arc::clone(&inbox);
            // See the script.
            move |_, answer| {
                if answer == 0 {
                    inbox.put(HistoryItem::NotSent(1));
                }
            }
        };
        let connector = RedisConnector::new(config)?.readers(&readers).on_receipt(on_receipt);
        Ok(Self {
            driver: Arc::new(BrokerDriver::new(connector, driver)),
            inbox,
            readers,
            channels: channels("ws").collect(),
            task: Mutex::default(),
        })
    }

    /// What the keys and channels begin with. Default: `ws`.
    ///
    /// # Errors
    ///
    /// If the prefix is no [`Subject`].
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Result<Self, InvalidSubject> {
        let prefix = Subject::new(prefix)?;
        self.channels = channels(prefix.as_str()).collect();
        Ok(self)
    }

    fn room(&self, key: &str) -> RoomKey {
        RoomKey::new(&self.channels, Arc::from(key))
    }

    fn read(&self, key: &str, since: Option<Position>, most: usize) -> HistoryReply<HistoryPage> {
        let reading = read(Arc::clone(&self.readers), self.room(key), since, most);
        HistoryReply::Later(Box::pin(reading))
    }
}

/// Reads what is behind a position, or the newest records.
async fn read(
    readers: Arc<ReaderSlot>,
    room: RoomKey,
    since: Option<Position>,
    most: usize,
) -> Result<HistoryPage, HistoryError> {
    let request = |server: &_| room.read(server, since, most);
    let answer = readers.ask(&room.channel, REQUEST_TIMEOUT, Unanswered::Repeat, request).await;
    parse_page(&answer.map_err(unavailable)?, since.is_none())
}

fn unavailable(cause: String) -> HistoryError {
    HistoryError::Unavailable(cause.into())
}

impl HistoryStore for RedisHistory {
    fn start(&self, sink: Arc<dyn HistorySink>) {
        let mut task = self.task.lock();
        let Ok(runtime) = Handle::try_current() else {
            // The driver reports it.
            self.driver.start(Arc::clone(&self.inbox) as _);
            return;
        };
        if task.is_some() {
            return;
        }
        let names: Vec<_> = self.channels.iter().cloned().map(HistoryName::Channel).collect();
        self.driver.subscribe(&names);
        self.driver.start(Arc::clone(&self.inbox) as _);
        let (driver, inbox) = (Arc::clone(&self.driver), Arc::clone(&self.inbox));
        let (readers, channels) = (Arc::clone(&self.readers), Arc::clone(&self.channels));
        let running = HistoryTask::new(driver, inbox, readers, channels, sink).run();
        *task = Some(runtime.spawn(running).abort_handle());
    }

    fn watch(&self, key: &str) {
        self.inbox.put(HistoryItem::Watch(Arc::from(key)));
    }

    fn unwatch(&self, key: &str) {
        self.inbox.put(HistoryItem::Unwatch(Arc::from(key)));
    }

    fn append(&self, key: &str, record: &[u8], limits: &History) -> Result<Appended, HistoryError> {
        let name = HistoryName::Append(self.room(key), AppendLimits::of(limits));
        let taken = self.driver.publish(&name, Bytes::copy_from_slice(record));
        taken.map(|()| Appended::Queued).map_err(|error| {
            unavailable(match error {
                PublishError::Down => format!("Redis cannot be reached: {}", self.inbox.cause()),
                PublishError::Full => "the pipeline to Redis is full".to_owned(),
                PublishError::TooLarge => "the message is longer than `max_payload`".to_owned(),
            })
        })
    }

    fn since(&self, key: &str, position: Position, most: usize) -> HistoryReply<HistoryPage> {
        self.read(key, Some(position), most)
    }

    fn latest(&self, key: &str, most: usize) -> HistoryReply<HistoryPage> {
        self.read(key, None, most)
    }

    fn trim(&self, key: &str, through: Position) -> HistoryReply<()> {
        let (readers, room) = (Arc::clone(&self.readers), self.room(key));
        HistoryReply::Later(Box::pin(async move {
            let request = |server: &_| room.trim(server, through);
            let answer =
                readers.ask(&room.channel, REQUEST_TIMEOUT, Unanswered::Repeat, request).await;
            answer.map(drop).map_err(unavailable)
        }))
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        self.driver.shutdown(deadline)
    }
}

impl Drop for RedisHistory {
    fn drop(&mut self) {
        self.task.get_mut().iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for RedisHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisHistory").field("driver", &self.driver).finish_non_exhaustive()
    }
}
