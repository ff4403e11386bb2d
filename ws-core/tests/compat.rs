//! Does `compat::Tungstenite` behave as tokio-tungstenite does?

use std::time::Duration;

use crate::support::{connect, run, soon};
use futures::stream::FusedStream as _;
use futures::{SinkExt, StreamExt};
use ws_core::compat::Tungstenite;
use ws_core::compat::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use ws_core::compat::tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};
use ws_core::compat::tungstenite::{Error, Message};
use ws_core::frame::OpCode as WireOpCode;
use ws_core::{Config, Deadline, Keepalive, Role, StatusCode};

#[tokio::test]
async fn close_frames_pings_and_raw_frames_behave_like_tungstenite() {
    let (here, there) = ws_core::pair();
    let mut theirs = Tungstenite::new(here);
    // A ping is an item, and is answered automatically.
    let round = tokio::spawn({
        let there = there.clone();
        async move { there.ping_with("p").await }
    });
    assert_eq!(soon(theirs.next()).await.unwrap().unwrap(), Message::Ping("p".into()));
    soon(round).await.unwrap().unwrap();
    // A raw frame is sent unchanged.
    theirs.send(Message::Frame(Frame::message("raw", text_opcode(), true))).await.unwrap();
    assert_eq!(soon(there.read()).await.unwrap().as_text(), Some("raw"));
    // The close frame of the peer is the last item.
    let closing = tokio::spawn({
        let there = there.clone();
        async move { there.close(StatusCode::GOING_AWAY, "bye").await }
    });
    let close = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
    let item = soon(theirs.next()).await.unwrap().unwrap();
    assert_eq!(item, Message::Close(Some(close)));
    assert!(soon(theirs.next()).await.is_none());
    soon(closing).await.unwrap().unwrap();
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
    let error = soon(there.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
    assert_eq!(soon(theirs.next()).await.unwrap().unwrap(), Message::text("on its way"));
    assert_eq!(soon(theirs.next()).await.unwrap().unwrap(), Message::Close(Some(close)));
    assert!(soon(theirs.next()).await.is_none());
    assert!(soon(there.closed()).await.is_clean());
}

/// The peer has nothing to wait for: its answer is due at once.
#[test]
fn a_peer_that_does_not_answer_a_close_frame_is_ended_by_keepalive() {
    run(async {
        let config = Config::new().keepalive(Keepalive::every(Duration::from_secs(10)));
        let (conn, mut peer) = connect(Role::Server, config, None, 4096);
        let mut theirs = Tungstenite::new(conn.clone());
        SinkExt::close(&mut theirs).await.unwrap();
        assert_eq!(peer.frame().await.unwrap().header.opcode, WireOpCode::CLOSE);
        soon(conn.closed()).await;
        let error = conn.close_info().unwrap().error;
        assert!(matches!(error, ws_core::Error::Timeout(Deadline::Keepalive)), "{error:?}");
    });
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
    let error = soon(theirs.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    assert!(soon(theirs.next()).await.is_none());
}

#[tokio::test]
async fn closing_the_sink_closes_the_connection() {
    let (here, there) = ws_core::pair();
    let mut theirs = Tungstenite::new(here);
    there.write("still on its way").await.unwrap();
    theirs.feed(Message::text("last")).await.unwrap();
    SinkExt::close(&mut theirs).await.unwrap();
    assert_eq!(soon(there.read()).await.unwrap().as_text(), Some("last"));
    let error = soon(there.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::NO_STATUS_RECEIVED));
    let item = soon(theirs.next()).await.unwrap().unwrap();
    assert_eq!(item, Message::text("still on its way"));
    assert_eq!(soon(theirs.next()).await.unwrap().unwrap(), Message::Close(None));
    assert!(soon(theirs.next()).await.is_none());
}

#[tokio::test]
async fn pings_and_pongs_are_sent_and_received_until_it_is_unwrapped() {
    let (here, there) = ws_core::pair();
    let mut theirs = Tungstenite::new(here);
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    there.on_pong(move |_, payload| sender.send(payload.clone()).unwrap());
    let reading = tokio::spawn(async move { there.read().await.map(|_| there) });
    theirs.send(Message::Ping("ping".into())).await.unwrap();
    theirs.send(Message::Pong("pong".into())).await.unwrap();
    assert_eq!(soon(seen.recv()).await.unwrap(), "pong");
    assert_eq!(soon(theirs.next()).await.unwrap().unwrap(), Message::Pong("ping".into()));
    theirs.send(Message::text("")).await.unwrap();
    let there = soon(reading).await.unwrap().unwrap();

    // Of many that nothing takes, the last 16 are kept.
    let conn = theirs.conn().clone();
    for number in 0..20_u8 {
        there.pong(vec![number]).unwrap();
    }
    there.write("a").await.unwrap();
    assert_eq!(soon(conn.read()).await.unwrap().as_text(), Some("a"));
    for number in 4..20_u8 {
        let pong = soon(theirs.next()).await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong(vec![number].into()));
    }
    assert!(!theirs.is_terminated());
    let conn = theirs.into_conn();
    there.pong("unseen").unwrap();
    there.write("b").await.unwrap();
    assert_eq!(soon(conn.read()).await.unwrap().as_text(), Some("b"));
}

#[tokio::test]
async fn a_close_with_a_code_is_sent_and_answered() {
    let (here, there) = ws_core::pair();
    let mut theirs = Tungstenite::new(here);
    let close = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
    theirs.close(Some(close.clone())).await.unwrap();
    let received = soon(there.closed()).await.received.unwrap();
    assert_eq!((received.code, &*received.reason), (StatusCode::GOING_AWAY, "bye"));
    assert_eq!(soon(theirs.next()).await.unwrap().unwrap(), Message::Close(Some(close)));
    assert!(soon(theirs.next()).await.is_none() && theirs.is_terminated());
    // As tokio-tungstenite, closing again is no error.
    SinkExt::close(&mut theirs).await.unwrap();
}
