//! Which violation is each malformed frame, and which close code is sent?
//!
//! In the order of RFC 6455, then RFC 7692. Each row is checked in both roles, whole and split at
//! every position, by `proto` and by a connection that reports to its peer.

use std::time::Duration;

use crate::support::{
    BOTH, Frame, binary, close, connect, decode_all, drain, feed, frame, more, other, ping, pong,
    run, soon, text, wire,
};
use bytes::Bytes;
use tokio::time::timeout;
use ws_core::ProtocolError::{
    CloseCode, CloseReasonNotUtf8, CloseTooShort, ControlTooLong, Deflate, FragmentedControl,
    LengthNotMinimal, LengthTooLarge, Masked, MessageUnfinished, NothingToContinue, ReservedBits,
    ReservedOpcode, TextNotUtf8, UnexpectedMessage, Unmasked,
};
use ws_core::deflate::Params;
use ws_core::frame::OpCode;
use ws_core::proto::{CloseFrame, Failure, Inbound, Mode, Outbound, ProtocolEvent};
use ws_core::{CloseInitiator, Config, Error, Limits, Message, ProtocolError, Role, StatusCode};

/// The verdict on some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// This violation, and this close code is sent.
    Wrong(ProtocolError, u16),
    /// Valid, and they close the connection with this code.
    Closes(u16),
    /// Valid so far.
    Fine,
}

use Verdict::{Closes, Fine, Wrong};

/// Without compression.
#[track_caller]
fn check(frames: &[Frame], before: &[&str], verdict: Verdict) {
    for role in BOTH {
        judge(role, None, &wire(other(role), frames), before, &verdict);
    }
}

/// With compression of every kind.
#[track_caller]
fn check_compressed(frames: &[Frame], before: &[&str], verdict: Verdict) {
    for no_takeover in [false, true] {
        let params = Params {
            server_no_context_takeover: no_takeover,
            client_no_context_takeover: no_takeover,
            ..Params::default()
        };
        for role in BOTH {
            judge(role, Some(params), &wire(other(role), frames), before, &verdict);
        }
    }
}

/// The bytes received in this role, the texts of the messages, and the verdict.
#[track_caller]
fn judge(
    role: Role,
    compression: Option<Params>,
    bytes: &[u8],
    before: &[&str],
    verdict: &Verdict,
) {
    for at in 0..=bytes.len() {
        judge_cut(role, compression, [&bytes[..at], &bytes[at..]], before, verdict);
    }
    judge_cut(role, compression, bytes.chunks(1), before, verdict);
    // All bytes at once, and byte by byte.
    for step in [bytes.len(), 1] {
        run(judge_conn(role, compression, bytes.chunks(step), before, verdict));
    }
}

#[track_caller]
fn judge_cut<'a>(
    role: Role,
    compression: Option<Params>,
    pieces: impl IntoIterator<Item = &'a [u8]> + Clone,
    before: &[&str],
    verdict: &Verdict,
) {
    let mut inbound = Inbound::new(role, Config::new().limits(Limits::new()), compression);
    let (events, fault) = feed(&mut inbound, Mode::Whole, pieces.clone());
    let told = || format!("{role:?}: {:x?}", pieces.clone().into_iter().collect::<Vec<_>>());
    let texts: Vec<_> = events.iter().filter_map(text_of).collect();
    assert_eq!(texts, before, "{}", told());
    let closes = events.last().and_then(|event| match event {
        ProtocolEvent::Close(frame) => Some(frame.as_error().code.as_u16()),
        ProtocolEvent::Message(_) | ProtocolEvent::Ping(_) | ProtocolEvent::Pong(_) => None,
    });
    match verdict {
        Wrong(violation, code) => {
            assert_eq!(fault, Some(Failure::Protocol(*violation)), "{}", told());
            let mut outbound = Outbound::new(role, &Config::new(), compression);
            outbound.message(Message::from("overtaken"));
            outbound.fail(fault.unwrap().close_frame());
            expect_close(&decode_all(role, &drain(&mut outbound, 7)), *code);
        }
        Closes(code) => assert_eq!((closes, fault), (Some(*code), None), "{}", told()),
        Fine => assert_eq!((closes, fault), (None, None), "{}", told()),
    }
}

async fn judge_conn(
    role: Role,
    compression: Option<Params>,
    steps: impl Iterator<Item = &[u8]>,
    before: &[&str],
    verdict: &Verdict,
) {
    let (conn, mut peer) = connect(role, Config::new(), compression, 1024 * 1024);
    let reading = tokio::spawn({
        let conn = conn.clone();
        async move {
            let mut texts = Vec::new();
            loop {
                match conn.read().await {
                    Ok(message) => texts.push(message.as_text().unwrap_or_default().to_owned()),
                    Err(error) => return (texts, error),
                }
            }
        }
    });
    for step in steps {
        peer.send_bytes(step).await;
        tokio::task::yield_now().await;
    }
    if *verdict == Fine {
        peer.send(&[close(1000, "")]).await;
    }
    let (texts, error) = soon(reading).await.unwrap();
    assert_eq!(texts, before);
    let code = match verdict {
        Wrong(violation, code) => {
            assert!(matches!(&error, Error::Protocol(found) if found == violation), "{error:?}");
            *code
        }
        Closes(code) => {
            assert_eq!(error.close_status().map(StatusCode::as_u16), Some(*code), "{error:?}");
            *code
        }
        Fine => 1000,
    };
    let frames = soon(peer.frames()).await;
    let (last, pongs) = frames.split_last().expect("there is a close frame");
    assert!(pongs.iter().all(|frame| frame.header.opcode == OpCode::PONG), "{frames:?}");
    match verdict {
        Closes(1005) => assert_eq!(*last, frame(OpCode::CLOSE, [])),
        Closes(_) | Wrong(..) | Fine => expect_close(std::slice::from_ref(last), code),
    }
    // The failure is permanent for all calls.
    let ending = soon(conn.closed()).await;
    assert_eq!(ending.sent.map(|close| close.code.as_u16()), Some(code));
    let by =
        if matches!(verdict, Wrong(..)) { CloseInitiator::Local } else { CloseInitiator::Peer };
    assert_eq!(ending.by, by);
    assert_eq!(soon(conn.read()).await.unwrap_err().close_status(), error.close_status());
    assert_eq!(soon(conn.write("late")).await.unwrap_err().close_status(), error.close_status());
}

/// Exactly one close frame with this code and a readable reason.
#[track_caller]
fn expect_close(frames: &[Frame], code: u16) {
    let [frame] = frames else { panic!("one close frame, not {frames:?}") };
    assert_eq!(frame.header.opcode, OpCode::CLOSE);
    let close = CloseFrame::decode(&frame.payload).unwrap().into_error();
    assert_eq!(close.code.as_u16(), code);
}

fn text_of(event: &ProtocolEvent) -> Option<&str> {
    match event {
        ProtocolEvent::Message(message) => Some(message.as_text().unwrap_or_default()),
        ProtocolEvent::Ping(_) | ProtocolEvent::Pong(_) | ProtocolEvent::Close(_) => None,
    }
}

// RFC 6455 §5.1: masking.

#[test]
fn a_client_must_mask_and_a_server_must_not() {
    for sent in [text("a"), binary(""), ping("a"), pong(""), close(1000, ""), text("a").open()] {
        let unmasked = [text("b").encode(Role::Client), sent.encode(Role::Server)].concat();
        judge(Role::Server, None, &unmasked, &["b"], &Wrong(Unmasked, 1002));
        let masked = [text("b").encode(Role::Server), sent.encode(Role::Client)].concat();
        judge(Role::Client, None, &masked, &["b"], &Wrong(Masked, 1002));
    }
}

#[test]
fn one_frame_of_a_message_unmasked_is_as_bad() {
    let bytes = [text("a").open().encode(Role::Client), more("b").encode(Role::Server)].concat();
    judge(Role::Server, None, &bytes, &[], &Wrong(Unmasked, 1002));
    let bytes = [text("a").open().encode(Role::Server), more("b").encode(Role::Client)].concat();
    judge(Role::Client, None, &bytes, &[], &Wrong(Masked, 1002));
}

// §5.2: the bits of a frame.

#[test]
fn reserved_bits_mean_nothing_without_an_extension() {
    for sent in [text("a"), binary("a"), ping("a"), pong("a"), close(1000, "")] {
        for bad in [sent.clone().rsv1(), sent.clone().rsv2(), sent.rsv3()] {
            check(&[text("b"), bad], &["b"], Wrong(ReservedBits, 1002));
        }
    }
    let open = text("a").open();
    check(&[open.clone(), more("b").rsv1()], &[], Wrong(ReservedBits, 1002));
    check(&[open.clone(), more("b").rsv2()], &[], Wrong(ReservedBits, 1002));
    check(&[open, more("b").rsv3()], &[], Wrong(ReservedBits, 1002));
    check(&[text("a").rsv1().rsv2().rsv3()], &[], Wrong(ReservedBits, 1002));
}

#[test]
fn opcodes_that_are_reserved_are_refused() {
    for number in (0x3..=0x7).chain(0xb..=0xf) {
        let bad = frame(OpCode::from_u8(number), "");
        check(&[text("a"), bad.clone()], &["a"], Wrong(ReservedOpcode(number), 1002));
        check(&[bad.declared_len(4)], &[], Wrong(ReservedOpcode(number), 1002));
        let inside = frame(OpCode::from_u8(number), "b");
        check(&[text("a").open(), inside], &[], Wrong(ReservedOpcode(number), 1002));
    }
}

#[test]
fn a_length_has_its_shortest_form() {
    for sent in [text(""), text("a"), text("a".repeat(125)), ping("a"), close(1000, "")] {
        check(&[text("b"), sent.non_minimal_len()], &["b"], Wrong(LengthNotMinimal, 1002));
    }
    for len in [126, 0xffff] {
        check(&[text("").non_minimal_len().declared_len(len)], &[], Wrong(LengthNotMinimal, 1002));
    }
    for len in [0u64, 5, 125, 126, 0xffff] {
        let eight = [&[0x82, 127][..], &len.to_be_bytes()].concat();
        judge(Role::Client, None, &eight, &[], &Wrong(LengthNotMinimal, 1002));
        let eight = [&[0x82, 0xff][..], &len.to_be_bytes(), b"mask"].concat();
        judge(Role::Server, None, &eight, &[], &Wrong(LengthNotMinimal, 1002));
    }
}

#[test]
fn a_length_has_63_bits() {
    for len in [1 << 63, (1 << 63) + 5, u64::MAX] {
        check(&[text("a"), binary("").declared_len(len)], &["a"], Wrong(LengthTooLarge, 1002));
        check(&[text("").open().declared_len(len)], &[], Wrong(LengthTooLarge, 1002));
        check(&[text("a").open(), more("").declared_len(len)], &[], Wrong(LengthTooLarge, 1002));
        check_compressed(&[text("").rsv1().declared_len(len)], &[], Wrong(LengthTooLarge, 1002));
    }
}

// §5.4: fragments.

#[test]
fn a_continuation_needs_something_to_continue() {
    check(&[more("a")], &[], Wrong(NothingToContinue, 1002));
    check(&[more("").open()], &[], Wrong(NothingToContinue, 1002));
    check(&[text("a"), more("b")], &["a"], Wrong(NothingToContinue, 1002));
    let whole = [text("a").open(), more("b"), more("c")];
    check(&whole, &["ab"], Wrong(NothingToContinue, 1002));
}

#[test]
fn a_message_is_finished_before_the_next_begins() {
    for next in [text("b"), binary("b"), text("b").open(), text("")] {
        check(&[text("a").open(), next.clone()], &[], Wrong(MessageUnfinished, 1002));
        let second = [text("a").open(), more("").open(), next];
        check(&second, &[], Wrong(MessageUnfinished, 1002));
    }
}

// §5.5: control frames.

#[test]
fn control_frames_are_not_fragmented() {
    for sent in [ping("a"), pong("a"), close(1000, ""), ping("")] {
        check(&[text("a"), sent.clone().open()], &["a"], Wrong(FragmentedControl, 1002));
        check(&[text("a").open(), sent.open()], &[], Wrong(FragmentedControl, 1002));
    }
}

#[test]
fn control_frames_have_at_most_125_bytes() {
    for sent in [ping(""), pong(""), close(1000, "")] {
        check(&[text("a"), sent.clone().declared_len(126)], &["a"], Wrong(ControlTooLong, 1002));
        // The payload is not awaited.
        check(&[sent.clone().declared_len(65_536)], &[], Wrong(ControlTooLong, 1002));
        check(&[sent.declared_len(1 << 62)], &[], Wrong(ControlTooLong, 1002));
    }
    let full = "x".repeat(125);
    check(&[ping(&full), pong(&full), text("a")], &["a"], Fine);
    check(&[close(1000, &full[..123])], &[], Closes(1000));
}

// §5.5.1: close frames.

#[test]
fn a_close_frame_has_no_payload_or_a_code() {
    for byte in [0x00, 0x03, 0xff] {
        let bad = frame(OpCode::CLOSE, [byte]);
        check(&[text("a"), bad], &["a"], Wrong(CloseTooShort, 1002));
    }
    check(&[text("a"), frame(OpCode::CLOSE, [])], &["a"], Closes(1005));
}

#[test]
fn a_close_reason_is_utf8() {
    for reason in [&b"\xff"[..], b"bye \xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"] {
        check(&[text("a"), close(1000, reason)], &["a"], Wrong(CloseReasonNotUtf8, 1007));
    }
    check(&[close(1000, "κόσμε")], &[], Closes(1000));
}

#[test]
fn nothing_is_looked_at_after_a_close_frame() {
    check(&[close(1000, ""), text("\u{fffd}").rsv2()], &[], Closes(1000));
    check(&[close(4000, "a"), close(1001, "b"), text("c")], &[], Closes(4000));
    check(&[text("a").open(), close(1001, "")], &[], Closes(1001));
}

// §7.4: close codes.

#[test]
fn only_some_codes_may_be_sent() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check(&[text("a"), close(code, "")], &["a"], Wrong(CloseCode(code), 1002));
        check(&[close(code, "why")], &[], Wrong(CloseCode(code), 1002));
    }
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        check(&[text("a"), close(code, "why")], &["a"], Closes(code));
    }
}

// §8.1: text is UTF-8.

#[test]
fn text_that_is_not_utf8_is_refused() {
    let bad = [
        &b"\xff"[..],
        b"\x80",
        b"a\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        // A surrogate, overlong forms, above U+10FFFF.
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ];
    for payload in bad {
        check(&[text("a"), text(payload)], &["a"], Wrong(TextNotUtf8, 1007));
        for at in 0..=payload.len() {
            let (head, tail) = payload.split_at(at);
            check(&[text(head).open(), more(tail)], &[], Wrong(TextNotUtf8, 1007));
            check(
                &[text(head).open(), ping("x"), more("").open(), more(tail)],
                &[],
                Wrong(TextNotUtf8, 1007),
            );
        }
    }
}

#[test]
fn text_that_is_hopeless_is_refused_before_its_frame_is_here() {
    for bad in [&b"abc\xff"[..], b"\xed\xa0", b"\xf4\x90", b"\xc0", b"\xe2\x82a"] {
        check(&[text(bad).declared_len(1000)], &[], Wrong(TextNotUtf8, 1007));
        check(&[text(bad).open().declared_len(100_000)], &[], Wrong(TextNotUtf8, 1007));
        check(&[text("a").open(), more(bad).declared_len(1000)], &[], Wrong(TextNotUtf8, 1007));
        check(&[text(bad).open()], &[], Wrong(TextNotUtf8, 1007));
    }
    check(&[text(b"\xe2\x82").open(), more(b"\xac")], &["€"], Fine);
    check(&[binary(b"\xff").open(), more(b"\xc0")], &[""], Fine);
}

#[test]
fn text_is_judged_after_it_was_inflated() {
    check_compressed(&[text("a"), text(b"\xff").deflated()], &["a"], Wrong(TextNotUtf8, 1007));
    check_compressed(&[text(b"a\xe2\x82").deflated()], &[], Wrong(TextNotUtf8, 1007));
    check_compressed(&[binary(b"\xff").deflated()], &[""], Fine);
}

// RFC 7692 §6: which frames may be compressed.

#[test]
fn rsv1_stands_on_the_first_frame_of_a_message_only() {
    for bad in [ping("a"), pong("a"), close(1000, "")] {
        check_compressed(&[text("a"), bad.rsv1()], &["a"], Wrong(ReservedBits, 1002));
    }
    check_compressed(&[more("a").rsv1()], &[], Wrong(ReservedBits, 1002));
    check_compressed(&[text("a").open(), more("b").rsv1()], &[], Wrong(ReservedBits, 1002));
    let deflated = text("ab").deflated();
    let (head, tail) = deflated.payload.split_at(2);
    let halves = [text(head).rsv1().open(), more(tail).rsv1()];
    check_compressed(&halves, &[], Wrong(ReservedBits, 1002));
    let halves = [text(head).rsv1().open(), ping("").rsv1()];
    check_compressed(&halves, &[], Wrong(ReservedBits, 1002));
    for bad in [text("a").rsv2(), text("a").rsv3(), text("a").deflated().rsv2()] {
        check_compressed(&[bad], &[], Wrong(ReservedBits, 1002));
    }
    check_compressed(&[deflated.clone(), text("c"), deflated], &["ab", "c", "ab"], Fine);
    check(&[text("a"), text("b").deflated()], &["a"], Wrong(ReservedBits, 1002));
}

// §7.2.2: corrupt compressed data.

#[test]
fn compressed_data_that_is_corrupt_is_refused() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let corrupt = [
        // A reserved block type.
        &b"\x06"[..],
        b"\x07",
        b"\xff\xff\xff",
        // A stored block with an inconsistent length.
        b"\x00\x05\x00\x00\x00Hello",
        // A reference to before the beginning.
        b"\xf2\x00\x11\x00\x00",
    ];
    for payload in corrupt {
        for sent in [text(payload).rsv1(), binary(payload).rsv1()] {
            check_compressed(&[text("a"), sent], &["a"], Wrong(Deflate, 1007));
        }
        let (head, tail) = payload.split_at(1);
        let cut = [binary(head).rsv1().open(), ping("x"), more(tail)];
        check_compressed(&cut, &[], Wrong(Deflate, 1007));
    }
    for len in 1..hello.len() {
        check_compressed(&[binary(&hello[..len]).rsv1()], &[], Wrong(Deflate, 1007));
    }
    check_compressed(&[text(hello).rsv1(), text(hello).rsv1()], &["Hello", "Hello"], Fine);
}

#[test]
fn a_last_block_of_nothing_neither_hangs_nor_panics() {
    // A truncated empty final block, which once caused an endless loop.
    let server = b"\xc2\x02\x03\x80";
    let client = b"\xc2\x82\0\0\0\0\x03\x80";
    for params in [
        Params::default(),
        Params {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            ..Params::default()
        },
    ] {
        judge(Role::Client, Some(params), server, &[""], &Fine);
        judge(Role::Server, Some(params), client, &[""], &Fine);
        let again = [&server[..], server, b"\x81\x01a"].concat();
        judge(Role::Client, Some(params), &again, &["", "", "a"], &Fine);
        judge(Role::Server, Some(params), server, &[], &Wrong(Unmasked, 1002));
        judge(Role::Client, Some(params), client, &[], &Wrong(Masked, 1002));
    }
    judge(Role::Client, None, server, &[], &Wrong(ReservedBits, 1002));
    judge(Role::Server, None, client, &[], &Wrong(ReservedBits, 1002));
}

// A rule of the application rather than the RFC.

#[test]
fn who_expects_no_message_closes_with_1008_when_one_comes() {
    for role in BOTH {
        for frames in [&[text("a")][..], &[binary("")], &[ping("x"), text("a").open(), more("b")]] {
            run(async {
                let (conn, mut peer) = connect(role, Config::new(), None, 1024);
                let reading = conn.close_read();
                peer.send(frames).await;
                let mut seen = soon(peer.frames()).await;
                expect_close(&seen.split_off(seen.len() - 1), 1008);
                let ending = soon(reading).await;
                let error = ending.error;
                assert!(matches!(error, Error::Protocol(UnexpectedMessage)), "{error:?}");
                assert_eq!(error.close_status(), Some(StatusCode::POLICY_VIOLATION));
                assert!(matches!(conn.read().await, Err(Error::Protocol(UnexpectedMessage))));
            });
        }
    }
}

#[test]
fn a_message_that_was_kept_for_a_read_is_unexpected_too() {
    run(async {
        let (conn, mut peer) = connect(Role::Server, Config::new(), None, 1024);
        peer.send(&[text("kept")]).await;
        // A task that waits for the end receives the message and drops it.
        assert!(timeout(Duration::from_secs(1), conn.closed()).await.is_err());
        let ending = soon(conn.close_read()).await;
        assert!(matches!(ending.error, Error::Protocol(UnexpectedMessage)));
        expect_close(&soon(peer.frames()).await, 1008);
    });
}

#[test]
fn a_fault_tells_the_peer_why_in_a_reason_that_fits() {
    let violations = [
        ReservedBits,
        ReservedOpcode(0xf),
        LengthNotMinimal,
        LengthTooLarge,
        Unmasked,
        Masked,
        FragmentedControl,
        ControlTooLong,
        NothingToContinue,
        MessageUnfinished,
        CloseTooShort,
        CloseCode(u16::MAX),
        CloseReasonNotUtf8,
        TextNotUtf8,
        Deflate,
        UnexpectedMessage,
    ];
    for violation in violations {
        let frame = Failure::Protocol(violation).close_frame();
        let payload = Bytes::from(frame.encode());
        assert!(payload.len() <= 125);
        assert_eq!(
            CloseFrame::decode(&payload).unwrap().into_error().reason,
            violation.to_string()
        );
    }
}
