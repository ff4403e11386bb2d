//! Are raw frames read as encoded, and sent exactly when the other end accepts them?

use std::io::IoSlice;

use ws_core::deflate::Params;
use ws_core::frame::{Frame, Header, OpCode, mask};
use ws_core::proto::{Failure, Inbound, Mode, Outbound, ProtocolEvent, Role};
use ws_core::{Compression, Config, Limits, ProtocolError};

use crate::{Cuts, Input};

/// Runs the checks of this module on one input.
///
/// # Panics
///
/// When a check fails.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let role = input.pick(&[Role::Server, Role::Client]);
    if input.byte() & 1 == 0 {
        read(role, &mut input);
    } else {
        craft(role, &mut input);
    }
}

fn config() -> Config {
    let compression = Compression::no_context_takeover();
    Config::new().limits(Limits::new().no_message_size()).compression(compression)
}

/// Reads bytes as raw frames, split in any way, and compares them with the decoded frames.
fn read(role: Role, input: &mut Input<'_>) {
    let compression = input.pick(&[None, Some(Params::default())]);
    let (cuts, switch) = (input.cuts(), input.byte());
    let wire = input.rest().to_vec();
    let whole = frames(role, compression, &wire, Cuts::NONE, None);
    let pieces = frames(role, compression, &wire, cuts, None);
    assert_eq!(whole.0, pieces.0, "the cuts matter");
    let mut rest = &wire[..];
    for frame in &whole.0 {
        let (header, head) = Header::decode(rest).expect("a frame of nothing");
        let end = head + usize::try_from(header.len).expect("a frame longer than memory");
        let mut payload = rest[head..end].to_vec();
        if let Some(key) = header.mask {
            mask(&mut payload, key);
        }
        assert_eq!((frame.opcode(), frame.is_fin()), (header.opcode, header.fin));
        assert_eq!(frame.payload(), &payload);
        rest = &rest[end..];
    }
    // Switching the mode at any point is harmless.
    frames(role, compression, &wire, cuts, Some(switch.max(1)));
}

/// The raw frames of some bytes, and the failure. Switches to messages at intervals.
fn frames(
    role: Role,
    compression: Option<Params>,
    wire: &[u8],
    mut cuts: Cuts,
    switch: Option<u8>,
) -> (Vec<Frame>, Option<Failure>) {
    let mut inbound = Inbound::new(role, config(), compression);
    let (mut found, mut rest, mut wire) = (Vec::new(), Vec::new(), wire);
    while !wire.is_empty() {
        rest.extend_from_slice(cuts.split(&mut wire));
        loop {
            let by_frame = switch.is_none_or(|every| found.len() % (usize::from(every) + 1) > 0);
            inbound.set_frame_mode(by_frame);
            if !by_frame && inbound.is_message_in_frames() {
                inbound.discard();
            }
            if let Some(frame) = inbound.take_frame() {
                found.push(frame);
            }
            let received = match inbound.receive(&mut rest, Mode::Whole) {
                Ok(received) => received,
                Err(fault) => return (found, Some(fault)),
            };
            rest.drain(..received.consumed);
            match received.event {
                Some(ProtocolEvent::Ping(payload)) => found.push(Frame::ping(payload)),
                Some(ProtocolEvent::Pong(payload)) => found.push(Frame::pong(payload)),
                Some(ProtocolEvent::Close(close)) => {
                    found.push(Frame::new(OpCode::CLOSE, close.encode()));
                    return (found, None);
                }
                Some(ProtocolEvent::Message(message)) => {
                    assert!(!by_frame || switch.is_some(), "a message, and no frame of it");
                    found.push(message.into());
                }
                None if inbound.has_frame() => {}
                None => break,
            }
        }
    }
    (found, None)
}

/// Sends frames of arbitrary bits, and compares the result with the validation of the other end.
fn craft(role: Role, input: &mut Input<'_>) {
    let compression = input.pick(&[None, Some(Params::default())]);
    let mut outbound = Outbound::new(role, &config(), compression);
    let mut peer = Inbound::new(role.other(), config(), compression);
    while !input.rest().is_empty() {
        let frame = frame(input);
        if frame.opcode() == OpCode::CLOSE {
            continue;
        }
        let refused = outbound.frame(&frame).is_err();
        if refused {
            let mut before = outbound_bytes(&mut outbound);
            assert!(before.is_empty(), "a frame that is refused is not sent");
            // Its mask follows the role unless it is explicit.
            outbound.frame_unchecked(&frame);
            before = outbound_bytes(&mut outbound);
            let judged = take(&mut peer, before);
            let claims = frame.header().len != frame.payload().len() as u64;
            assert!(judged.is_err() || claims, "{frame:?} could have been sent");
            return;
        }
        let judged = take(&mut peer, outbound_bytes(&mut outbound));
        // Compressed payloads are not checked.
        let is_compressed = judged == Err(Failure::Protocol(ProtocolError::Deflate))
            || judged == Err(Failure::Protocol(ProtocolError::TextNotUtf8));
        assert!(
            judged.is_ok() || (compression.is_some() && is_compressed),
            "{frame:?}: {judged:?}"
        );
        if judged.is_err() {
            return;
        }
    }
}

fn frame(input: &mut Input<'_>) -> Frame {
    let (bits, how, len) = (input.byte(), input.byte(), input.size());
    let payload = input.take(len).to_vec();
    let mut frame = Frame::new(OpCode::from_u8(bits), payload)
        .fin(bits & 0x80 != 0)
        .rsv1(bits & 0x40 != 0)
        .rsv2(bits & 0x20 != 0)
        .rsv3(bits & 0x10 != 0);
    if how & 0x80 != 0 {
        frame = frame.masked_with([how; 4]);
    }
    if how & 0x40 != 0 {
        frame = frame.unmasked();
    }
    if how & 0x3f == 1 {
        frame = frame.non_minimal_len();
    }
    if how & 0x3f == 2 {
        frame = frame.declared_len(u64::from(how));
    }
    frame
}

fn outbound_bytes(outbound: &mut Outbound) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !outbound.is_empty() {
        let mut slices = [IoSlice::new(&[])];
        outbound.slices(&mut slices);
        let taken = slices[0].to_vec();
        outbound.advance(taken.len());
        bytes.extend(taken);
    }
    bytes
}

/// Validates all bytes.
fn take(peer: &mut Inbound, mut bytes: Vec<u8>) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let received = peer.receive(&mut bytes, Mode::Whole)?;
        bytes.drain(..received.consumed);
        if received.event.is_none() && received.consumed == 0 {
            break;
        }
    }
    Ok(())
}
