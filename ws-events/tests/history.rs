//! Does a history have what the members of a room got, in the same order?

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{TIMEOUT, enter, read};
use parking_lot::Mutex;
use tokio::time::timeout;
use ws_core::{Conn, Message, PreparedMessage};
use ws_events::cluster::HubEvent;
use ws_events::{
    Appended, Bytes, History, HistoryError, HistoryPage, HistoryReply, HistorySink, HistoryStore,
    Hub, MemoryHistory, Position, Socket, Stored,
};

fn hub() -> Hub {
    Hub::builder()
        .envelope()
        .history("red", History::new())
        .history("log-*", History::new())
        .build()
}

async fn member(hub: &Hub, id: &str, room: &str) -> (Socket, Conn) {
    let (socket, client) = enter(hub, id).await;
    socket.join(room).unwrap();
    (socket, client)
}

async fn texts(hub: &Hub, room: &str) -> Vec<String> {
    let messages = hub.room(room).latest(usize::MAX).await.unwrap();
    messages.iter().map(|it| it.message.as_text().unwrap_or("bytes").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_get_the_messages_of_several_senders_in_the_order_of_the_history() {
    const SENDERS: usize = 4;
    const EACH: usize = 200;
    let hub = hub();
    let (_one, first) = member(&hub, "one", "red").await;
    let (_two, second) = member(&hub, "two", "red").await;
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let hub = hub.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for number in 0..EACH {
                    let sent = hub.to("red").emit("n", &(sender, number)).unwrap();
                    let Stored::At(position) = sent.stored else { panic!("{sent:?}") };
                    assert!(position.offset > last);
                    last = position.offset;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut got = [Vec::new(), Vec::new()];
    for _ in 0..SENDERS * EACH {
        got[0].push(read(&first).await);
        got[1].push(read(&second).await);
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let stored = hub.room("red").latest(usize::MAX).await.unwrap();
    let offsets: Vec<_> = stored.iter().map(|it| it.position.offset).collect();
    assert!(offsets.iter().copied().eq(1..=(SENDERS * EACH) as u64));
    let stored: Vec<_> = stored
        .iter()
        .map(|it| format!(r#"{{"event":"n","data":{}}}"#, it.message.as_text().unwrap()))
        .collect();
    assert_eq!(got[0], stored);
    assert_eq!(got[1], stored);
}

type Meanwhile = Box<dyn FnOnce() + Send>;

/// A store in memory that runs something while it stores a message.
#[derive(Clone, Default)]
struct BusyStore {
    memory: Arc<MemoryHistory>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

impl HistoryStore for BusyStore {
    fn append(&self, key: &str, record: &[u8], limits: &History) -> Result<Appended, HistoryError> {
        let meanwhile = self.meanwhile.lock().take();
        meanwhile.into_iter().for_each(|run| run());
        self.memory.append(key, record, limits)
    }

    fn since(&self, key: &str, position: Position, most: usize) -> HistoryReply<HistoryPage> {
        self.memory.since(key, position, most)
    }

    fn latest(&self, key: &str, most: usize) -> HistoryReply<HistoryPage> {
        self.memory.latest(key, most)
    }

    fn trim(&self, key: &str, through: Position) -> HistoryReply<()> {
        self.memory.trim(key, through)
    }
}

/// Neither if the room has no member when the message is stored, nor if its last member leaves then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_read_or_delivered_by_who_joins_while_it_is_stored() {
    for was_there in [false, true] {
        let store = BusyStore::default();
        let hub =
            Hub::builder().history("red", History::new()).history_store(store.clone()).build();
        let (socket, client) = enter(&hub, "one").await;
        if was_there {
            socket.join("red").unwrap();
        }
        let (done, read_count) = std::sync::mpsc::channel();
        let (joins, reads) = (socket.clone(), hub.clone());
        *store.meanwhile.lock() = Some(Box::new(move || {
            let thread = std::thread::spawn(move || {
                joins.leave("red");
                joins.join("red").unwrap();
                let read = futures::executor::block_on(reads.room("red").latest(10));
                done.send(read.unwrap().len()).unwrap();
            });
            // Long enough to join, if nothing holds it back.
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(5)); // tidy: sleep is the subject
                if thread.is_finished() {
                    break;
                }
            }
        }));
        hub.to("red").send("hello");
        let count = read_count.recv_timeout(TIMEOUT).unwrap();
        hub.to("red").send("end");
        let mut delivered = 0;
        while read(&client).await != "end" {
            delivered += 1;
        }
        assert_eq!((count, delivered), (1, 0), "{was_there}");
    }
}

#[tokio::test]
async fn a_history_has_what_goes_to_exactly_its_room() {
    let hub = hub();
    let (socket, _client) = member(&hub, "one", "red").await;
    let at = |offset| {
        move |stored| match stored {
            Stored::At(position) => assert_eq!(position.offset, offset),
            other => panic!("{other:?}"),
        }
    };
    let no = |stored| assert_eq!(stored, Stored::No);
    at(1)(hub.to("red").send("text").stored);
    at(2)(hub.to("red").send(Message::binary(vec![0, 255])).stored);
    at(3)(
        hub.to("red").except("one").emit("event", &("a", Bytes::from_static(b"x"))).unwrap().stored,
    );
    at(4)(socket.to("red").send_prepared(&PreparedMessage::new("to others")).stored);
    at(1)(hub.to("log-1").emit("without members", &()).unwrap().stored);
    no(hub.to("red").volatile().send("x").stored);
    no(hub.to("red").to("log-1").send("x").stored);
    no(hub.to("blue").send("x").stored);
    no(hub.to("log-").send("x").stored);
    no(hub.ids(["one"]).send("x").stored);
    no(hub.everyone().send("x").stored);
    drop(hub.to("red").emit_with_ack::<(), _>("question", &1).unwrap());
    let position = hub.room("red").position().await.unwrap();
    assert_eq!(position.offset, 4);
    let stored = hub.room("red").since(Position { offset: 0, ..position }).await.unwrap();
    let json = serde_json::to_value(&stored).unwrap();
    let at = |offset| Position { offset, ..position }.to_string();
    let expected = serde_json::json!([
        {"at": at(1), "event": null, "data": "text"},
        {"at": at(2), "event": null, "data": "AP8="},
        {"at": at(3), "event": "event", "data": ["a", "eA=="]},
        {"at": at(4), "event": null, "data": "to others"},
    ]);
    assert_eq!(json, expected);
    assert_eq!(stored[2].json::<(String, String)>().unwrap().0, "a");
    let rest = hub.room("red").since(Position { offset: 2, ..position }).await.unwrap();
    assert_eq!(rest, stored[2..]);
    hub.room("red").trim(Position { offset: 3, ..position }).await.unwrap();
    assert_eq!(texts(&hub, "red").await, ["to others"]);
    let gone = hub.room("red").since(Position { offset: 2, ..position }).await;
    assert_eq!(gone, Err(HistoryError::Trimmed));
    assert_eq!(hub.room("blue").latest(1).await, Err(HistoryError::NoHistory));
    assert_eq!(Hub::new().room("red").position().await, Err(HistoryError::NoHistory));
}

#[tokio::test]
async fn namespaces_have_histories_of_their_own() {
    let hub = hub();
    let admin = hub.of("/admin");
    hub.to("red").send("root");
    admin.to("red").send("admin");
    assert_eq!(texts(&hub, "red").await, ["root"]);
    assert_eq!(texts(&admin, "red").await, ["admin"]);
    let position = hub.room("red").position().await.unwrap();
    assert_eq!(admin.room("red").since(position).await, Err(HistoryError::UnknownPosition));
}

#[tokio::test(start_paused = true)]
async fn messages_leave_the_history_with_their_age() {
    let limits = History::new().age(Duration::from_secs(60)).messages(3);
    let store = MemoryHistory::with_bytes(1024 * 1024);
    let hub = Hub::builder().history("red", limits).history_store(store).build();
    for number in 0..4 {
        tokio::time::advance(Duration::from_secs(20)).await;
        hub.to("red").send(number.to_string());
    }
    assert_eq!(texts(&hub, "red").await, ["1", "2", "3"]);
    tokio::time::advance(Duration::from_secs(21)).await;
    assert_eq!(texts(&hub, "red").await, ["2", "3"]);
}

/// A store that is down, or that numbers records later.
#[derive(Clone, Default)]
pub(crate) struct SlowStore(Arc<Mutex<SlowRecords>>);

#[derive(Default)]
struct SlowRecords {
    is_down: bool,
    /// The calls of `watch` and `unwatch`.
    watches: Vec<String>,
    queued: Vec<(String, Vec<u8>)>,
    stored: HashMap<String, Vec<Bytes>>,
    sink: Option<Arc<dyn HistorySink>>,
}

impl SlowStore {
    pub(crate) fn sink(&self) -> Arc<dyn HistorySink> {
        self.0.lock().sink.clone().unwrap()
    }

    /// Stores what is queued.
    pub(crate) fn flush(&self) {
        let (queued, sink) = {
            let mut inner = self.0.lock();
            (std::mem::take(&mut inner.queued), inner.sink.clone().unwrap())
        };
        for (key, record) in queued {
            let position = {
                let mut inner = self.0.lock();
                let records = inner.stored.entry(key.clone()).or_default();
                records.push(record.clone().into());
                Position { epoch: 1, offset: records.len() as u64 }
            };
            sink.stored(&key, position, &record);
        }
    }

    fn page(&self, key: &str, skip: usize) -> HistoryReply<HistoryPage> {
        let stored = self.0.lock().stored.get(key).cloned().unwrap_or_default();
        HistoryReply::Later(Box::pin(async move {
            let position = |offset| Position { epoch: 1, offset };
            let numbered = (1..).map(position).zip(stored.iter().cloned());
            let records = numbered.skip(skip).collect();
            Ok(HistoryPage { records, last: position(stored.len() as u64) })
        }))
    }
}

impl HistoryStore for SlowStore {
    fn start(&self, sink: Arc<dyn HistorySink>) {
        self.0.lock().sink = Some(sink);
    }

    fn watch(&self, key: &str) {
        self.0.lock().watches.push(format!("+{key}"));
    }

    fn unwatch(&self, key: &str) {
        self.0.lock().watches.push(format!("-{key}"));
    }

    fn append(&self, key: &str, record: &[u8], _: &History) -> Result<Appended, HistoryError> {
        let mut inner = self.0.lock();
        if inner.is_down {
            return Err(HistoryError::Unavailable("down".into()));
        }
        inner.queued.push((key.to_owned(), record.to_vec()));
        Ok(Appended::Queued)
    }

    fn since(&self, key: &str, position: Position, _: usize) -> HistoryReply<HistoryPage> {
        self.page(key, usize::try_from(position.offset).unwrap())
    }

    fn latest(&self, key: &str, _: usize) -> HistoryReply<HistoryPage> {
        self.page(key, 0)
    }

    fn trim(&self, _: &str, _: Position) -> HistoryReply<()> {
        HistoryReply::Now(Ok(()))
    }
}

#[tokio::test]
async fn what_a_store_refuses_is_delivered_to_nobody_and_other_rooms_go_on() {
    let store = SlowStore::default();
    let hub = Hub::builder().history("red", History::new()).history_store(store.clone()).build();
    let (socket, client) = member(&hub, "one", "red").await;
    socket.join("blue").unwrap();
    store.0.lock().is_down = true;
    let refused = hub.to("red").send("lost");
    assert_eq!((refused.stored, refused.matched), (Stored::Refused, 0));
    assert_eq!(hub.to("blue").send("live").queued, 1);
    store.0.lock().is_down = false;
    assert_eq!(hub.to("red").send("again").stored, Stored::Queued);
    store.flush();
    assert_eq!(read(&client).await, "live");
    assert_eq!(read(&client).await, "again");
    assert_eq!(texts(&hub, "red").await, ["again"]);
}

#[tokio::test]
async fn what_a_store_numbers_later_is_delivered_when_it_is_stored() {
    let store = SlowStore::default();
    let hub =
        Hub::builder().envelope().history("*", History::new()).history_store(store.clone()).build();
    let admin = hub.of("admin");
    let (_one, first) = member(&hub, "one", "red").await;
    let (two, second) = member(&hub, "two", "red").await;
    let (_other, other) = member(&admin, "three", "red").await;
    assert_eq!(hub.to("red").emit("a", &1).unwrap().stored, Stored::Queued);
    assert_eq!(two.to("red").emit("b", &2).unwrap().stored, Stored::Queued);
    hub.send("live");
    assert_eq!(admin.to("red").send("admin").stored, Stored::Queued);
    assert_eq!(read(&first).await, "live");
    store.flush();
    assert_eq!(read(&first).await, r#"{"event":"a","data":1}"#);
    assert_eq!(read(&first).await, r#"{"event":"b","data":2}"#);
    for (client, expected) in
        [(&second, &["live", r#"{"event":"a","data":1}"#][..]), (&other, &["admin"])]
    {
        for expected in expected {
            assert_eq!(read(client).await, *expected);
        }
    }
    hub.send("end");
    assert_eq!(timeout(TIMEOUT, second.read()).await.unwrap().unwrap().as_text(), Some("end"));
    assert_eq!(texts(&hub, "red").await, ["1", "2"]);
}

#[tokio::test]
async fn a_store_learns_which_rooms_with_a_history_have_members() {
    let store = SlowStore::default();
    let builder = Hub::builder().history("r*", History::new()).history_store(store.clone());
    let hub = builder.build();
    let (one, _first) = member(&hub, "one", "red").await;
    let (two, _second) = member(&hub, "two", "red").await;
    let (_three, _third) = member(&hub.of("admin"), "three", "red").await;
    two.join("blue").unwrap();
    two.leave("red");
    two.join("rust").unwrap();
    one.leave("red");
    one.join("red").unwrap();
    let expected = ["+red", "+/6:/adminred", "+rust", "-red", "+red"];
    assert_eq!(store.0.lock().watches, expected);
}

#[tokio::test]
async fn members_stay_when_a_store_has_lost_messages_and_the_application_learns_it() {
    let store = SlowStore::default();
    let hub = Hub::builder().history("red", History::new()).history_store(store.clone()).build();
    let mut events = hub.events();
    let (socket, client) = member(&hub, "one", "red").await;
    let sink = store.sink();
    sink.reached("red", Position { epoch: 1, offset: 4 });
    for key in ["blue", "/6:/adminred", "/9:/a"] {
        sink.lost(key);
    }
    sink.lost("red");
    sink.not_stored(3);
    let gap = HubEvent::HistoryGap { room: "red".into(), namespace: "/".into() };
    assert_eq!(events.next().await, Some(gap));
    assert_eq!(events.next().await, Some(HubEvent::NotStored { messages: 3 }));
    hub.send("live");
    assert_eq!(read(&client).await, "live");
    assert!(socket.is_alive());
}
