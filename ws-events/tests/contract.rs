//! Does the hub have what gofiber's socketio has, with each adapter?
//!
//! One test for each row of its list, over real sockets.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{EventLog, Served, on_each_adapter, read, read_all, wait_until};
use serde::{Serialize, Serializer};
use ws_core::{Message, StatusCode};
use ws_events::{
    ConnectRejection, DisconnectReason, EmitError, Event, EventError, EventPayload, Hub,
    HubBuilder, Json, Overflow, PreparedMessage, SendQueueLimits, SetIdError, Socket, State,
};

/// A hub whose handlers note the seven events and all custom events.
fn listening() -> Hub {
    note_all(Hub::builder())
}

/// As [`listening`], with an envelope.
fn listening_with_envelope() -> Hub {
    note_all(Hub::builder().envelope())
}

fn note_all(builder: HubBuilder) -> Hub {
    let hub = builder.state(EventLog::default()).build();
    for name in ["connect", "message", "ping", "pong", "close", "disconnect", "error"] {
        hub.on(name, note);
    }
    hub.on_any(note);
    hub
}

async fn note(event: EventPayload, State(log): State<EventLog>) {
    let data = String::from_utf8_lossy(event.data()).into_owned();
    let what = match event.error() {
        Some(error) => error.to_string(),
        None => data,
    };
    log.note(format!("{} {} {what}", event.id(), event.name()).trim());
}

fn log(served: &Served) -> EventLog {
    EventLog::clone(&served.hub.state::<EventLog>().unwrap())
}

#[tokio::test]
async fn new_makes_a_connection_a_socket_with_its_request() {
    on_each_adapter(Hub::new, async |served| {
        served.hub.on_connect(async |socket: Socket| {
            let request = socket.request().unwrap();
            let cookie = request.cookie("a").unwrap().to_owned();
            socket.send(format!("{} {cookie} {}", request.uri.path(), socket.id()))
        });
        let conn = served.dial("id=ann").await;
        assert_eq!(read(&conn).await, "/here b ann");
    })
    .await;
}

#[tokio::test]
async fn on_handles_the_seven_events_and_custom_events() {
    on_each_adapter(listening, async |served| {
        let (log, ann) = (log(served), served.enter("ann").await);
        assert_eq!(log.take(1).await, ["ann connect"]);
        ann.write("hello").await.unwrap();
        ann.write(Message::binary("binary")).await.unwrap();
        assert_eq!(log.take(2).await, ["ann message hello", "ann message binary"]);
        served.hub.fire("custom", "data");
        assert_eq!(log.take(1).await, ["ann custom data"]);
        ann.ping_with("p").await.unwrap();
        assert_eq!(log.take(1).await, ["ann ping p"]);
        ann.pong("unasked").unwrap();
        assert_eq!(log.take(1).await, ["ann pong unasked"]);
        served.hub.socket("ann").unwrap().close(StatusCode::NORMAL_CLOSURE, "").unwrap();
        read_all(&ann).await;
        assert_eq!(log.take(2).await, ["ann close", "ann disconnect"]);

        let bob = served.enter("bob").await;
        bob.close_now();
        let gone = log.take(3).await;
        assert_eq!(
            gone,
            [
                "bob connect",
                "bob disconnect the connection ended without a close frame (1006)",
                "bob error the connection ended without a close frame (1006)"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_handler_of_one_socket_gets_its_pings_and_pongs() {
    on_each_adapter(Hub::new, async |served| {
        let ann = served.enter("ann").await;
        let socket = served.hub.socket("ann").unwrap();
        socket.on("ping", async |socket: Socket, text: String| socket.send(text));
        ann.ping_with("a ping").await.unwrap();
        assert_eq!(read(&ann).await, "a ping");
    })
    .await;
}

#[tokio::test]
async fn several_handlers_of_one_event_are_called_in_order_and_removed_one_by_one() {
    on_each_adapter(Hub::new, async |served| {
        let hub = &served.hub;
        let first = hub.on_message(async |socket: Socket| socket.send("first"));
        hub.on("message", async |socket: Socket| socket.send("second"));
        let ann = served.enter("ann").await;
        let socket = hub.socket("ann").unwrap();
        let own = socket.on(Event::Message, async |socket: Socket| socket.send("own"));
        ann.write("").await.unwrap();
        for expected in ["first", "second", "own"] {
            assert_eq!(read(&ann).await, expected);
        }
        assert!(hub.off(first) && !hub.off(first));
        assert!(socket.off(own) && !socket.off(own));
        ann.write("").await.unwrap();
        assert_eq!(read(&ann).await, "second");
        assert_eq!(hub.off_all("message"), 1);
        ann.write("unhandled").await.unwrap();
        // A pong comes after earlier messages were handled.
        ann.ping().await.unwrap();
        hub.on_message(async |socket: Socket, text: String| socket.send(text));
        ann.write("log").await.unwrap();
        assert_eq!(read(&ann).await, "log");
        // Those of other events stay.
        let first = hub.on("say", async |socket: Socket| socket.send("first"));
        hub.on("say", async |socket: Socket| socket.send("second"));
        hub.on("hear", async |socket: Socket| socket.send("hear"));
        assert!(hub.off(first) && !hub.off(first));
        hub.fire("say", "");
        hub.fire("hear", "");
        assert_eq!([read(&ann).await, read(&ann).await], ["second", "hear"]);
    })
    .await;
}

#[tokio::test]
async fn the_payload_has_socket_name_id_attributes_error_and_data() {
    on_each_adapter(Hub::new, async |served| {
        served.hub.on("look", async |event: EventPayload| {
            let color = event.attributes().named::<String>("color").unwrap();
            let known = (event.socket().id(), event.name(), event.id(), event.data());
            event.socket().send(format!("{known:?} {color} {}", event.error().is_none()))
        });
        served.hub.on_error(async |event: EventPayload| {
            event.socket().send(format!("{} {}", event.name(), event.error().unwrap()))
        });
        let ann = served.enter("ann").await;
        let socket = served.hub.socket("ann").unwrap();
        socket.attributes().set("color", "red".to_owned());
        assert!(socket.fire("look", "x"));
        assert_eq!(read(&ann).await, r#"("ann", "look", "ann", [120]) red true"#);
        assert!(socket.send_to("nobody", "").is_err());
        assert_eq!(read(&ann).await, "error no socket has the id nobody");
    })
    .await;
}

#[tokio::test]
async fn emit_sends_to_one_socket() {
    on_each_adapter(
        || Hub::builder().envelope().build(),
        async |served| {
            let ann = served.enter("ann").await;
            let socket = served.hub.socket("ann").unwrap();
            socket.send("text").unwrap();
            socket.send(Message::binary(vec![0, 1])).unwrap();
            socket.emit("event", &("a", 1)).unwrap();
            assert_eq!(read(&ann).await, "text");
            assert_eq!(ann.read().await.unwrap(), Message::binary(vec![0, 1]));
            assert_eq!(read(&ann).await, r#"{"event":"event","data":["a",1]}"#);
        },
    )
    .await;
}

#[tokio::test]
async fn emit_to_sends_by_id_and_fails_for_an_unknown_id() {
    on_each_adapter(listening_with_envelope, async |served| {
        let (ann, bob) = (served.enter("ann").await, served.enter("bob").await);
        log(served).take(2).await;
        let (hub, socket) = (&served.hub, served.hub.socket("ann").unwrap());
        hub.emit_to("bob", "from", "the hub").unwrap();
        socket.send_to("bob", "from ann").unwrap();
        assert_eq!(read(&bob).await, r#"{"event":"from","data":"the hub"}"#);
        assert_eq!(read(&bob).await, "from ann");
        // A socket also gets an error event.
        assert!(matches!(hub.emit_to("eve", "", ""), Err(EmitError::NoSuchId(id)) if id == "eve"));
        assert!(matches!(socket.send_to("eve", ""), Err(EmitError::NoSuchId(_))));
        assert_eq!(log(served).take(1).await, ["ann error no socket has the id eve"]);
        drop(ann);
    })
    .await;
}

#[tokio::test]
async fn emit_to_list_returns_a_result_for_each_id() {
    on_each_adapter(listening_with_envelope, async |served| {
        let (ann, bob) = (served.enter("ann").await, served.enter("bob").await);
        let sent = served.hub.emit_to_list(["ann", "eve", "bob"], "news", "").unwrap();
        let ids: Vec<_> = sent.iter().map(|(id, result)| (id.as_str(), result.is_ok())).collect();
        assert_eq!(ids, [("ann", true), ("eve", false), ("bob", true)]);
        let news = r#"{"event":"news","data":""}"#;
        assert_eq!((read(&ann).await, read(&bob).await), (news.into(), news.into()));
        let delivery = served.hub.ids(["bob", "ann", "bob", "eve"]).send("once");
        assert_eq!((delivery.matched, delivery.queued), (2, 2));
        assert_eq!((read(&ann).await, read(&bob).await), ("once".into(), "once".into()));
    })
    .await;
}

#[tokio::test]
async fn a_broadcast_includes_or_excepts_its_sender() {
    on_each_adapter(Hub::new, async |served| {
        let (ann, bob) = (served.enter("ann").await, served.enter("bob").await);
        let socket = served.hub.socket("ann").unwrap();
        assert_eq!(socket.broadcast().send("others").queued, 1);
        assert_eq!(served.hub.send("everyone").queued, 2);
        assert_eq!(read(&ann).await, "everyone");
        assert_eq!(read(&bob).await, "others");
        assert_eq!(read(&bob).await, "everyone");
    })
    .await;
}

#[tokio::test]
async fn fire_calls_handlers_of_one_socket_or_of_all() {
    on_each_adapter(listening, async |served| {
        let (ann, bob) = (served.enter("ann").await, served.enter("bob").await);
        let log = log(served);
        log.take(2).await;
        assert!(served.hub.socket("ann").unwrap().fire("one", "1"));
        assert_eq!(log.take(1).await, ["ann one 1"]);
        assert_eq!(served.hub.fire("all", "2"), 2);
        let mut all = log.take(2).await;
        all.sort();
        assert_eq!(all, ["ann all 2", "bob all 2"]);
        // Only the hub fires its own events, also by name.
        for own in ["connect", "message", "close", "disconnect", "error", "room_leave"] {
            assert!(!served.hub.socket("ann").unwrap().fire(own, ""), "{own}");
            assert_eq!(served.hub.fire(own, ""), 0, "{own}");
        }
        assert!(served.hub.socket("ann").unwrap().fire("one", "3"));
        assert_eq!(log.take(1).await, ["ann one 3"]);
        // Nothing was sent.
        served.hub.send("end");
        assert_eq!((read(&ann).await, read(&bob).await), ("end".into(), "end".into()));
    })
    .await;
}

#[tokio::test]
async fn attributes_are_kept_by_name_and_by_type_until_disconnect_is_handled() {
    #[derive(Clone, Debug, PartialEq)]
    struct Points(u32);
    on_each_adapter(listening, async |served| {
        served.hub.on_disconnect(async |socket: Socket, State(log): State<EventLog>| {
            let named = socket.attributes().named::<i64>("int");
            let typed = socket.attributes().get::<Points>();
            log.note(format!("{named:?} {typed:?} {}", socket.request().is_some()));
        });
        let ann = served.enter("ann").await;
        let socket = served.hub.socket("ann").unwrap();
        let attributes = socket.attributes();
        attributes.set("int", 1_i64);
        attributes.set("text", "x".to_owned());
        attributes.insert(Points(3));
        assert_eq!(attributes.named::<i64>("int"), Some(1));
        assert_eq!(attributes.named::<String>("text").as_deref(), Some("x"));
        // With another type there is no value.
        assert_eq!(attributes.named::<String>("int"), None);
        ann.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        let log = log(served).take(3).await;
        assert_eq!(log[2], "Some(1) Some(Points(3)) true");
        wait_until(|| attributes.get::<Points>().is_none()).await;
        assert!(socket.conn().is_none() && socket.request().is_none());
    })
    .await;
}

#[tokio::test]
async fn an_id_is_a_uuid_until_it_is_set_and_a_taken_id_is_an_error() {
    on_each_adapter(Hub::new, async |served| {
        served.hub.on_connect(async |socket: Socket| socket.send(socket.id().to_string()));
        let conn = served.dial("").await;
        let id = read(&conn).await;
        assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'), "{id}");
        let bob = served.enter("bob").await;
        let socket = served.hub.socket(&id).unwrap();
        assert_eq!(socket.set_id("bob"), Err(SetIdError::Taken));
        assert_eq!(socket.id(), &*id);
        socket.set_id("ann").unwrap();
        socket.set_id("ann").unwrap();
        assert!(served.hub.socket(&id).is_none());
        assert!(served.hub.socket("ann").unwrap() == socket);
        assert_eq!(served.hub.ids(["ann"]).send("found").queued, 1);
        assert_eq!(read(&conn).await, "found");
        drop(bob);
        conn.close(StatusCode::NORMAL_CLOSURE, "").await.unwrap();
        wait_until(|| served.hub.socket("ann").is_none()).await;
        assert_eq!(socket.set_id("late"), Err(SetIdError::Closed));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_requests_a_taken_id_is_rejected() {
    on_each_adapter(Hub::new, async |served| {
        let ann = served.enter("ann").await;
        let other = served.dial("id=ann").await;
        assert_eq!(read_all(&other).await, (vec![], Some(1008)));
        assert_eq!((served.hub.len(), served.hub.stats().rejected), (1, 1));
        drop(ann);
    })
    .await;
}

#[tokio::test]
async fn close_sends_code_and_reason_and_causes_close_then_disconnect() {
    on_each_adapter(listening, async |served| {
        let ann = served.enter("ann").await;
        let socket = served.hub.socket("ann").unwrap();
        assert!(socket.close(StatusCode::NO_STATUS_RECEIVED, "with a reason").is_err());
        assert!(socket.close(StatusCode::NORMAL_CLOSURE, &"x".repeat(124)).is_err());
        assert!(socket.is_alive());
        socket.send("before").unwrap();
        socket.close(StatusCode::try_from(4001).unwrap(), "enough").unwrap();
        socket.close(StatusCode::NORMAL_CLOSURE, "the first counts").unwrap();
        assert!(!socket.is_alive());
        assert!(matches!(socket.send("after"), Err(EmitError::Closed)));
        assert_eq!(read_all(&ann).await, (vec![Message::from("before")], Some(4001)));
        assert_eq!(ann.close_info().unwrap().received.unwrap().reason, "enough");
        let log = log(served).take(3).await;
        assert_eq!(log, ["ann connect", "ann close", "ann disconnect"]);
    })
    .await;
}

#[tokio::test]
async fn is_alive_and_the_connection_are_available() {
    on_each_adapter(Hub::new, async |served| {
        let ann = served.enter("ann").await;
        let socket = served.hub.socket("ann").unwrap();
        assert!(socket.is_alive());
        assert_eq!(socket.peer_addr(), ann.local_addr());
        let reading = tokio::spawn(async move { read_all(&ann).await });
        let conn = socket.conn().unwrap();
        assert!(conn.ping().await.unwrap() < Duration::from_secs(5));
        conn.close(StatusCode::GOING_AWAY, "past the hub").await.unwrap();
        drop(conn);
        assert_eq!(reading.await.unwrap().1, Some(1001));
        wait_until(|| !socket.is_alive()).await;
    })
    .await;
}

#[tokio::test]
async fn drain_closes_all_waits_and_rejects_new_connections() {
    on_each_adapter(listening, async |served| {
        let (ann, bob) = (served.enter("ann").await, served.enter("bob").await);
        assert!(!served.hub.is_draining());
        served.hub.send("last");
        let clients = tokio::spawn(async move { (read_all(&ann).await, read_all(&bob).await) });
        let drained = served.hub.drain(Duration::from_secs(10)).await;
        assert_eq!((drained.notified, drained.aborted, drained.remaining), (2, 0, 0));
        let last = (vec![Message::from("last")], Some(1001));
        assert_eq!(clients.await.unwrap(), (last.clone(), last));
        assert!(served.hub.is_draining() && served.hub.is_empty());
        let late = served.dial("id=eve").await;
        assert_eq!(read_all(&late).await, (vec![], Some(1001)));
        assert_eq!(served.hub.stats().rejected, 1);
        assert_eq!(log(served).so_far().iter().filter(|it| it.contains("disconnect")).count(), 2);
    })
    .await;
}

#[tokio::test]
async fn close_all_closes_all_and_accepts_new_connections() {
    on_each_adapter(Hub::new, async |served| {
        let (ann, bob) = (served.enter("ann").await, served.enter("bob").await);
        assert_eq!(served.hub.close_all(StatusCode::SERVICE_RESTART, "restart").unwrap(), 2);
        assert_eq!(read_all(&ann).await.1, Some(1012));
        assert_eq!(read_all(&bob).await.1, Some(1012));
        wait_until(|| served.hub.is_empty()).await;
        let ann = served.enter("ann").await;
        assert_eq!(served.hub.send("hello").queued, 1);
        assert_eq!(read(&ann).await, "hello");
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_panics_or_fails_causes_an_error_event_and_the_hub_continues() {
    on_each_adapter(listening, async |served| {
        served.hub.on_message(async |text: String| match &*text {
            "panic" => panic!("what"),
            "fail" => Err("not good"),
            _ => Ok(()),
        });
        served.hub.on_message(async |socket: Socket, message: Message| socket.send(message));
        served.hub.on_message(async |_number: Json<u8>| {});
        let (ann, bob) = (served.enter("ann").await, served.enter("bob").await);
        let log = log(served);
        log.take(2).await;
        ann.write("panic").await.unwrap();
        // Later handlers are still called.
        assert_eq!(read(&ann).await, "panic");
        let events = log.take(3).await;
        assert_eq!(events[1], "ann error a handler of `message` has panicked: what");
        assert!(events[2].starts_with("ann error the data of `message` is not what"), "{events:?}");
        ann.write("fail").await.unwrap();
        assert_eq!(read(&ann).await, "fail");
        let events = log.take(3).await;
        assert_eq!(events[1], "ann error a handler of `message` has failed: not good");
        bob.write("1").await.unwrap();
        assert_eq!(read(&bob).await, "1");
    })
    .await;
}

#[tokio::test]
async fn a_normal_close_is_not_an_error_and_a_lost_connection_is() {
    /// How the client ends → whether that is an error.
    const ROWS: [(Option<u16>, bool); 5] = [
        (Some(1000), false),
        (Some(1001), false),
        (Some(1005), false),
        (Some(4000), true),
        (None, true),
    ];
    on_each_adapter(listening, async |served| {
        served.hub.on_disconnect(async |reason: DisconnectReason, State(log): State<EventLog>| {
            log.note(if matches!(reason, DisconnectReason::Peer(_)) { "peer" } else { "lost" });
        });
        for (code, error) in ROWS {
            let ann = served.enter("ann").await;
            let code = code.map(|code| StatusCode::try_from(code).unwrap());
            match code {
                Some(code) => ann.close(code, "").await.unwrap(),
                None => ann.close_now(),
            }
            let log = log(served).take(if error { 4 } else { 3 }).await;
            assert_eq!(log[2], if code.is_some() { "peer" } else { "lost" });
            assert_eq!(log.get(3).is_some(), error, "{log:?}");
            wait_until(|| served.hub.socket("ann").is_none()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_limits_of_the_send_queue_are_a_setting() {
    let limits = SendQueueLimits::new().bytes(20).messages(2).overflow(Overflow::DropNewest);
    on_each_adapter(
        || Hub::builder().send_queue(limits.clone()).state(EventLog::default()).build(),
        async |served| {
            // The task writes after the handler has returned.
            served.hub.on_connect(async |socket: Socket, State(log): State<EventLog>| {
                // A single message may be larger.
                for text in ["longer than twenty bytes", "no room"] {
                    log.note(format!("{:?}", socket.send(text).is_ok()));
                }
            });
            served.hub.on_message(async |socket: Socket, State(log): State<EventLog>| {
                for text in ["one", "two", "one too many"] {
                    log.note(format!("{:?}", socket.send(text).is_ok()));
                }
            });
            let ann = served.enter("ann").await;
            assert_eq!(read(&ann).await, "longer than twenty bytes");
            ann.write("").await.unwrap();
            assert_eq!((read(&ann).await, read(&ann).await), ("one".into(), "two".into()));
            served.hub.send("end");
            assert_eq!(read(&ann).await, "end");
            assert_eq!(log(served).take(5).await, ["true", "false", "true", "true", "false"]);
        },
    )
    .await;
}

#[tokio::test]
async fn a_message_keeps_its_type() {
    on_each_adapter(Hub::new, async |served| {
        served.hub.on_message(async |socket: Socket, message: Message| {
            socket.send(format!("{:?}", message.kind()))?;
            socket.send(message)
        });
        let ann = served.enter("ann").await;
        for (message, kind) in
            [(Message::from("text"), "Text"), (Message::binary("binary"), "Binary")]
        {
            ann.write(message.clone()).await.unwrap();
            assert_eq!(read(&ann).await, kind);
            assert_eq!(ann.read().await.unwrap(), message);
        }
    })
    .await;
}

/// Counts how often it is serialised.
struct Counted<'a>(&'a AtomicUsize);

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        serializer.serialize_unit()
    }
}

#[tokio::test]
async fn an_event_is_encoded_once_for_all_recipients_by_each_call() {
    on_each_adapter(
        || Hub::builder().envelope().build(),
        async |served| {
            let (ann, bob) = (served.enter("ann").await, served.enter("bob").await);
            let (hub, socket) = (&served.hub, served.hub.socket("ann").unwrap());
            let count = AtomicUsize::new(0);
            let data = Counted(&count);
            hub.emit("1", &data).unwrap();
            hub.to("all").emit("2", &data).unwrap();
            hub.emit_to("bob", "3", &data).unwrap();
            socket.emit_to("bob", "4", &data).unwrap();
            let all = |sent: &[(_, Result<_, _>)]| sent.iter().all(|(_, sent)| sent.is_ok());
            assert!(all(&hub.emit_to_list(["ann", "bob"], "5", &data).unwrap()));
            assert!(all(&socket.emit_to_list(["ann", "bob"], "6", &data).unwrap()));
            socket.emit_wait("7", &data).await.unwrap();
            socket.send_wait("waited").await.unwrap();
            assert_eq!(hub.ids(["ann"]).volatile().emit("8", &data).unwrap().matched, 1);
            assert_eq!(count.load(Ordering::SeqCst), 8);
            let prepared = PreparedMessage::new("prepared");
            socket.send_prepared(&prepared).unwrap();
            assert_eq!(hub.everyone().send_prepared(&prepared).queued, 2);
            let event = |name: &str| format!(r#"{{"event":"{name}","data":null}}"#);
            for name in ["1", "2", "3", "4", "5", "6"] {
                assert_eq!(read(&bob).await, event(name));
            }
            assert_eq!(read(&bob).await, "prepared");
            for name in ["1", "2", "5", "6", "7"] {
                assert_eq!(read(&ann).await, event(name));
            }
            assert_eq!(read(&ann).await, "waited");
            // A volatile message may be skipped if the transport is slow for a moment.
            let next = read(&ann).await;
            let next = if next == event("8") { read(&ann).await } else { next };
            assert_eq!((next.as_str(), read(&ann).await.as_str()), ("prepared", "prepared"));
        },
    )
    .await;
}

#[tokio::test]
async fn middleware_rejects_with_1008_or_its_own_code_and_no_handler_is_called() {
    on_each_adapter(listening, async |served| {
        served.hub.middleware(async |socket: Socket| {
            let other = StatusCode::try_from(4003).unwrap();
            assert!(socket.join("too early").is_err());
            let request = socket.request().unwrap();
            match request.query("key").as_deref() {
                Some("good") => Ok(()),
                Some("other") => Err(ConnectRejection::new("other").code(other)),
                Some("long") => Err(ConnectRejection::new("ä".repeat(100)).code(other)),
                Some("unsendable") => {
                    Err(ConnectRejection::new("x").code(StatusCode::ABNORMAL_CLOSURE))
                }
                _ => Err(ConnectRejection::new("no key")),
            }
        });
        for (query, code, reason) in [
            ("", 1008, "no key"),
            ("key=other", 4003, "other"),
            ("key=long", 4003, &"ä".repeat(61)),
            ("key=unsendable", 1008, "x"),
        ] {
            let refused = served.dial(query).await;
            assert_eq!(read_all(&refused).await, (vec![], Some(code)), "{query}");
            assert_eq!(refused.close_info().unwrap().received.unwrap().reason, reason);
        }
        let ann = served.dial("key=good&id=ann").await;
        assert_eq!(log(served).take(1).await, ["ann connect"]);
        let stats = served.hub.stats();
        assert_eq!((stats.sockets, stats.connected, stats.rejected), (1, 1, 4));
        drop(ann);
    })
    .await;
}

#[tokio::test]
async fn errors_are_values() {
    on_each_adapter(listening_with_envelope, async |served| {
        served.hub.on_error(async |socket: Socket, error: EventError| {
            let EventError::NoSuchId(id) = error else { return Ok(()) };
            socket.send(id.as_str())
        });
        let ann = served.enter("ann").await;
        let sent = served.hub.socket("ann").unwrap().emit_to_list(["x", "ann"], "y", "").unwrap();
        assert!(sent[0].1.is_err() && sent[1].1.is_ok());
        let mut got = [read(&ann).await, read(&ann).await];
        got.sort();
        assert_eq!(got, ["x", r#"{"event":"y","data":""}"#]);
    })
    .await;
}
