//! How does a frame that somebody else made become bytes?

use super::Outbound;
use super::judge::{Situation, judge};
use super::open_stream::OpenStream;
use crate::SendError;
use crate::frame::{Frame, OpCode};
use crate::utf8::Utf8;

impl Outbound {
    /// Queues a frame as it is made, if it may come here. Not to be called while a stream is
    /// open; that of crafted frames is none. Does nothing after a close frame. A close frame
    /// goes by [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// When the peer would have to refuse it. Compressed frames are not looked into, and may
    /// not be sent where the window is kept, since the compressor knows nothing of them.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), SendError> {
        self.check(frame)?;
        let frame = frame.clone().masked_by_role(self.mask());
        let (header, payload) = (frame.header(), frame.payload());
        if self.closed {
            return Ok(());
        }
        if header.opcode.is_control() {
            self.queue.push_urgent(header, payload);
            self.count_extra(true);
            return Ok(());
        }
        let text = self.crafted_text(&frame)?;
        self.queue.push(header, payload.clone());
        self.count_extra(header.opcode == OpCode::CONTINUATION);
        self.stream = if header.fin { None } else { Some(OpenStream::Crafted) };
        if text.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().text = text.filter(|_| !header.fin);
        }
        Ok(())
    }

    /// May this frame come here, as far as its header says?
    ///
    /// # Errors
    ///
    /// When it may not.
    pub fn check(&self, frame: &Frame) -> Result<(), SendError> {
        let frame = frame.clone().masked_by_role(self.mask());
        judge(frame.header(), self.as_peer_sees_it()).map_err(SendError::Frame)?;
        if frame.header().len != frame.payload().len() as u64 {
            return Err(SendError::Length(frame.header().len));
        }
        Ok(())
    }

    /// Queues a frame as it is made, bit by bit, whatever comes of it.
    pub fn frame_unchecked(&mut self, frame: &Frame) {
        let frame = frame.clone().masked_by_role(self.mask());
        self.queue.push_as_is(frame.encode().into());
        self.count_extra(true);
    }

    /// Is a message open that is sent in crafted frames?
    pub fn is_sending_raw_frames(&self) -> bool {
        self.stream == Some(OpenStream::Crafted)
    }

    fn as_peer_sees_it(&self) -> Situation {
        Situation {
            role: self.role.other(),
            in_message: self.stream.is_some(),
            compression: self
                .rare
                .as_ref()
                .and_then(|rare| rare.compressor.as_ref())
                .is_some_and(|compressor| !compressor.takeover),
        }
    }

    /// The text of the message that this frame is of, with the frame; `None` if it is not
    /// text, or compressed.
    fn crafted_text(&self, frame: &Frame) -> Result<Option<Utf8>, SendError> {
        let text = match frame.opcode() {
            OpCode::TEXT => (!frame.header().rsv1).then(Utf8::new),
            OpCode::CONTINUATION => self.rare.as_ref().and_then(|rare| rare.text),
            _ => None,
        };
        let Some(mut text) = text else { return Ok(None) };
        text.push(frame.payload()).map_err(|_| SendError::NotUtf8)?;
        if frame.is_fin() {
            text.finish().map_err(|_| SendError::NotUtf8)?;
        }
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;
    use crate::deflate::Params;
    use crate::{Compression, Config, ProtocolError};

    fn outbound(role: Role, compression: Option<Compression>) -> Outbound {
        let config = Config::new().compression(compression.unwrap_or_default());
        Outbound::new(role, &config, compression.map(|_| Params::default()))
    }

    /// Sends frames, and looks at what becomes of the last.
    #[track_caller]
    fn check(role: Role, frames: &[Frame], outcome: Result<(), SendError>) {
        let mut outbound = outbound(role, None);
        let (last, before) = frames.split_last().unwrap();
        for frame in before {
            outbound.frame(frame).unwrap();
        }
        let len = outbound.buffered();
        assert_eq!(outbound.frame(last), outcome);
        assert_eq!(outbound.buffered() == len, outcome.is_err(), "none of it is queued");
    }

    #[test]
    fn frames_are_judged_as_the_peer_would() {
        let refused = |error| Err(SendError::Frame(error));
        let more = || Frame::new(OpCode::CONTINUATION, "x");
        let rows = [
            (vec![Frame::text("x")], Ok(())),
            (vec![Frame::text("x").fin(false), more()], Ok(())),
            (vec![Frame::text("x").fin(false), Frame::ping("x")], Ok(())),
            (vec![Frame::text("x").fin(false), more().fin(false), more()], Ok(())),
            (vec![Frame::text("x").fin(false), more(), Frame::text("x")], Ok(())),
            (vec![more()], refused(ProtocolError::NothingToContinue)),
            (
                vec![Frame::binary("x").fin(false), Frame::binary("x")],
                refused(ProtocolError::MessageUnfinished),
            ),
            (vec![Frame::text("x").rsv1(true)], refused(ProtocolError::ReservedBits)),
            (vec![Frame::text("x").rsv2(true)], refused(ProtocolError::ReservedBits)),
            (vec![Frame::ping("x").fin(false)], refused(ProtocolError::FragmentedControl)),
            (vec![Frame::ping(vec![0; 126])], refused(ProtocolError::ControlTooLong)),
            (vec![Frame::text("x").non_minimal_len()], refused(ProtocolError::LengthNotMinimal)),
            (vec![Frame::new(OpCode::from_u8(3), "")], refused(ProtocolError::ReservedOpcode(3))),
            (vec![Frame::text("x").declared_len(2)], Err(SendError::Length(2))),
        ];
        for role in [Role::Client, Role::Server] {
            for (frames, outcome) in &rows {
                check(role, frames, *outcome);
            }
        }
        let key = [1, 2, 3, 4];
        check(Role::Client, &[Frame::text("x").masked_with(key)], Ok(()));
        check(Role::Client, &[Frame::text("x").unmasked()], refused(ProtocolError::Unmasked));
        check(Role::Server, &[Frame::text("x").unmasked()], Ok(()));
        check(Role::Server, &[Frame::text("x").masked_with(key)], refused(ProtocolError::Masked));
    }

    #[test]
    fn text_is_checked_across_frames() {
        let begin = |text: &[u8]| Frame::new(OpCode::TEXT, text.to_vec()).fin(false);
        let more = |text: &[u8]| Frame::new(OpCode::CONTINUATION, text.to_vec());
        check(Role::Server, &[begin(b"\xc3"), more(b"\xa9")], Ok(()));
        check(Role::Server, &[begin(b"\xc3"), more(b"")], Err(SendError::NotUtf8));
        check(Role::Server, &[begin(b"\xc3"), more(b"x")], Err(SendError::NotUtf8));
        let open = more(b"\xe4").fin(false);
        check(Role::Server, &[begin(b"x"), open, more(b"x")], Err(SendError::NotUtf8));
        let binary = Frame::binary("\u{e9}").fin(false);
        check(Role::Server, &[binary, more(b"\xff")], Ok(()));
    }

    #[test]
    fn compressed_frames_may_be_crafted_where_no_window_is_kept() {
        let frame = Frame::binary("x").rsv1(true);
        let mut free = outbound(Role::Server, Some(Compression::no_context_takeover()));
        assert_eq!(free.frame(&frame), Ok(()));
        let mut kept = outbound(Role::Server, Some(Compression::context_takeover()));
        assert_eq!(kept.frame(&frame), Err(SendError::Frame(ProtocolError::ReservedBits)));
    }

    #[test]
    fn unchecked_frames_leave_as_they_are() {
        let mut outbound = outbound(Role::Server, None);
        let frame = Frame::text("x").rsv3(true).declared_len(9).masked_with([0; 4]);
        outbound.frame_unchecked(&frame);
        let mut slices = [std::io::IoSlice::new(&[])];
        assert_eq!(outbound.slices(&mut slices), 1);
        assert_eq!(*slices[0], frame.encode()[..]);
        assert!(!outbound.is_streaming());
    }
}
