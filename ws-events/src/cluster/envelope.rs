//! What do nodes send each other?
//!
//! An envelope is a [head](super::head), and the fields of a [body](Body). The body knows nothing of the
//! protocols of sockets: each node encodes it for its own.

use std::sync::Arc;

use bytes::Bytes;

use super::presence_body::{PresenceOp, PresencePart};
use super::sequence::Claim;
use super::session_body::{SessionAnswer, SessionQuestion};

/// The sockets of a broadcast or an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// All, or the members of the rooms and those with the ids.
    pub(crate) everyone: bool,
    pub(crate) rooms: Vec<Arc<str>>,
    pub(crate) ids: Vec<Arc<str>>,
    pub(crate) except_rooms: Vec<Arc<str>>,
    pub(crate) except_ids: Vec<Arc<str>>,
    /// What they get is not compressed.
    pub(crate) uncompressed: bool,
}

/// An event, independent of the protocols of its recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventBody {
    pub(crate) name: Arc<str>,
    /// JSON, without the values that are bytes.
    pub(crate) json: Bytes,
    /// These values, with their places in the JSON.
    pub(crate) bytes: Vec<(u64, Bytes)>,
    /// How many arguments the value stands for.
    pub(crate) shape: u8,
}

/// What a broadcast carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BroadcastBody {
    Text(Bytes),
    Binary(Bytes),
    Event(EventBody),
}

/// What is done with sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Join(Arc<str>),
    Leave(Arc<str>),
    Close(u16, Arc<str>),
    /// With the sockets of the same client in other namespaces.
    CloseSession(u16, Arc<str>),
}

/// What a node is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Sockets(Target),
    Count(Target),
    /// To send an event that each socket has to acknowledge.
    Acks(Target, EventBody),
    /// To answer an event of another server.
    Reply(EventBody),
    /// Which of its sockets are tracked. A node is asked alone.
    Presence,
    /// To give sessions away, or to take them. A node is asked alone.
    Session(SessionQuestion),
}

/// The id of a socket, and its rooms.
pub(crate) type ListedSocket = (Arc<str>, Vec<Arc<str>>);

/// A part of the answer of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerPart {
    Sockets(Vec<ListedSocket>),
    Count(u64),
    /// These sockets have to acknowledge.
    Expected(Vec<Arc<str>>),
    /// All that have to acknowledge were listed.
    AllExpected,
    Ack(Arc<str>, RemoteAck),
    /// What a handler of a server event has answered, as JSON.
    Reply(Bytes),
    Presence(PresencePart),
    Session(SessionAnswer),
    /// All parts were sent.
    Done,
    /// The node has too much to do.
    Busy,
}

/// The acknowledgement of a socket of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RemoteAck {
    /// JSON, with placeholders of the attachments.
    Data(Bytes, Vec<Bytes>),
    /// The code of an error, and a number that belongs to it.
    Failed(u8, u64),
}

/// What a node tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeartbeatBody {
    pub(crate) sockets: u64,
    pub(crate) is_emitter: bool,
    /// Each node answers with a heartbeat of its own.
    pub(crate) wants_answer: bool,
    /// `None`: it says nothing about its numbers. Otherwise, whether all subjects are listed.
    pub(crate) is_complete: Option<bool>,
    pub(crate) claims: Vec<Claim>,
    /// The version of its presence, if it uses that.
    pub(crate) presence: Option<u64>,
}

/// What an envelope carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Broadcast {
        namespace: Arc<str>,
        target: Target,
        volatile: bool,
        body: BroadcastBody,
    },
    Operation {
        namespace: Arc<str>,
        target: Target,
        operation: Operation,
    },
    Heartbeat(HeartbeatBody),
    /// The origin leaves the cluster.
    Goodbye,
    /// Shows that a subscription works.
    Probe,
    /// Everything that was published on the subject before this has arrived.
    Marker {
        id: u64,
    },
    Request {
        namespace: Arc<str>,
        id: u64,
        question: Question,
    },
    Answer {
        id: u64,
        part: AnswerPart,
    },
    /// Nobody waits for answers to a request any more.
    Cancel {
        id: u64,
    },
    ServerEvent {
        namespace: Arc<str>,
        event: EventBody,
    },
    /// A batch of changes of the presence of the origin.
    Presence {
        version: u64,
        ops: Vec<PresenceOp>,
    },
    /// Of a newer version.
    Unknown,
}
