//! What does a socket of each protocol get, and what does it mean when it sends?

use std::time::Duration;

use crate::support::{EventLog, Over, TIMEOUT, serve_socketio, wait_until};
use tokio::time::timeout;
use ws_core::conn::pair_with;
use ws_core::{Compression, Config, Conn, Message, pair};
use ws_events::{Bytes, Event, EventError, EventPayload, Hub, Protocol, Socket, State};

/// A client of a hub, over this protocol, in the room `all`.
async fn join(hub: &Hub, protocol: Protocol) -> Conn {
    let (client, server) = pair();
    let before = hub.to("all").count();
    let serving = hub.clone();
    tokio::spawn(async move { serving.serve_as(server, protocol).await });
    wait_until(|| hub.to("all").count() > before).await;
    client
}

fn hub() -> Hub {
    let hub = Hub::builder().envelope().state(EventLog::default()).build();
    hub.on_connect(async |socket: Socket| socket.join("all"));
    hub
}

/// As `join`, over Socket.IO. Returns the client in the root namespace.
async fn join_socketio(hub: &Hub) -> Conn {
    let (client, server) = pair();
    join_socketio_over(hub, client, server).await
}

async fn join_socketio_over(hub: &Hub, client: Conn, server: Conn) -> Conn {
    let before = hub.to("all").count();
    serve_socketio(hub, server);
    client.write("40").await.unwrap();
    wait_until(|| hub.to("all").count() > before).await;
    for start in ["0{", "40{"] {
        assert!(next(&client).await.as_text().unwrap().starts_with(start));
    }
    client
}

/// As `join`, over this protocol.
async fn join_over(hub: &Hub, over: Over) -> Conn {
    match over {
        Over::Plain => join(hub, Protocol::Plain).await,
        Over::Envelope => join(hub, Protocol::Envelope).await,
        Over::SocketIo => join_socketio(hub).await,
    }
}

async fn next(client: &Conn) -> Message {
    timeout(TIMEOUT, client.read()).await.unwrap().unwrap()
}

/// A packet with an attachment: its text, and the bytes.
fn with_attachment(text: &str, bytes: &'static [u8]) -> Vec<Message> {
    let packet = text.replace('*', r#"{"_placeholder":true,"num":0}"#);
    vec![packet.into(), Message::binary(bytes)]
}

/// Each row has what a client gets for an event, an event with bytes, a text, and bytes.
#[tokio::test]
async fn each_protocol_carries_events_text_and_binary_as_the_table_says() {
    let hub = hub();
    let bytes = Bytes::from_static(b"\0\xFF");
    let binary = Message::binary(bytes.clone());
    let one = |text: &str| vec![Message::from(text)];
    let rows: [(Over, [Vec<Message>; 4]); 3] = [
        (Over::Plain, [one(r#"[1,"a"]"#), one(r#"["AP8="]"#), one("text"), vec![binary.clone()]]),
        (
            Over::Envelope,
            [
                one(r#"{"event":"e","data":[1,"a"]}"#),
                one(r#"{"event":"e","data":["AP8="]}"#),
                one("text"),
                vec![binary.clone()],
            ],
        ),
        (
            Over::SocketIo,
            [
                one(r#"42["e",1,"a"]"#),
                with_attachment(r#"451-["e",*]"#, b"\0\xFF"),
                one(r#"42["message","text"]"#),
                with_attachment(r#"451-["message",*]"#, b"\0\xFF"),
            ],
        ),
    ];
    for (over, expected) in rows {
        let client = join_over(&hub, over).await;
        let socket = hub.everyone().sockets().remove(0);
        hub.to("all").emit("e", &(1, "a")).unwrap();
        socket.emit("e", &(bytes.clone(),)).unwrap();
        socket.send("text").unwrap();
        hub.to("all").send(binary.clone());
        for expected in expected.concat() {
            assert_eq!(next(&client).await, expected, "{over:?}");
        }
        client.close_now();
        wait_until(|| hub.is_empty()).await;
    }
}

/// Each row has what a client sends, as an event, a text and bytes, and what the handlers get.
#[tokio::test]
async fn what_a_socket_sends_is_an_event_or_a_message_as_the_table_says() {
    let hub = hub();
    let log = hub.state::<EventLog>().unwrap();
    hub.on_message(async |payload: EventPayload, State(log): State<EventLog>| {
        log.note(format!("message {:?}", payload.message().unwrap()));
    });
    hub.on_any(async |event: Event, data: String, State(log): State<EventLog>| {
        log.note(format!("{event} {data}"));
    });
    hub.on_error(async |error: EventError, State(log): State<EventLog>| {
        assert!(matches!(error, EventError::Malformed(_)));
        log.note("malformed");
    });
    let event = Message::from(r#"{"event":"e","data":1}"#);
    let sent = || vec![event.clone(), "text".into(), Message::binary("b")];
    let mut packets = vec![Message::from(r#"42["e",1]"#), r#"42["message","text"]"#.into()];
    packets.extend(with_attachment(r#"451-["message",*]"#, b"b"));
    let plain_event = format!("message {event:?}");
    let (text, binary) = (r#"message Text("text")"#, r#"message Binary(b"b")"#);
    for (over, sent, expected) in [
        (Over::Plain, sent(), [&*plain_event, text, binary]),
        (Over::Envelope, sent(), ["e 1", "malformed", binary]),
        (Over::SocketIo, packets, ["e 1", text, binary]),
    ] {
        let client = join_over(&hub, over).await;
        for message in sent {
            client.write(message).await.unwrap();
        }
        assert_eq!(log.take(3).await, expected, "{over:?}");
        client.close_now();
        wait_until(|| hub.is_empty()).await;
    }
}

#[tokio::test]
async fn sockets_of_all_protocols_get_the_same_messages_in_the_same_order() {
    const MESSAGES: usize = 1000;
    let hub = hub();
    let mut clients = Vec::new();
    for protocol in [Protocol::Plain, Protocol::Envelope, Protocol::Plain, Protocol::Envelope] {
        clients.push((protocol, join(&hub, protocol).await));
    }
    let socketio_clients = [join_socketio(&hub).await, join_socketio(&hub).await];
    let sending: Vec<_> = (0..4)
        .map(|sender| {
            let hub = hub.clone();
            tokio::spawn(async move {
                for n in 0..MESSAGES / 4 {
                    hub.to("all").emit("n", &(sender * MESSAGES + n)).unwrap();
                    // So that no send queue overflows.
                    if n % 50 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    let mut socketio = Vec::new();
    for client in &socketio_clients {
        for _ in 0..MESSAGES {
            let message = next(client).await;
            let json = message.as_text().unwrap().strip_prefix("42").unwrap();
            let (name, n): (String, u64) = serde_json::from_str(json).unwrap();
            assert_eq!(name, "n");
            socketio.push(n);
        }
    }
    let (first, second) = socketio.split_at(MESSAGES);
    let mut orders = vec![first.to_vec(), second.to_vec()];
    for (protocol, client) in &clients {
        let mut order = Vec::new();
        for _ in 0..MESSAGES {
            let message = next(client).await;
            let json: serde_json::Value = serde_json::from_slice(message.as_bytes()).unwrap();
            let n = if *protocol == Protocol::Plain { json } else { json["data"].clone() };
            order.push(n.as_u64().unwrap());
        }
        orders.push(order);
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
    for task in sending {
        timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_check_of_events_keeps_them_from_their_handlers_with_each_protocol() {
    let hub = Hub::builder()
        .envelope()
        .state(EventLog::default())
        .event_middleware(async |payload: EventPayload| match payload.data() {
            data if data.starts_with(b"\"bad") || data.starts_with(b"bad") => Err("bad"),
            _ => Ok(()),
        })
        .event_middleware(async |State(log): State<EventLog>| log.note("checked"))
        .build();
    hub.on_connect(async |socket: Socket| socket.join("all"));
    let log = hub.state::<EventLog>().unwrap();
    hub.on("say", async |data: String, State(log): State<EventLog>| log.note(data));
    hub.on_message(async |data: String, State(log): State<EventLog>| log.note(data));
    hub.on_error(async |error: EventError, State(log): State<EventLog>| log.note(error));
    let clients = [
        (join(&hub, Protocol::Plain).await, ["bad", "good"]),
        (
            join(&hub, Protocol::Envelope).await,
            [r#"{"event":"say","data":"bad","id":1}"#, r#"{"event":"say","data":"good","id":2}"#],
        ),
        (join_socketio(&hub).await, [r#"421["say","bad"]"#, r#"422["say","good"]"#]),
    ];
    for (client, packets) in &clients {
        for packet in packets {
            client.write(*packet).await.unwrap();
        }
        let seen = log.take(3).await;
        assert!(seen[0].ends_with("bad"), "{seen:?}");
        assert_eq!((&*seen[1], seen[2].trim_matches('"')), ("checked", "good"));
        if packets[0] != "bad" {
            // An event that is kept back has no answer.
            let answer = next(client).await;
            let answers = [r#"{"ack":2,"data":null}"#, "432[]"];
            assert!(answers.contains(&answer.as_text().unwrap()), "{answer:?}");
        }
    }
    // What the server fires is not checked.
    assert_eq!(hub.fire("say", "bad"), 3);
    assert_eq!(log.take(3).await, ["bad"; 3]);
}

/// Two connections that compress messages of any size.
fn compressing_pair() -> (Conn, Conn) {
    let config = || Config::new().compression(Compression::context_takeover().threshold(0));
    pair_with(config(), config())
}

/// Tells of each frame whether it is compressed.
fn compressed_frames(conn: &Conn) -> std::sync::mpsc::Receiver<bool> {
    let (seen, frames) = std::sync::mpsc::channel();
    conn.frames().tap(move |frame| _ = seen.send(frame.header.rsv1));
    frames
}

#[tokio::test]
async fn an_uncompressed_broadcast_is_not_compressed() {
    let hub = hub();
    let (client, server) = compressing_pair();
    let frames = compressed_frames(&client);
    let serving = hub.clone();
    tokio::spawn(async move { serving.serve(server).await });
    wait_until(|| hub.to("all").count() == 1).await;
    let data = "x".repeat(1000);
    hub.to("all").emit("e", &data).unwrap();
    hub.to("all").uncompressed().emit("e", &data).unwrap();
    hub.to("all").uncompressed().send(data);
    for expected in [true, false, false] {
        next(&client).await;
        assert_eq!(frames.recv(), Ok(expected));
    }
}

/// Neither the text of a packet nor its attachments.
#[tokio::test]
async fn no_part_of_an_uncompressed_broadcast_is_compressed() {
    let hub = hub();
    let (client, server) = compressing_pair();
    let client = join_socketio_over(&hub, client, server).await;
    let frames = compressed_frames(&client);
    let data = (1, Bytes::from(vec![b'x'; 1000]), Bytes::from(vec![b'y'; 1000]));
    hub.to("all").emit("e", &data).unwrap();
    hub.to("all").uncompressed().emit("e", &data).unwrap();
    hub.to("all").send(Message::binary(vec![b'x'; 1000]));
    hub.to("all").uncompressed().send(Message::binary(vec![b'x'; 1000]));
    let compressed = [[true; 3].as_slice(), &[false; 3], &[true; 2], &[false; 2]].concat();
    for expected in compressed {
        let message = next(&client).await;
        assert_eq!(frames.recv(), Ok(expected), "{message:?}");
    }
}
