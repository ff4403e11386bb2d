//! Why did a client not get its session back?

use serde::{Deserialize, Serialize};

/// Why a session was not recovered. As text, it is the `reason` that an envelope client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecoveryFailure {
    /// There is no such session: its window is over, it was ended, or it is of another user.
    UnknownSession,
    /// Another connection has claimed it.
    AlreadyClaimed,
    /// The handlers of the lost connection have not returned in time.
    Busy,
    /// The offset is not among the last that were sent.
    UnknownOffset,
    /// A message was missed that is in no history, or not any more.
    Missed,
    /// More was missed than fits into the send queue.
    TooMuch,
    /// Another socket has its id now.
    IdTaken,
    /// The history cannot be read now.
    HistoryUnavailable,
    /// The store of sessions does not say now which node has it.
    StoreUnavailable,
    /// The node that had it has ended, or does not answer.
    NodeLost,
}

impl RecoveryFailure {
    /// For another node.
    pub(super) fn text(self) -> String {
        // It cannot fail.
        serde_json::to_string(&self).unwrap_or_default()
    }

    /// Of another node, which may be newer.
    pub(super) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or(Self::UnknownSession)
    }
}
