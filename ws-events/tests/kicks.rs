//! Does a session end with the kick of its socket, whenever and on whichever node its client comes back?

use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::recovery::{GatedSessions, connect_socketio};
use crate::sessions::{Client, Over, nodes};
use crate::support::{TIMEOUT, serve_socketio, wait_until};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use ws_core::{Message, pair};
use ws_events::broker::LoopbackBroker;
use ws_events::{Hub, MemorySessions, Recovery, Socket, StatusCode};

const KICKED: StatusCode = StatusCode::POLICY_VIOLATION;

/// How the application closes a socket for good.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kick {
    Socket,
    Broadcast,
    /// With the sockets of its other namespaces.
    Session,
    /// As another node does it.
    Elsewhere,
    Connection,
    /// After a close that lets the client come back.
    AfterLater,
}

impl Kick {
    async fn carry_out(self, socket: &Socket, elsewhere: &Hub) {
        match self {
            Self::Socket => socket.close(KICKED, "no").unwrap(),
            Self::Broadcast => {
                assert_eq!(socket.hub().to("room").local().close(KICKED, "no").unwrap(), 1);
            }
            Self::Session => socket.close_session(KICKED, "no").unwrap(),
            Self::Elsewhere => {
                elsewhere.to("room").close(KICKED, "no").unwrap();
                wait_until(|| !socket.is_alive()).await;
            }
            Self::Connection => {
                let conn = socket.conn().unwrap();
                tokio::spawn(async move { conn.close(KICKED, "no").await });
                // Its close frame is on its way.
                tokio::task::yield_now().await;
            }
            Self::AfterLater => {
                socket.close(StatusCode::SERVICE_RESTART, "").unwrap();
                socket.close(KICKED, "no").unwrap();
            }
        }
    }
}

/// Two nodes, and a client on the first, whose handler of an event runs until the gate is opened.
struct Held {
    hubs: Vec<Hub>,
    brokers: Vec<LoopbackBroker>,
    client: Client,
    socket: Socket,
    gate: Arc<Semaphore>,
}

impl Held {
    async fn new(over: Over, recovery: Recovery) -> Self {
        let (hubs, brokers) = nodes(2, &recovery).await;
        let (gate, held) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (handler_gate, handler_held) = (Arc::clone(&gate), Arc::clone(&held));
        hubs[0].on("hold", move |_: Socket| {
            let (gate, held) = (Arc::clone(&handler_gate), Arc::clone(&handler_held));
            async move {
                held.add_permits(1);
                gate.acquire().await.unwrap().forget();
            }
        });
        let (client, socket) = Client::enter(&hubs[0], over).await;
        let hold = match over {
            Over::Envelope => json!({"event": "hold", "data": null}).to_string(),
            Over::SocketIo => r#"42["hold"]"#.to_owned(),
        };
        client.conn.write(hold).await.unwrap();
        held.acquire().await.unwrap().forget();
        Self { hubs, brokers, client, socket, gate }
    }

    /// Only now the client reads its close frame. That of a namespace of Socket.IO has no answer.
    async fn answer_close(&self, over: Over) {
        if over == Over::Envelope {
            timeout(TIMEOUT, self.client.conn.closed()).await.unwrap();
        }
    }

    /// The first node dies, and the client comes to the second one.
    async fn resume_after_death(&self) -> Client {
        self.brokers[0].set_group(1);
        sleep(Duration::from_secs(60)).await; // tidy: sleep is the subject
        assert!(self.hubs[1].nodes().is_empty());
        self.client.resume(&self.hubs[1]).await
    }
}

/// A client that does not answer its close frame comes back to this node → its session is a new one, at
/// once.
async fn check(over: Over, kick: Kick, place: usize) {
    let what = format!("{over:?}, {kick:?}, on {place}");
    println!("{what}");
    let sessions = MemorySessions::new();
    let recovery = Recovery::new().store(sessions.clone()).stored_only();
    let held = Held::new(over, recovery).await;
    let id = held.socket.id();
    kick.carry_out(&held.socket, &held.hubs[1]).await;
    if kick == Kick::Connection {
        // Nobody but the connection knows of it.
        held.gate.add_permits(1);
    }
    let again = held.client.resume(&held.hubs[place]).await;
    held.client.check_lost(&again, "unknown_session");
    held.gate.add_permits(1);
    held.answer_close(over).await;
    wait_until(|| held.hubs[0].len() == 1 - place).await;
    for hub in &held.hubs {
        assert!(hub.socket(&id).is_none(), "{what}");
        assert!(!held.client.resume(hub).await.is_recovered, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kicked_session_is_not_recovered_although_the_client_does_not_wait_for_the_end() {
    for place in [0, 1] {
        for over in [Over::Envelope, Over::SocketIo] {
            for kick in
                [Kick::Socket, Kick::Broadcast, Kick::Session, Kick::Elsewhere, Kick::AfterLater]
            {
                check(over, kick, place).await;
            }
        }
        check(Over::Envelope, Kick::Connection, place).await;
    }
}

/// A code that means "later" is no kick.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_closed_for_later_is_recovered_before_the_end_of_its_connection() {
    for over in [Over::Envelope, Over::SocketIo] {
        for place in [0, 1] {
            let recovery = Recovery::new().store(MemorySessions::new());
            let held = Held::new(over, recovery).await;
            held.socket.close(StatusCode::SERVICE_RESTART, "").unwrap();
            held.gate.add_permits(1);
            let again = held.client.resume(&held.hubs[place]).await;
            assert!(again.is_recovered, "{over:?}, {place}: {:?}", again.reason);
            assert!(held.hubs[place].socket(held.socket.id()).is_some());
        }
    }
}

/// The other node has asked for the session already, and waits for the handler.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_kicked_while_another_node_waits_for_it_is_not_recovered() {
    for over in [Over::Envelope, Over::SocketIo] {
        // Only what is written late may come behind the end of the session.
        let store = GatedSessions(MemorySessions::new(), || async {
            sleep(Duration::from_millis(500)).await; // tidy: sleep is the subject
            Ok(())
        });
        let held = Held::new(over, Recovery::new().store(store).stored_only()).await;
        // Its record is written.
        sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
        let kick = async {
            // The claim has ended the connection by then.
            sleep(Duration::from_secs(1)).await; // tidy: sleep is the subject
            held.socket.close(KICKED, "no").unwrap();
        };
        let (again, ()) = tokio::join!(held.client.resume(&held.hubs[1]), kick);
        held.client.check_lost(&again, "unknown_session");
        // The handler still runs.
        assert!(!held.resume_after_death().await.is_recovered, "{over:?}");
    }
}

/// What happens to the socket behind its kick → its record does not come back.
#[tokio::test(start_paused = true)]
async fn a_kicked_session_does_not_outlive_its_node_whatever_its_socket_does_behind_the_kick() {
    for over in [Over::Envelope, Over::SocketIo] {
        let sessions = MemorySessions::new();
        let recovery = Recovery::new().store(sessions.clone()).stored_only();
        let held = Held::new(over, recovery).await;
        wait_until(|| sessions.len() == 1).await;
        held.socket.close(KICKED, "no").unwrap();
        // Before the record is deleted.
        held.socket.join("other").unwrap();
        assert!(!held.resume_after_death().await.is_recovered, "{over:?}");
    }
}

/// Its handler of `connect` does not return, and its node dies.
#[tokio::test(start_paused = true)]
async fn a_socket_that_middleware_kicks_has_no_session() {
    let recovery = Recovery::new().store(MemorySessions::new()).stored_only();
    let (hubs, brokers) = nodes(2, &recovery).await;
    for (is_kicked, expected) in [(true, false), (false, true)] {
        let kicks = AtomicBool::new(is_kicked);
        hubs[0].middleware(move |socket: Socket| {
            if kicks.swap(false, SeqCst) {
                socket.close(KICKED, "no").unwrap();
            }
            ready(Ok::<_, ws_events::ConnectRejection>(()))
        });
        hubs[0].on_connect(|_: Socket| pending::<()>());
        let (_conn, token, _) = connect_socketio(hubs[0].clone(), None, None).await;
        // What is written of it is written.
        sleep(Duration::from_secs(5)).await; // tidy: sleep is the subject
        brokers[0].set_group(1);
        sleep(Duration::from_secs(60)).await; // tidy: sleep is the subject
        let (_conn, _, recovered) = connect_socketio(hubs[1].clone(), Some(token), None).await;
        assert_eq!(recovered, expected, "kicked: {is_kicked}");
        brokers[0].set_group(0);
        sleep(Duration::from_secs(60)).await; // tidy: sleep is the subject
    }
}

/// A session of Socket.IO with sockets in two namespaces. Returns the connection, and the token of each.
async fn connect_both(hub: &Hub, tokens: [Option<&str>; 2]) -> (ws_core::Conn, [String; 2]) {
    let (conn, server) = pair();
    serve_socketio(hub, server);
    let text = |message: Message| message.as_text().unwrap().to_owned();
    assert!(text(conn.read().await.unwrap()).starts_with('0'));
    let mut answers = [String::new(), String::new()];
    for (at, prefix) in ["40", "40/other,"].into_iter().enumerate() {
        conn.write(format!("{prefix}{}", json!({"pid": tokens[at]}))).await.unwrap();
        let answer = text(conn.read().await.unwrap());
        let answer: serde_json::Value =
            serde_json::from_str(answer.strip_prefix(prefix).unwrap()).unwrap();
        answers[at] = answer["pid"].as_str().unwrap().to_owned();
    }
    (conn, answers)
}

/// The whole session of a client is closed with this code, or not at all, before it comes back with both
/// tokens → whether it gets its sockets back.
async fn check_namespaces(code: Option<StatusCode>, expected: bool) {
    let hub = Hub::builder().envelope().recovery(Recovery::new()).build();
    let other = hub.of("/other");
    let (_conn, tokens) = connect_both(&hub, [None, None]).await;
    wait_until(|| hub.len() == 1 && other.len() == 1).await;
    let socket = hub.everyone().sockets().remove(0);
    if let Some(code) = code {
        socket.close_session(code, "").unwrap();
    }
    let shown = [Some(tokens[0].as_str()), Some(tokens[1].as_str())];
    let (_again, got) = connect_both(&hub, shown).await;
    let is_recovered: Vec<_> = got.iter().zip(&tokens).map(|(got, own)| got == own).collect();
    assert_eq!(is_recovered, [expected; 2], "{code:?}");
}

#[tokio::test(start_paused = true)]
async fn the_sockets_of_all_namespaces_are_recovered_or_kicked_together() {
    check_namespaces(None, true).await;
    check_namespaces(Some(StatusCode::SERVICE_RESTART), true).await;
    check_namespaces(Some(KICKED), false).await;
}
