//! Does each line of the table of refusals hold?
//!
//! The table is in the documentation of `SocketIo`. The test has a row for each line.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use crate::support::{Answer, FOREVER, Framework, Server, echo, read, within, write};
use futures::future::join;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Request};
use serde_json::Value;
use tower_service::Service as _;
use ws_client::Dial;
use ws_core::Origin;
use ws_core::handler::ConnectionLimits;
use ws_events::Hub;
use ws_events_socketio::{AcceptOptions, EngineConfig, SocketIo};

const SERVICE: &str = include_str!("../src/service.rs");

const OPEN: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// The status and the code of a refusal.
type Refused = (u16, u64);

type Row<'a> = (&'a str, Pin<Box<dyn Future<Output = Vec<Refused>> + 'a>>);

fn row<'a>(line: &'a str, refused: impl Future<Output = Vec<Refused>> + 'a) -> Row<'a> {
    (line, Box::pin(refused))
}

/// The lines of the table: the statuses, the code, and the first words of the reason.
fn lines() -> Vec<(Vec<u16>, u64, &'static str)> {
    let table = SERVICE.lines().skip_while(|line| *line != "/// | status | code | reason |");
    let cells = table.skip(2).map_while(|line| line.strip_prefix("/// | ")?.strip_suffix(" |"));
    let line = |cells: &'static str| {
        let [statuses, code, reason] = cells.splitn(3, " | ").collect::<Vec<_>>()[..] else {
            panic!("{cells}")
        };
        let statuses = statuses.split(", ").filter_map(|status| status.parse().ok()).collect();
        (statuses, code.parse().unwrap(), reason)
    };
    cells.map(line).collect()
}

fn refused(answer: &Answer) -> Refused {
    code(answer.status.as_u16(), &answer.body)
}

fn code(status: u16, body: &str) -> Refused {
    let refused: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{status} {body}"));
    assert!(!refused["message"].as_str().unwrap().is_empty());
    (status, refused["code"].as_u64().unwrap())
}

async fn serve(socketio: SocketIo) -> Server {
    Server::start(Framework::Hyper, socketio).await
}

async fn with_origin(server: &Server, origin: &str, query: &str) -> Answer {
    let request = server.builder(Method::GET, query).header("origin", origin);
    server.request(request.body("".into()).unwrap()).await
}

/// A POST whose body has so many bytes, and an end that comes if it `is_whole`.
async fn post_pieces(bytes: usize, is_whole: bool) -> Refused {
    let config = EngineConfig::new().max_payload(1000);
    let mut socketio =
        SocketIo::engine(echo).config(config).body_timeout(Duration::from_millis(10));
    let open = Request::get(format!("/?{OPEN}")).header("host", "a").body(String::new());
    let opened = within(socketio.call(open.unwrap())).await.unwrap();
    let opened = opened.into_body().collect().await.unwrap().to_bytes();
    let open: Value = serde_json::from_slice(&opened[1..]).unwrap();
    let query = format!("/?{OPEN}&sid={}", open["sid"].as_str().unwrap());
    let pieces = stream::unfold(0, move |sent| async move {
        if sent == bytes && !is_whole {
            pending::<()>().await;
        }
        let piece = Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"4")));
        (sent < bytes).then_some((piece, sent + 1))
    });
    let post = Request::post(query).header("host", "a").body(StreamBody::new(Box::pin(pieces)));
    let answer = within(socketio.call(post.unwrap())).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    code(status, std::str::from_utf8(&body).unwrap())
}

/// Requests for a session in a state that does not allow them.
async fn refused_by_session() -> Vec<Refused> {
    let server = serve(SocketIo::engine(echo)).await;
    let mut refusals = Vec::new();
    // It uses a WebSocket now.
    let query = server.open_polling().await;
    let conn = server.upgrading(&query).await;
    write(&conn, "2probe").await;
    read(&conn).await;
    write(&conn, "5").await;
    write(&conn, "4a").await;
    read(&conn).await;
    refusals.push(refused(&server.get(&query).await));
    refusals.push(refused(&server.post(&query, "4a").await));
    // A malformed body.
    for body in ["", "abc", "2", "4a\u{1e}bA"] {
        refusals.push(refused(&server.post(&server.open_polling().await, body).await));
    }
    // A second GET.
    let query = server.open_polling().await;
    let answers = join(server.get(&query), server.get(&query)).await;
    let answers = [answers.0, answers.1];
    refusals.extend(answers.iter().filter(|answer| answer.body != "1").map(refused));
    // A request that does not fit the transport.
    let websocket = server.open_polling().await.replace("polling", "websocket");
    refusals.push(refused(&server.get(&websocket).await));
    refusals.push(refused(&server.get(WEBSOCKET).await));
    let query = server.open_polling().await;
    let request = server.builder(Method::DELETE, &query).body("".into()).unwrap();
    refusals.push(refused(&server.request(request).await));
    assert_eq!(refusals.len(), 10);
    refusals
}

#[tokio::test]
async fn each_refusal_is_as_its_table_says() {
    let server = &serve(SocketIo::engine(echo)).await;
    let get = async |query: &str| refused(&server.get(query).await);
    let post = async |query: &str| refused(&server.post(query, "").await);
    let sid = &format!("{OPEN}&sid=unknown");
    let rows = vec![
        row("`transport` is neither `polling` nor `websocket`", async {
            vec![get("").await, get("EIO=4").await, get("EIO=4&transport=webtransport").await]
        }),
        row("there is no session with this `sid`", async {
            vec![get(sid).await, post(sid).await, get(&format!("{OPEN}&sid=")).await]
        }),
        row("a handshake is not a GET", async { vec![post(OPEN).await, post(WEBSOCKET).await] }),
        row("a session that uses a WebSocket now", refused_by_session()),
        row("the body took longer than", async {
            vec![
                post_pieces(1, false).await,
                post_pieces(1001, true).await,
                post_pieces(1001, false).await,
            ]
        }),
        row("the origin policy does not allow the page", async {
            let page = "https://page.example";
            let options = AcceptOptions::new().origin(Origin::patterns(["*.example"]));
            let server = serve(SocketIo::engine(echo).options(options)).await;
            let other = with_origin(&server, "https://evil.test", OPEN).await;
            let opened = with_origin(&server, page, OPEN).await;
            let open: Value = serde_json::from_str(&opened.body[1..]).unwrap();
            let query = format!("{OPEN}&sid={}", open["sid"].as_str().unwrap());
            let stolen = with_origin(&server, "https://other.example", &query).await;
            vec![refused(&other), refused(&stolen)]
        }),
        row("a limit of the [options]", async {
            let limits = ConnectionLimits::new().per_address(1);
            let options = AcceptOptions::new().limits(&limits);
            let server = serve(SocketIo::engine(echo).options(options)).await;
            server.open_polling().await;
            let address = refused(&server.get(OPEN).await);
            let config = EngineConfig::new().max_sessions(1);
            let server = serve(SocketIo::engine(echo).config(config)).await;
            server.open_polling().await;
            let sessions = refused(&server.get(OPEN).await);
            let hub = Hub::new();
            let server = serve(SocketIo::new(&hub)).await;
            hub.drain(FOREVER).await;
            vec![address, sessions, refused(&server.get(OPEN).await)]
        }),
        row("`EIO` is not 4", async {
            let version = "EIO=3&transport=polling";
            vec![get("transport=polling").await, get(version).await, post(version).await]
        }),
        row("the opening handshake of a WebSocket is not valid", async {
            let mut refusals = Vec::new();
            for (name, value) in [("x-no-key", "1"), ("sec-websocket-key", "short")] {
                let request = server.builder(Method::GET, WEBSOCKET);
                let request =
                    request.header("connection", "upgrade").header("upgrade", "websocket");
                let request = request.header("sec-websocket-version", "13").header(name, value);
                let answer = server.request(request.body("".into()).unwrap()).await;
                assert_eq!(answer.status, 400);
                refusals.push(refused(&answer));
            }
            refusals
        }),
    ];
    let lines = lines();
    assert_eq!(rows.len(), lines.len());
    for ((start, refused), (statuses, code, reason)) in rows.into_iter().zip(lines) {
        assert!(reason.starts_with(start), "{start} is not {reason}");
        let refused = within(refused).await;
        for (status, got) in &refused {
            let is_listed = statuses.is_empty() || statuses.contains(status);
            assert!(is_listed && *got == code, "{reason}: {status} {got}");
        }
        let is_seen = |status: &u16| refused.iter().any(|(got, _)| got == status);
        assert!(statuses.iter().all(is_seen), "{reason}: {refused:?}");
    }
    // A WebSocket is refused alike.
    for query in [OPEN, "EIO=3&transport=websocket", "EIO=4&transport=websocket&sid=unknown"] {
        let dial = Dial::new(format!("ws://{}/engine.io/?{query}", server.addr));
        let error = within(dial.connect()).await.unwrap_err();
        assert_eq!(error.refused_response().map(|response| response.status.as_u16()), Some(400));
    }
}
