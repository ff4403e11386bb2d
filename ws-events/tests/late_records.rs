//! Does a record that comes late to the store change what a client gets?

use std::sync::Arc;
use std::time::Duration;

use crate::sessions::{Client, Over, empty, nodes};
use crate::support::wait_until;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::sleep;
use ws_events::{
    Hub, MemorySessions, Recovery, SessionStore, SessionStoreError, Socket, StatusCode,
};

/// A store that gets one record of many late, long after the hub has given it up.
#[derive(Clone)]
struct LateSessions(MemorySessions, Arc<Mutex<NextPut>>);

enum NextPut {
    Kept,
    /// It is on its way until the test lets it arrive.
    Late,
    OnItsWay(oneshot::Sender<()>),
}

impl LateSessions {
    fn new() -> Self {
        Self(MemorySessions::new(), Arc::new(Mutex::new(NextPut::Kept)))
    }

    fn delay_next(&self) {
        *self.1.lock() = NextPut::Late;
    }

    /// A put is on its way, and its hub does not wait for it any more.
    async fn is_given_up(&self) {
        wait_until(|| matches!(*self.1.lock(), NextPut::OnItsWay(_))).await;
        // Longer than a call may take, and shorter than the time after which it is repeated.
        sleep(Duration::from_secs(3)).await; // tidy: sleep is the subject
    }

    async fn arrive(&self) {
        let put = std::mem::replace(&mut *self.1.lock(), NextPut::Kept);
        let NextPut::OnItsWay(put) = put else { panic!("nothing is on its way") };
        put.send(()).unwrap();
        sleep(Duration::from_millis(1)).await; // tidy: sleep is the subject
    }
}

impl SessionStore for LateSessions {
    fn put(
        &self,
        key: &str,
        generation: u64,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<(), SessionStoreError>> {
        let mut next = self.1.lock();
        let NextPut::Late = *next else { return self.0.put(key, generation, record, ttl) };
        let (arrive, arrived) = oneshot::channel();
        *next = NextPut::OnItsWay(arrive);
        let (store, key) = (self.0.clone(), key.to_owned());
        // It goes on without the future.
        let put = tokio::spawn(async move {
            let _ = arrived.await;
            store.put(&key, generation, record, ttl).await
        });
        Box::pin(async move { put.await.unwrap() })
    }

    fn replace(
        &self,
        key: &str,
        record: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<Option<Bytes>, SessionStoreError>> {
        self.0.replace(key, record, ttl)
    }
}

/// What happens to a session while a record of it is on its way.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    /// Its client comes to another node.
    Moves,
    /// The same, and its node has only waited for the client.
    MovesFromWaiting,
    /// Its client comes back to the same node.
    Returns,
    /// Its rooms change again.
    Changes,
    /// The application closes the socket.
    Ends,
}

/// What happens to a client that shows the token of before, on a third node, once the first one is dead.
#[derive(Clone, Copy, Debug)]
enum Then {
    InRoom(&'static str),
    New(&'static str),
}

fn socket_of(hub: &Hub) -> Socket {
    hub.everyone().sockets().remove(0)
}

async fn check(over: Over, meanwhile: Meanwhile, then: Then) {
    let what = format!("{over:?}, {meanwhile:?}");
    let store = LateSessions::new();
    let (hubs, brokers) = nodes(3, &Recovery::new().store(store.clone()).stored_only()).await;
    let (client, socket) = Client::enter(&hubs[0], over).await;
    // Its first record is written.
    wait_until(|| store.0.len() == 1).await;
    let id = socket.id();
    store.delay_next();
    socket.join("old").unwrap();
    store.is_given_up().await;
    let change = |hub: &Hub| {
        let socket = socket_of(hub);
        socket.leave("old");
        socket.join("new").unwrap();
    };
    let mut current = None;
    match meanwhile {
        Meanwhile::Moves | Meanwhile::MovesFromWaiting => {
            if let Meanwhile::MovesFromWaiting = meanwhile {
                client.conn.close_now();
                empty(&hubs[0]).await;
            }
            current = Some(client.resume(&hubs[1]).await);
            change(&hubs[1]);
        }
        Meanwhile::Returns => {
            current = Some(client.resume(&hubs[0]).await);
            change(&hubs[0]);
        }
        Meanwhile::Changes => change(&hubs[0]),
        Meanwhile::Ends => {
            socket.close(StatusCode::POLICY_VIOLATION, "").unwrap();
            let reading = async { while client.conn.read().await.is_ok() {} };
            tokio::select! {
                () = reading => {}
                () = empty(&hubs[0]) => {}
            }
            empty(&hubs[0]).await;
        }
    }
    assert!(current.as_ref().is_none_or(|it| it.is_recovered), "{what}");
    // Until all of it is written.
    sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
    store.arrive().await;
    brokers[0].set_group(1);
    sleep(Duration::from_secs(40)).await; // tidy: sleep is the subject
    assert_eq!(hubs[2].nodes().len(), 1, "{what}");
    let last = client.resume(&hubs[2]).await;
    match then {
        Then::InRoom(room) => {
            assert!(last.is_recovered, "{what}");
            let rooms = hubs[2].socket(id).unwrap().rooms();
            assert!(rooms.iter().any(|it| it == room) && rooms.len() == 2, "{what}: {rooms:?}");
        }
        Then::New(reason) => client.check_lost(&last, reason),
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_comes_late_takes_the_place_of_no_newer_one() {
    use Meanwhile::{Changes, Ends, Moves, MovesFromWaiting, Returns};
    // A client with the envelope has another token behind each return.
    let claimed = Then::New("already_claimed");
    for (over, meanwhile, then) in [
        (Over::SocketIo, Moves, Then::InRoom("new")),
        (Over::SocketIo, MovesFromWaiting, Then::InRoom("new")),
        (Over::SocketIo, Returns, Then::InRoom("new")),
        (Over::SocketIo, Changes, Then::InRoom("new")),
        (Over::SocketIo, Ends, Then::New("unknown_session")),
        (Over::Envelope, Moves, claimed),
        (Over::Envelope, MovesFromWaiting, claimed),
        (Over::Envelope, Returns, claimed),
        (Over::Envelope, Changes, Then::InRoom("new")),
        (Over::Envelope, Ends, Then::New("unknown_session")),
    ] {
        check(over, meanwhile, then).await;
    }
}
