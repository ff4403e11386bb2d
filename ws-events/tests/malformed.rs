//! Does each line of the tables of malformed input hold?
//!
//! The tables are in the documentation of `engine` and `socketio`. A test has a row for each line, and
//! compares its result with the other cell.

use std::pin::Pin;
use std::time::Duration;

use crate::support::{EventLog, Over, TIMEOUT, serve_over, wait_until};
use bytes::Bytes;
use futures::future::join;
use tokio::time::timeout;
use ws_core::{Conn, Message, StatusCode, pair};
use ws_events::engine::{EngineConfig, EngineEndKind, EngineError, EngineSession, EngineSessions};
use ws_events::socketio::{PacketDecoder, SocketIoLimits};
use ws_events::{AckError, ConnectRejection, EventError, Hub, Json, Socket, State};

const ENGINE: &str = include_str!("../src/engine/mod.rs");
const SOCKETIO: &str = include_str!("../src/socketio/mod.rs");

/// The input of a row, and what happens.
type Row<'a> = (&'a str, Pin<Box<dyn Future<Output = String> + 'a>>);

fn row<'a>(line: &'a str, result: impl Future<Output = String> + 'a) -> Row<'a> {
    (line, Box::pin(result))
}

/// The lines of the table with this header: the first and the second cell.
fn lines<'a>(source: &'a str, header: &str) -> Vec<(&'a str, &'a str)> {
    let head = format!("//! | {header} |");
    let table = source.lines().skip_while(|line| !line.starts_with(&head)).skip(2);
    let cells = table.map_while(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"));
    cells.map(|cells| cells.split_once(" | ").unwrap()).collect()
}

/// Runs the rows, which are those of the table with this header.
async fn check(source: &str, header: &str, rows: Vec<Row<'_>>) {
    let lines = lines(source, header);
    let inputs: Vec<_> = lines.iter().map(|(input, _)| *input).collect();
    let tested: Vec<_> = rows.iter().map(|(line, _)| *line).collect();
    assert!(!lines.is_empty());
    assert_eq!(tested, inputs);
    for ((line, result), (_, expected)) in rows.into_iter().zip(lines) {
        let got = timeout(Duration::from_secs(3600), result).await;
        assert_eq!(got.as_deref(), Ok(expected), "{line}");
    }
}

/// All of these are the same.
fn same(results: impl IntoIterator<Item = String>) -> String {
    let results: Vec<_> = results.into_iter().collect();
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    results[0].clone()
}

/// A session that polls, with the task that keeps its deadlines.
fn polling() -> EngineSession {
    let (session, _) = EngineSessions::new(EngineConfig::new()).open_polling(None).unwrap();
    let driven = session.clone();
    tokio::spawn(async move { driven.drive().await });
    session
}

async fn get(session: &EngineSession) -> Result<String, EngineError> {
    session.get().await.map(|body| String::from_utf8(body.to_vec()).unwrap())
}

async fn post(session: &EngineSession, body: &[u8]) -> Result<(), EngineError> {
    session.begin_post()?.finish(Bytes::copy_from_slice(body)).await
}

async fn receive(session: &EngineSession) -> Option<String> {
    let message = session.receive().await?;
    Some(message.as_text().unwrap().to_owned())
}

/// How a session ends, in the words of the table.
async fn end(session: &EngineSession) -> String {
    match session.closed().await.kind {
        EngineEndKind::ParseError => "the session ends, `parse error`".to_owned(),
        EngineEndKind::PingTimeout => "the session ends, `ping timeout`".to_owned(),
        EngineEndKind::TransportError => "the session ends".to_owned(),
        kind => format!("{kind:?}"),
    }
}

/// How a session ends to whose client these bodies, and these messages, are refused.
async fn refused(bodies: &[&[u8]], messages: &[&str]) -> String {
    let mut ends = Vec::new();
    for body in bodies {
        let session = polling();
        let error = post(&session, body).await.unwrap_err();
        assert!(matches!(error, EngineError::Malformed(_)), "{error:?}");
        ends.push(end(&session).await);
        assert_eq!(receive(&session).await, None);
        assert_eq!(get(&session).await, Err(EngineError::UnknownSession));
    }
    for message in messages {
        let (client, server) = pair();
        let session = EngineSessions::new(EngineConfig::new()).open_websocket(server);
        let driven = session.clone();
        tokio::spawn(async move { driven.drive().await });
        client.write(*message).await.unwrap();
        ends.push(end(&session).await);
        client.closed().await;
    }
    same(ends)
}

/// What happens to a session whose client sends this, and then goes on.
async fn ignored(body: &str) -> String {
    let session = polling();
    post(&session, body.as_bytes()).await.unwrap();
    post(&session, b"4a").await.unwrap();
    assert_eq!(receive(&session).await.as_deref(), Some("a"), "{body}");
    "ignored".to_owned()
}

/// A WebSocket for a session that polls, and whether the session uses it.
async fn upgrade(session: &EngineSession, messages: &[&str]) -> (Conn, bool) {
    let (client, server) = pair();
    let sending = async {
        for message in messages {
            let _ = client.write(*message).await;
        }
    };
    let (upgraded, ()) = join(session.upgrade(server), sending).await;
    (client, upgraded)
}

#[tokio::test(start_paused = true)]
async fn engine_io_is_as_its_table_says() {
    let rows = vec![
        row(
            "a packet without a type, or of an unknown type",
            refused(&[b"", b"abc", b"7", b"\x1e", b"\xc3\xbc"], &["", "abc", "7"]),
        ),
        row(
            "`open`, `ping` or `upgrade` in a session",
            refused(&[b"0{}", b"2", b"2probe", b"5"], &["0{}", "2", "2probe", "5"]),
        ),
        row(
            "`close`, `upgrade` or `noop` with data",
            refused(&[b"1x", b"5x", b"6x"], &["1x", "5x", "6x"]),
        ),
        row("base64 or UTF-8 that is not valid", refused(&[b"bA", b"b*", b"4\xff"], &["bA", "b*"])),
        row("one malformed packet in a payload", async {
            let end = refused(&[b"4a\x1e", b"4a\x1e\x1e4b", b"4a\x1e7", b"4a\x1e2"], &[]).await;
            assert_eq!(end, "the session ends, `parse error`");
            // `refused` has looked for messages.
            "no packet of the payload is used, the session ends".to_owned()
        }),
        row("`noop`, or `pong` without a ping", async {
            same([ignored("6").await, ignored("3").await, ignored("3probe").await])
        }),
        row("a second GET, or a second POST, before the first is answered", async {
            let session = polling();
            let (first, second) = join(get(&session), get(&session)).await;
            assert_eq!((first.as_deref(), second), (Ok("1"), Err(EngineError::Overlap)));
            let ended = end(&session).await;
            let session = polling();
            let first = session.begin_post().unwrap();
            assert_eq!(session.begin_post().unwrap_err(), EngineError::Overlap);
            assert!(first.finish(Bytes::from_static(b"4a")).await.is_err());
            let ended = same([ended, end(&session).await]);
            format!("{ended}; the first GET is answered with `close`")
        }),
        row("a GET or a POST that is cancelled", async {
            let session = polling();
            assert!(timeout(Duration::from_secs(1), session.get()).await.is_err());
            let ended = end(&session).await;
            let session = polling();
            drop(session.begin_post().unwrap());
            format!("{}, since messages may be lost", same([ended, end(&session).await]))
        }),
        row("a WebSocket while another is tested, or after an upgrade", async {
            let session = polling();
            let (testing, second) = join(upgrade(&session, &["2probe", "5"]), async {
                // The first one has begun.
                upgrade(&session, &[]).await
            })
            .await;
            let third = upgrade(&session, &["2probe", "5"]).await;
            assert!(testing.1 && !second.1 && !third.1);
            second.0.closed().await;
            third.0.closed().await;
            testing.0.write("4a").await.unwrap();
            assert_eq!(receive(&session).await.as_deref(), Some("a"));
            "the new WebSocket is closed".to_owned()
        }),
        row("a GET behind the `upgrade` packet, which may be served before that is read", async {
            let session = polling();
            let (client, server) = pair();
            let upgrading = session.clone();
            tokio::spawn(async move { upgrading.upgrade(server).await });
            client.write("2probe").await.unwrap();
            assert_eq!(client.read().await.unwrap().as_text(), Some("3probe"));
            client.write("5").await.unwrap();
            assert_eq!(get(&session).await, Err(EngineError::NotPolling));
            "refused, as any GET after an upgrade".to_owned()
        }),
        row("a WebSocket that sends anything but `2probe` and then `5`", async {
            for messages in [&["2"][..], &["4a"], &["5"], &["2probe", "4a"], &["2probe", "2probe"]]
            {
                let session = polling();
                let (client, upgraded) = upgrade(&session, messages).await;
                assert!(!upgraded, "{messages:?}");
                client.closed().await;
                post(&session, b"4a").await.unwrap();
                assert_eq!(receive(&session).await.as_deref(), Some("a"), "{messages:?}");
            }
            "the WebSocket is closed, the session continues to poll".to_owned()
        }),
        row("no `pong` and nothing else within `ping_timeout` of a ping", async {
            end(&polling()).await
        }),
    ];
    check(ENGINE, "input | result", rows).await;
}

fn limits() -> SocketIoLimits {
    SocketIoLimits::new()
        .attachments(1)
        .attachment_bytes(4)
        .event_name_bytes(16)
        .auth_bytes(16)
        .namespace_bytes(8)
        .namespaces(2)
        .connect_timeout(Duration::from_secs(5))
}

/// Messages of a client: with this prefix binary ones.
const BINARY: &str = "binary:";

fn message(text: &str) -> Message {
    match text.strip_prefix(BINARY) {
        Some(bytes) => Message::binary(bytes.to_owned()),
        None => Message::from(text),
    }
}

/// The error for each of these series of messages, whose last one is malformed. It ends a session.
async fn error_of(inputs: &[Vec<Message>]) -> String {
    let mut errors = Vec::new();
    for messages in inputs {
        let mut decoder = PacketDecoder::new(limits());
        let (last, first) = messages.split_last().unwrap();
        for message in first {
            decoder.decode(message.clone()).unwrap();
        }
        let error = format!("{:?}", decoder.decode(last.clone()).unwrap_err());
        let name = error.split('(').next().unwrap();
        errors.push(format!("[`PacketError::{name}`]"));
        let client = Client::open(&Hub::builder().socketio(limits()).build());
        for message in messages {
            let packet = match message.as_text() {
                Some(text) => Message::from(format!("4{text}")),
                None => message.clone(),
            };
            client.conn.write(packet).await.unwrap();
        }
        client.ended().await;
    }
    same(errors)
}

async fn text_error(inputs: &[&[&str]]) -> String {
    let messages = inputs.iter().map(|texts| texts.iter().map(|text| message(text)).collect());
    error_of(&messages.collect::<Vec<_>>()).await
}

#[tokio::test(start_paused = true)]
async fn malformed_packets_are_as_their_table_says() {
    let placeholder = |number: &str| format!(r#"51-["a",{{"_placeholder":true,"num":{number}}}]"#);
    let (one, negative) = (placeholder("1"), placeholder("-1"));
    let deep = format!(r#"51-["a",{}{}]"#, "[".repeat(128), "]".repeat(128));
    let rows = vec![
        row(
            "an unknown packet type, or an empty packet",
            text_error(&[&[""], &["7"], &["a"], &["\u{fc}"]]),
        ),
        row("`CONNECT_ERROR`, which only servers send", text_error(&[&["4"], &["4{}"]])),
        row(
            "a number of attachments that is malformed, or not followed by `-`",
            text_error(&[&["5"], &[r#"5["a"]"#], &[r#"51["a"]"#], &[r#"5-["a"]"#], &["6x-[]"]]),
        ),
        row(
            "more attachments than [`SocketIoLimits::attachments`]",
            text_error(&[&[r#"52-["a"]"#], &["62-1[]"]]),
        ),
        row(
            "more bytes of attachments than [`SocketIoLimits::attachment_bytes`]",
            text_error(&[&[r#"51-["a"]"#, "binary:12345"]]),
        ),
        row(
            "text before the attachments are complete, or binary without a packet",
            text_error(&[&[r#"51-["a"]"#, r#"2["b"]"#], &["0", "binary:x"]]),
        ),
        row("a placeholder without its attachment, in a packet with attachments", async {
            text_error(&[&[&one], &[&negative]]).await
        }),
        row("JSON nested deeper than 127 values, in a packet with attachments", async {
            text_error(&[&[&deep]]).await
        }),
        row(
            "a namespace longer than [`SocketIoLimits::namespace_bytes`]",
            text_error(&[&["0/12345678"], &["1/12345678,"]]),
        ),
        row(
            "an id that is not a 64-bit number; an `ACK` without an id",
            text_error(&[&[r#"299999999999999999999["a"]"#], &["3[]"]]),
        ),
        row(
            "`CONNECT` with JSON that is not an object; `DISCONNECT` with data",
            text_error(&[&["0[]"], &["0null"], &["0{"], &["1{}"], &["1x"]]),
        ),
        row(
            "an `auth` longer than [`SocketIoLimits::auth_bytes`]",
            text_error(&[&[r#"0{"token":"12345"}"#]]),
        ),
        row(
            "`EVENT` whose JSON is not an array, or does not begin with a name; `ACK` whose JSON is not an array",
            text_error(&[
                &["2"],
                &["2{}"],
                &["2[]"],
                &["2[null]"],
                &[r#"2["a""#],
                &[r#"2["a"]x"#],
                &[r#"2x["a"]"#],
                &["30"],
                &["30{}"],
            ]),
        ),
        row(
            "a name that Socket.IO reserves, such as `connect` or `disconnecting`",
            text_error(&[&[r#"2["connect"]"#], &[r#"2["newListener"]"#]]),
        ),
        row(
            "a name longer than [`SocketIoLimits::event_name_bytes`]",
            text_error(&[&[r#"2["12345678901234567"]"#]]),
        ),
    ];
    check(SOCKETIO, "input | error", rows).await;
}

#[cfg(feature = "msgpack")]
#[tokio::test(start_paused = true)]
async fn malformed_packets_in_msgpack_are_as_their_table_says() {
    let error = |packets: &[&[u8]]| {
        let packet = |bytes: &&[u8]| vec![Message::binary(bytes.to_vec())];
        let packets: Vec<_> = packets.iter().map(packet).collect();
        async move { error_of(&packets).await }
    };
    let event = |data: &[u8]| [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a", data].concat();
    let deep = event(&[[0x91; 65].as_slice(), &[0xc0]].concat());
    let after = vec![Message::binary(event(b"\xc0")), Message::from("2[]")];
    let (utf8, unknown) = (event(b"\xa1\xff"), event(b"\xc1"));
    let (missing, high) = (b"\x81\xa3nsp\xa1/", b"\x82\xa4type\x09\xa3nsp\xa1/");
    let server = b"\x82\xa4type\x04\xa3nsp\xa1/";
    let key = event(b"\x81\xc0\xc0");
    let forged = event(b"\x92\x82\xac_placeholder\xc3\xa3num\x00\xc4\x01x");
    let rows = vec![
        row(
            "text after the first packet, which was binary",
            error_of(std::slice::from_ref(&after)),
        ),
        row(
            "bytes that are not one map, or more bytes behind it",
            error(&[b"", b"\x90", b"\x81", b"\x82\xa4type\x00\xa3nsp\xa1/\x00"]),
        ),
        row("a key that is neither a text nor a small number", error(&[b"\x81\xc0\xc0", &key])),
        row("a text that is not UTF-8, or a value of an unknown type", error(&[&utf8, &unknown])),
        row("values nested deeper than 64", error(&[&deep])),
        row("no `type`, or one that is not 0, 1, 2 or 3", error(&[missing, high, server])),
        row(
            "no `nsp`, or one that does not begin with `/`",
            error(&[
                b"\x81\xa4type\x00",
                b"\x82\xa4type\x00\xa3nsp\xa0",
                b"\x82\xa4type\x00\xa3nsp\xa1a",
            ]),
        ),
        row("a map with `_placeholder: true` beside binary data", error(&[&forged])),
    ];
    check(SOCKETIO, "input in MessagePack | error", rows).await;
}

/// A client of Socket.IO.
struct Client {
    conn: Conn,
}

impl Client {
    fn open(hub: &Hub) -> Self {
        let (conn, server) = pair();
        serve_over(hub, Over::SocketIo, server);
        Self { conn }
    }

    /// A client that has joined the root namespace.
    async fn join(hub: &Hub) -> Self {
        let client = Self::open(hub);
        client.write("40").await;
        assert!(client.read().await.starts_with("40{"));
        client
    }

    async fn write(&self, text: &str) {
        self.conn.write(text).await.unwrap();
    }

    /// The next packet of Socket.IO.
    async fn read(&self) -> String {
        loop {
            let message = timeout(TIMEOUT, self.conn.read()).await.unwrap().unwrap();
            let text = message.as_text().unwrap();
            if text.starts_with('4') {
                return text.to_owned();
            }
        }
    }

    /// Waits for the end of the connection.
    async fn ended(&self) -> String {
        timeout(Duration::from_secs(60), async { while self.conn.read().await.is_ok() {} })
            .await
            .unwrap();
        "the session ends".to_owned()
    }

    /// What happens after these messages.
    async fn end_after(hub: &Hub, joins: bool, packets: &[&str]) -> String {
        let client = if joins { Self::join(hub).await } else { Self::open(hub) };
        for packet in packets {
            client.write(packet).await;
        }
        client.ended().await
    }

    /// The answer to an event shows that the session goes on.
    async fn goes_on(&self) -> String {
        self.write(r#"428["echo",7]"#).await;
        assert_eq!(self.read().await, "438[7]");
        "ignored".to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn packets_that_are_not_expected_are_as_their_table_says() {
    let hub = Hub::builder().socketio(limits()).state(EventLog::default()).build();
    let other = hub.of("/other");
    hub.on("echo", async |Json(n): Json<u32>| Json(n));
    hub.on("bytes", async |_: Json<(Bytes, Bytes)>| {});
    hub.on_error(async |error: EventError, State(log): State<EventLog>| {
        // The name of the variant. Clients of other rows may be cut off.
        let name = format!("{error:?}");
        if !matches!(error, EventError::Connection(_)) {
            log.note(name.split(['(', ' ']).next().unwrap());
        }
    });
    hub.of("/slow").middleware(async |_: Socket| -> Result<(), ConnectRejection> {
        std::future::pending().await
    });
    let hub = &hub;
    let error = async |packets: &[&str]| {
        let client = Client::join(hub).await;
        for packet in packets {
            client.conn.write(message(packet)).await.unwrap();
        }
        let log = hub.state::<EventLog>().unwrap().take(1).await;
        client.goes_on().await;
        format!("[`EventError::{0}`](crate::EventError::{0})", log[0])
    };
    let rows = vec![
        row("`EVENT`, `ACK` or `DISCONNECT` for a namespace in which the client is not", async {
            same([
                Client::end_after(hub, false, &[r#"42["echo",1]"#]).await,
                Client::end_after(hub, false, &["430[]"]).await,
                Client::end_after(hub, false, &["41"]).await,
                Client::end_after(hub, true, &[r#"42/other,["a"]"#]).await,
                Client::end_after(hub, true, &["41", r#"42["echo",1]"#]).await,
            ])
        }),
        row("the same, and the server has just told the client to leave the namespace", async {
            let client = Client::join(hub).await;
            client.write("40/other,").await;
            assert!(client.read().await.starts_with("40/other,"));
            other.close_all(StatusCode::POLICY_VIOLATION, "").unwrap();
            assert_eq!(client.read().await, "41/other,");
            for packet in [r#"42/other,["a"]"#, "43/other,5[]", "41/other,"] {
                client.write(packet).await;
            }
            client.goes_on().await
        }),
        row("`EVENT` or `ACK` before the server has accepted the client", async {
            same([
                Client::end_after(hub, false, &["40/slow,", r#"42/slow,["a"]"#]).await,
                Client::end_after(hub, false, &["40/slow,", "43/slow,1[]"]).await,
            ])
        }),
        row("`CONNECT` to a namespace in which the client is", async {
            Client::end_after(hub, true, &["40"]).await
        }),
        row("`CONNECT` to more namespaces than [`SocketIoLimits::namespaces`]", async {
            Client::end_after(hub, true, &["40/other,", "40/third,"]).await
        }),
        row("`CONNECT` to a namespace that does not exist", async {
            let client = Client::open(hub);
            client.write("40/nowhere,").await;
            assert_eq!(client.read().await, r#"44/nowhere,{"message":"Invalid namespace"}"#);
            "`CONNECT_ERROR`, `Invalid namespace`".to_owned()
        }),
        row("no namespace within [`SocketIoLimits::connect_timeout`]", async {
            same([
                Client::end_after(hub, false, &[]).await,
                Client::end_after(hub, false, &["40/nowhere,"]).await,
                Client::end_after(hub, true, &["41"]).await,
            ])
        }),
        row("an `ACK` that nobody waits for, such as a second one", async {
            let client = Client::join(hub).await;
            client.write("4377[1]").await;
            client.goes_on().await;
            wait_until(|| hub.len() == 1).await;
            let socket = hub.everyone().sockets().pop().unwrap();
            let asking = socket.emit_with_ack::<u32, _>("ask", &1).into_future();
            let answering = async {
                let text = client.read().await;
                let id = text.strip_prefix("42").unwrap().split('[').next().unwrap();
                client.write(&format!("43{id}[1]")).await;
                client.write(&format!("43{id}[2]")).await;
            };
            let (answer, ()): (Result<u32, AckError>, ()) = join(asking, answering).await;
            assert_eq!(answer.unwrap(), 1);
            client.goes_on().await
        }),
        row(
            "an event whose name is empty, or that of an event of this crate, such as `ping`",
            async { same([error(&[r#"42[""]"#]).await, error(&[r#"42["ping",1]"#]).await]) },
        ),
        row("two placeholders for one attachment", async {
            let result = error(&[
                r#"451-["bytes",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
                "binary:x",
            ]);
            format!("{} of a handler that takes the bytes", result.await)
        }),
    ];
    check(SOCKETIO, "input | result", rows).await;
}
