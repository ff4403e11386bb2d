//! What do nodes tell each other of a session that moves from one to another?
//!
//! A token is hexadecimal, and a session is a text that only hubs read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fields::Malformed;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionQuestion {
    /// To give sessions to the node that asks. The node that is asked goes on to count messages for
    /// them, under this number.
    Take {
        handover: u64,
        tokens: Vec<String>,
        /// A client waits for it; otherwise it is to wait on another node.
        claimer: Option<SessionClaimer>,
    },
    /// To stop counting once the markers with this number have come on so many subjects, and to say
    /// for which sessions messages were counted.
    Release { handover: u64, subjects: usize },
    /// To take sessions from a node.
    Adopt { owner: u64, tokens: Vec<String> },
}

/// The user of a connection that claims a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionClaimer {
    pub(crate) user: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionAnswer {
    Given {
        token: String,
        session: String,
    },
    Refused {
        token: String,
        reason: String,
    },
    /// These sessions have missed messages.
    Missed(Vec<String>),
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // It cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(super) fn from_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(value).map_err(|_| Malformed)
}
