//! Does every body decode to packets of Engine.IO, or to an error, and does a session take it or end?

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use ws_core::Message;
use ws_events::engine::{EngineConfig, EnginePacket, EnginePayload, EngineSessions};

/// Longer than all deadlines together.
const FOREVER: Duration = Duration::from_secs(3600);
/// How many packets of a body may be no messages, by `EngineConfig::max_payload`.
const MAX_OTHER_PACKETS: usize = 64;

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let expected = expected(data);
    let body = Bytes::copy_from_slice(data);
    let decoded = EnginePayload::new(body.clone()).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    assert_eq!(decoded.is_ok(), expected.is_some(), "{data:?}: {decoded:?}");
    let Ok(packets) = decoded else { return check_session(body, &[], false) };
    assert_eq!(packets.len(), expected.unwrap_or_default(), "{data:?}");
    for packet in &packets {
        let text = packet.to_text();
        assert_eq!(EnginePacket::from_text(&text).as_ref(), Ok(packet), "{text:?}");
        let message = EnginePacket::from_message(packet.to_message());
        assert_eq!(message.as_ref(), Ok(packet), "{text:?}");
    }
    let is_taken = packets.iter().all(|packet| {
        use EnginePacket::{Close, Message, Noop, Pong};
        matches!(packet, Close | Message(_) | Noop | Pong(_))
    });
    let others =
        packets.iter().filter(|packet| !matches!(packet, EnginePacket::Message(_))).count();
    let is_taken = is_taken && others <= MAX_OTHER_PACKETS;
    let messages = packets.into_iter().filter_map(|packet| match packet {
        EnginePacket::Message(message) => Some(message),
        _ => None,
    });
    check_session(body, &messages.collect::<Vec<_>>(), is_taken);
}

/// The number of packets of a body, by another way of reading it. `None` if it is malformed.
fn expected(data: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(data).ok()?;
    let is_valid = |packet: &str| match packet.as_bytes() {
        [b'0' | b'2' | b'3' | b'4', ..] | [b'1' | b'5' | b'6'] => true,
        [b'b', base64 @ ..] => {
            let padding = base64.iter().rev().take_while(|byte| **byte == b'=').count();
            let digits = &base64[..base64.len() - padding];
            let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
            let needed = (4 - digits.len() % 4) % 4;
            digits.iter().all(is_digit) && needed != 3 && padding <= needed
        }
        _ => false,
    };
    let packets: Vec<&str> = text.split('\u{1e}').collect();
    packets.iter().all(|packet| is_valid(packet)).then_some(packets.len())
}

/// A session gives the messages of a body that is valid, and ends otherwise.
fn check_session(body: Bytes, messages: &[Message], is_taken: bool) {
    let received = crate::paused(async {
        let running = async {
            let (session, _) = EngineSessions::new(EngineConfig::new())
                .open_polling(None)
                .expect("there is room for one session");
            let post = session.begin_post().expect("it polls");
            let posted = post.finish(body.clone()).await;
            assert_eq!(posted.is_ok(), is_taken, "{body:?}: {posted:?}");
            let mut received = Vec::new();
            while received.len() < messages.len() && is_taken {
                received.push(session.receive().await.expect("a message is missing"));
            }
            // Nothing is left.
            session.close_now();
            assert!(session.receive().await.is_none(), "{body:?}");
            received
        };
        timeout(FOREVER, running).await.expect("it hangs")
    });
    assert!(!is_taken || received == messages, "{body:?}");
}
