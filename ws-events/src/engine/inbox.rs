//! Which messages have arrived at a session, and wait for the application?

use std::collections::VecDeque;

use ws_core::Message;

use super::packet::EnginePacket;
use super::payload::EnginePayload;
use super::turn::ReceiveTurn;

/// The WebSocket is not read while this much of it waits for the application.
const MAX_INBOX_MESSAGES: usize = 64;
const MAX_INBOX_BYTES: usize = 64 * 1024;

/// The messages that have arrived and wait for the application.
#[derive(Debug, Default)]
pub(super) struct EngineInbox {
    /// The bodies of POSTs. They come before the messages of the WebSocket.
    payloads: Option<Box<Payloads>>,
    messages: VecDeque<Message>,
    pub(super) turn: ReceiveTurn,
}

/// The body of the last POST, and how many messages are left in it. A second one is from a POST that
/// ends the session.
type Payloads = VecDeque<(EnginePayload, usize)>;

impl EngineInbox {
    /// Whether the body of another POST may be put into it.
    pub(super) fn has_room_for_payload(&self) -> bool {
        self.payloads.is_none()
    }

    /// Whether another message of the WebSocket may be put into it.
    pub(super) fn has_room(&self) -> bool {
        // Added up each time: most inboxes are empty, and none needs memory for the sum.
        let bytes = || self.messages.iter().map(Message::len).sum::<usize>();
        self.messages.len() < MAX_INBOX_MESSAGES && bytes() < MAX_INBOX_BYTES
    }

    pub(super) fn push_payload(&mut self, mut payload: EnginePayload, messages: usize) {
        payload.skip_to_message();
        self.payloads.get_or_insert_default().push_back((payload, messages));
    }

    pub(super) fn push(&mut self, message: Message) {
        self.messages.push_back(message);
    }

    /// Whether there is a message, and it has to wait for the next turn.
    pub(super) fn is_turn_over(&self) -> bool {
        let Some(limit) = self.turn.limit() else {
            return self.payloads.is_some() || !self.messages.is_empty();
        };
        match self.payloads.as_ref().and_then(|payloads| payloads.front()) {
            Some((payload, _)) => !payload.is_next_within(limit),
            None => self.messages.front().is_some_and(|message| message.len() > limit),
        }
    }

    /// The next message, which takes its part of the turn.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.pop_any()?;
        self.turn.receive(message.len());
        Some(message)
    }

    fn pop_any(&mut self) -> Option<Message> {
        while let Some((payload, left)) = self.payloads.as_mut().and_then(|all| all.front_mut()) {
            // Other packets were handled when the body arrived.
            let message = payload.find_map(|packet| match packet {
                Ok(EnginePacket::Message(message)) => Some(message),
                _ => None,
            });
            *left -= 1;
            payload.skip_to_message();
            if *left == 0 || message.is_none() {
                self.payloads.take_if(|payloads| {
                    payloads.pop_front();
                    payloads.is_empty()
                });
            }
            if message.is_some() {
                return message;
            }
        }
        let message = self.messages.pop_front()?;
        if self.messages.is_empty() {
            // An idle session holds no memory for it.
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_long_message_waits_for_its_turn_also_behind_other_packets() {
        for between in ["", "6\u{1e}", "6\u{1e}3\u{1e}"] {
            let mut inbox = EngineInbox::default();
            let body = format!("6\u{1e}4a\u{1e}{between}4{}\u{1e}6", "x".repeat(100 * 1024));
            inbox.push_payload(EnginePayload::new(Bytes::from(body)).unwrap(), 2);
            assert!(!inbox.is_turn_over());
            assert_eq!(inbox.pop(), Some(Message::text("a")));
            assert!(inbox.is_turn_over(), "{between:?}");
            assert_eq!(inbox.pop().map(|long| long.len()), Some(100 * 1024));
            assert!(inbox.pop().is_none() && inbox.has_room_for_payload());
        }
    }
}
