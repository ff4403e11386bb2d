//! Does code for tokio-tungstenite run on `ws-core` with only the connecting line changed?
#![cfg(test)]

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};
use tokio_tungstenite::tungstenite::{Error, Message};
use ws_core::StatusCode;
use ws_core::compat::Tungstenite;

#[path = "tungstenite/client_after.rs"]
mod client_after;
#[path = "tungstenite/client_before.rs"]
mod client_before;
#[path = "tungstenite/server_after.rs"]
mod server_after;
#[path = "tungstenite/server_before.rs"]
mod server_before;

const CLIENT: [&str; 2] =
    [include_str!("tungstenite/client_before.rs"), include_str!("tungstenite/client_after.rs")];
const SERVER: [&str; 2] =
    [include_str!("tungstenite/server_before.rs"), include_str!("tungstenite/server_after.rs")];

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap()
}

/// Starts the server before or after the change, and returns its URL.
async fn serve(after: bool) -> (String, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = if after {
        tokio::spawn(server_after::server(listener))
    } else {
        tokio::spawn(server_before::server(listener))
    };
    (url, server)
}

#[tokio::test]
async fn both_clients_receive_the_same_from_both_servers() {
    for after in [false, true] {
        let (url, server) = serve(after).await;
        let before = in_time(client_before::client(url.clone())).await.unwrap();
        let moved = in_time(client_after::client(url)).await.unwrap();
        for received in [&before, &moved] {
            assert!(received.contains(&Message::text("hello")), "{received:?}");
            assert!(received.contains(&Message::Pong("are you there?".into())), "{received:?}");
            assert!(received.contains(&Message::binary(vec![7; 100_000])));
            let close = received.last().unwrap();
            let Message::Close(Some(close)) = close else { panic!("{close:?}") };
            assert_eq!(close.code, CloseCode::Normal);
        }
        server.abort();
    }
}

/// The number of lines that only one of the two has.
fn changed([before, after]: [&str; 2]) -> [usize; 2] {
    let only = |one, other| code(one).filter(|line| !code(other).any(|it| it == *line)).count();
    [only(before, after), only(after, before)]
}

/// The code without imports.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("use ") && !line.starts_with("//!"))
}

#[test]
fn only_the_connecting_line_differs() {
    assert_eq!(changed(CLIENT), [1, 1]);
    assert_eq!(changed(SERVER), [1, 2]);
}

#[test]
fn the_diffs_of_the_guide_match_the_tested_code() {
    let guide = include_str!("../../ws-core/FROM_TUNGSTENITE.md");
    let mut shown = 0;
    for (at, fence) in guide.split("```").enumerate() {
        let Some(diff) = fence.strip_prefix("diff\n").filter(|_| at % 2 == 1) else { continue };
        let [before, after] = if diff.contains("fn chat") { SERVER } else { CLIENT };
        for line in diff.lines() {
            let is_in = |text: &str, line: &str| text.lines().any(|other| other == line);
            let known = match line.split_at_checked(1) {
                Some(("-", line)) => is_in(before, line) && !is_in(after, line),
                Some(("+", line)) => is_in(after, line) && !is_in(before, line),
                Some((" ", line)) => is_in(before, line) && is_in(after, line),
                _ => line.is_empty(),
            };
            assert!(known, "{line}");
            shown += 1;
        }
    }
    assert!(shown > 20, "{shown}");
}

/// Edge cases, compared with tokio-tungstenite.
#[tokio::test]
async fn close_frames_pings_and_raw_frames_behave_like_tungstenite() {
    let (here, there) = ws_core::pair();
    let mut theirs = Tungstenite::new(here);
    // A ping is an item, and is answered automatically.
    let round = tokio::spawn({
        let there = there.clone();
        async move { there.ping_with("p").await }
    });
    assert_eq!(in_time(theirs.next()).await.unwrap().unwrap(), Message::Ping("p".into()));
    in_time(round).await.unwrap().unwrap();
    // A raw frame is sent unchanged.
    theirs.send(Message::Frame(Frame::message("raw", text_opcode(), true))).await.unwrap();
    assert_eq!(in_time(there.read()).await.unwrap().as_text(), Some("raw"));
    // The close frame of the peer is the last item.
    let closing = tokio::spawn({
        let there = there.clone();
        async move { there.close(StatusCode::GOING_AWAY, "bye").await }
    });
    let close = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
    let item = in_time(theirs.next()).await.unwrap().unwrap();
    assert_eq!(item, Message::Close(Some(close)));
    assert!(in_time(theirs.next()).await.is_none());
    in_time(closing).await.unwrap().unwrap();
    let late = theirs.send(Message::text("late")).await.unwrap_err();
    assert!(matches!(late, Error::ConnectionClosed | Error::Protocol(_)), "{late:?}");
}

fn text_opcode() -> OpCode {
    OpCode::from(1)
}

/// After a raw close frame, messages in flight still arrive, and nothing more is sent.
#[tokio::test]
async fn a_raw_close_frame_starts_the_closing_handshake() {
    let (here, there) = ws_core::pair();
    let mut theirs = Tungstenite::new(here);
    there.write("on its way").await.unwrap();
    let close = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
    let bad = Frame::from_payload(FrameHeader { opcode: close_opcode(), ..header() }, "x".into());
    assert!(theirs.send(Message::Frame(bad)).await.is_err());
    theirs.send(Message::Frame(Frame::close(Some(close.clone())))).await.unwrap();
    let late = theirs.send(Message::text("late")).await.unwrap_err();
    assert!(matches!(late, Error::ConnectionClosed | Error::Protocol(_)), "{late:?}");
    let error = in_time(there.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
    assert_eq!(in_time(theirs.next()).await.unwrap().unwrap(), Message::text("on its way"));
    assert_eq!(in_time(theirs.next()).await.unwrap().unwrap(), Message::Close(Some(close)));
    assert!(in_time(theirs.next()).await.is_none());
    assert!(in_time(there.closed()).await.is_clean());
}

fn header() -> FrameHeader {
    FrameHeader::default()
}

fn close_opcode() -> OpCode {
    OpCode::from(8)
}

#[tokio::test]
async fn invalid_messages_are_rejected_and_an_abrupt_end_is_an_error() {
    let (here, there) = ws_core::pair();
    let mut theirs = Tungstenite::new(here);
    let long = theirs.send(Message::Ping(vec![0; 126].into())).await.unwrap_err();
    assert!(matches!(long, Error::Protocol(_)), "{long:?}");
    let odd = Frame::message("", OpCode::Data(Data::Continue), true);
    assert!(theirs.send(Message::Frame(odd)).await.is_err());
    there.close_now();
    let error = in_time(theirs.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    assert!(in_time(theirs.next()).await.is_none());
}

#[tokio::test]
async fn closing_the_sink_closes_the_connection() {
    let (here, there) = ws_core::pair();
    let mut theirs = Tungstenite::new(here);
    there.write("still on its way").await.unwrap();
    theirs.feed(Message::text("last")).await.unwrap();
    SinkExt::close(&mut theirs).await.unwrap();
    assert_eq!(in_time(there.read()).await.unwrap().as_text(), Some("last"));
    let error = in_time(there.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::NO_STATUS_RECEIVED));
    let item = in_time(theirs.next()).await.unwrap().unwrap();
    assert_eq!(item, Message::text("still on its way"));
    assert_eq!(in_time(theirs.next()).await.unwrap().unwrap(), Message::Close(None));
    assert!(in_time(theirs.next()).await.is_none());
}
