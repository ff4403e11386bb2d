//! How much of a session is received before other sessions have their turn?
//!
//! To decode a message takes longer than to read it, and the handlers come on top. The WebSocket of a
//! session waits for a turn after each 64 KiB, but a message that it has read may be decoded later,
//! and POSTs are read by the HTTP server. So a session waits for a turn of its own to receive.

/// What is received in a turn, unless one message is longer. A longer one has a turn for itself.
pub(super) const TURN_BYTES: usize = 64 * 1024;

/// What a message takes beside its bytes: a turn has at most 256 short ones.
const MESSAGE_COST: usize = TURN_BYTES / 256;

/// The part of a turn that is left.
#[derive(Debug)]
pub(super) struct ReceiveTurn {
    left: u32,
    phase: TurnPhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnPhase {
    /// Messages are received as long as they fit into what is left.
    Running,
    /// The next message waits for the next turn.
    Waiting,
    /// A turn has begun. Its first message may be longer than all of it.
    Begun,
}

impl Default for ReceiveTurn {
    fn default() -> Self {
        Self { left: TURN_BYTES as u32, phase: TurnPhase::Running }
    }
}

impl ReceiveTurn {
    /// A message of this length is received.
    pub(super) fn receive(&mut self, length: usize) {
        if self.phase == TurnPhase::Begun {
            *self = Self::default();
        }
        let cost = u32::try_from(length.saturating_add(MESSAGE_COST)).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(cost);
    }

    /// The next message waits for the next turn. Returns whether it did so before.
    pub(super) fn wait(&mut self) -> bool {
        std::mem::replace(&mut self.phase, TurnPhase::Waiting) == TurnPhase::Waiting
    }

    /// The next turn begins, if it is waited for.
    pub(super) fn begin(&mut self) {
        if self.is_waiting() {
            self.phase = TurnPhase::Begun;
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.phase == TurnPhase::Waiting
    }

    /// How long the next message may be; `None` if even an empty one has to wait.
    pub(super) fn limit(&self) -> Option<usize> {
        match self.phase {
            TurnPhase::Begun => Some(usize::MAX),
            TurnPhase::Running | TurnPhase::Waiting => {
                (self.left as usize).checked_sub(MESSAGE_COST)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives messages of this length until one has to wait.
    fn receive_all(turn: &mut ReceiveTurn, length: usize) -> usize {
        let mut count = 0;
        while turn.limit().is_some_and(|limit| length <= limit) {
            turn.receive(length);
            count += 1;
        }
        count
    }

    #[test]
    fn a_turn_has_64_kib_or_256_messages_or_one_long_message() {
        for (length, at_first, in_a_turn) in [
            (0, 256, 256),
            (768, 64, 64),
            (16 * 1024, 3, 3),
            (40_000, 1, 1),
            (TURN_BYTES - MESSAGE_COST, 1, 1),
            (TURN_BYTES, 0, 1),
            (usize::MAX, 0, 1),
        ] {
            let mut turn = ReceiveTurn::default();
            assert_eq!(receive_all(&mut turn, length), at_first, "{length}");
            for _ in 0..2 {
                turn.begin();
                assert_eq!(receive_all(&mut turn, length), 0, "nobody waits, {length}");
                assert!(!turn.wait() && turn.wait(), "{length}");
                assert_eq!(receive_all(&mut turn, length), 0, "{length}");
                turn.begin();
                assert_eq!(receive_all(&mut turn, length), in_a_turn, "{length}");
            }
        }
    }
}
