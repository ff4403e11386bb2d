//! How far is a connection in its turn to read, and does it wait for the next one?

use crate::proto::Turn;

/// What the operations of a connection do with its [`Turn`].
///
/// When a turn is over, the connection enters the turn queue once. Only the queue begins the next turn,
/// whichever operations are polled, dropped or made meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnState {
    /// They handle input until nothing is left.
    Short,
    /// The same for a turn in which a long message fits.
    Long,
    /// Nothing is left. The connection enters the queue when the lock is released.
    Ended,
    /// The connection is in the queue. No operation handles input.
    Queued,
}

impl TurnState {
    /// A turn behind those of others.
    pub(super) const fn next(is_long: bool) -> (Self, Turn) {
        if is_long { (Self::Long, Turn::long()) } else { (Self::Short, Turn::new()) }
    }

    /// This many bytes of a payload are read in place.
    pub(super) fn payload(self, turn: &mut Turn, count: usize) {
        match self {
            Self::Long => turn.long_payload(count),
            Self::Short | Self::Ended | Self::Queued => turn.bytes(count),
        }
    }

    /// Ends the turn. The connection has to enter the queue, unless it is there.
    pub(super) fn end(&mut self, turn: &mut Turn) {
        *turn = Turn::over();
        if *self != Self::Queued {
            *self = Self::Ended;
        }
    }

    /// Notes that the connection enters the queue. Returns whether it has to.
    pub(super) fn enter_queue(&mut self) -> bool {
        let has_ended = *self == Self::Ended;
        if has_ended {
            *self = Self::Queued;
        }
        has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_enters_the_queue_once_for_each_turn() {
        let (mut state, mut turn) = (TurnState::Short, Turn::new());
        assert!(!state.enter_queue());
        for is_long in [false, true, false] {
            state.end(&mut turn);
            state.end(&mut turn);
            assert!(state.enter_queue());
            // Operations that are polled meanwhile.
            state.end(&mut turn);
            assert!(!state.enter_queue() && turn.is_over());
            (state, turn) = TurnState::next(is_long);
            assert!(!state.enter_queue() && !turn.is_over());
        }
    }

    #[test]
    fn a_long_message_fits_into_a_long_turn_only() {
        for (is_long, fits) in [(false, 64 * 1024), (true, 1024 * 1024)] {
            let (state, mut turn) = TurnState::next(is_long);
            state.payload(&mut turn, fits - 1);
            assert!(!turn.is_over());
            state.payload(&mut turn, 16);
            assert!(turn.is_over());
        }
    }
}
