//! In which state is a connection in a browser, and which messages are queued?

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::JsValue;
use ws_core::{
    CloseError, CloseInfo, CloseInitiator, Deadline, Error, Limit, Message, StatusCode,
    TryWriteError,
};

use super::error::DialError;
use crate::watched::Watched;

/// What the handles and the task of a connection share.
pub(super) type SharedConn = Arc<Watched<ConnState>>;

/// When more bytes than this are queued, `write` waits.
pub(super) const HIGH_WATERMARK: usize = 64 * 1024;

/// While more bytes than this are unread, one more message is received from browsers with
/// backpressure. Up to here the end is seen, and all messages before it are kept.
const READ_AHEAD: usize = 1024 * 1024;

/// The code for a message over the read limit: a browser does not send 1009.
const MESSAGE_TOO_BIG: u16 = 3009;

/// The code for a message that cannot be decoded: a browser does not send 1003 or 1007.
const CANNOT_DECODE: u16 = 3007;

pub(super) struct ConnState {
    phase: Phase,
    /// The subprotocol, once the connection was open.
    opened: Option<String>,
    unread: VecDeque<Message>,
    /// The bytes of `unread`, and 128 for each.
    unread_bytes: usize,
    /// The browser has dropped messages that it had received.
    has_missed: bool,
    /// The messages that the browser does not have.
    unsent: VecDeque<Message>,
    /// The same of `unsent`, and of the message that the task sends.
    unsent_bytes: usize,
    read_limit: Option<usize>,
}

/// ```text
/// Connecting ── opened ─▶ Open
/// Connecting, Open ── close, fail ─▶ Closing
/// Connecting, Open, Closing ── ended ─▶ Ended
/// ```
enum Phase {
    Connecting,
    Open,
    /// `failure` is the error of reading, unless this side has just closed.
    Closing {
        close: CloseError,
        step: CloseStep,
        failure: Option<Error>,
    },
    Ended(CloseInfo),
}

/// How far the closing handshake is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CloseStep {
    /// Queued messages are sent first.
    Sending,
    /// That took too long. The close frame is sent now.
    Late,
    /// The close frame was passed to the browser.
    Sent,
}

/// What the task does next.
pub(super) enum Step {
    Send(Message),
    Close(CloseError),
    End,
}

impl ConnState {
    pub(super) const fn new(read_limit: usize) -> Self {
        Self {
            phase: Phase::Connecting,
            opened: None,
            unread: VecDeque::new(),
            unread_bytes: 0,
            has_missed: false,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            read_limit: Some(read_limit),
        }
    }

    /// The opening handshake is complete. The subprotocol is empty if there is none.
    pub(super) fn open(&mut self, subprotocol: String) {
        if let Phase::Connecting = self.phase {
            self.phase = Phase::Open;
            self.opened = Some(subprotocol);
        }
    }

    /// Queues a message of the browser, unless it is longer than the limit: then the connection
    /// fails. Messages that arrive while it closes are dropped.
    pub(super) fn received(&mut self, payload: &JsValue) {
        let Phase::Open = self.phase else { return };
        let limit = self.read_limit.unwrap_or(usize::MAX);
        let message = if let Some(text) = payload.as_string() {
            Some(Message::text(text)).filter(|message| message.as_bytes().len() <= limit)
        } else {
            // A view of an `ArrayBuffer`, or a copy of an `Uint8Array`.
            let bytes = Uint8Array::new(payload);
            (bytes.length() as usize <= limit).then(|| Message::binary(bytes.to_vec()))
        };
        let Some(message) = message else {
            return self.fail(MESSAGE_TOO_BIG, Error::message_too_big(limit, Limit::MessageSize));
        };
        self.unread_bytes += cost(&message);
        self.unread.push_back(message);
    }

    /// Whether one more message may be received, for browsers with backpressure. `None` means: wait.
    pub(super) fn has_room_to_read(&self) -> Option<()> {
        let is_full = self.unread_bytes > READ_AHEAD;
        (!is_full || self.is_closing().is_some()).then_some(())
    }

    /// Messages behind those that were received may be lost, so the end is not that of the peer.
    pub(super) const fn miss_messages(&mut self) {
        self.has_missed = true;
    }

    /// Begins to close. Received messages are dropped.
    pub(super) fn close(&mut self, code: StatusCode, reason: &str) {
        if let Phase::Connecting | Phase::Open = self.phase {
            self.drop_unread();
            let close = CloseError::new(code, reason);
            self.phase = Phase::Closing { close, step: CloseStep::Sending, failure: None };
        }
    }

    /// Closes because of a message that cannot be decoded.
    pub(super) fn refuse(&mut self, error: Error) {
        self.drop_unread();
        self.fail(CANNOT_DECODE, error);
    }

    fn fail(&mut self, code: u16, error: Error) {
        if let (Phase::Connecting | Phase::Open, Some(code)) =
            (&self.phase, StatusCode::from_u16(code))
        {
            self.unsent.clear();
            self.unsent_bytes = 0;
            let close = CloseError::new(code, "");
            let step = CloseStep::Sending;
            self.phase = Phase::Closing { close, step, failure: Some(error) };
        }
    }

    /// The opening handshake has failed, if it was not complete.
    pub(super) fn failed_to_open(&mut self) {
        if self.opened.is_none() {
            self.ended(None);
        }
    }

    /// The browser has closed the socket: with this close frame of the peer, or without one.
    pub(super) fn ended(&mut self, received: Option<CloseError>) {
        let abnormal = || CloseError::new(StatusCode::ABNORMAL_CLOSURE, "");
        let has_missed = self.has_missed;
        self.end(|sent, failure| {
            let by = match (&sent, &received) {
                (Some(_), Some(_)) => CloseInitiator::Local,
                (None, Some(_)) if has_missed => CloseInitiator::Transport,
                (None, Some(_)) => CloseInitiator::Peer,
                (_, None) if failure.is_some() => CloseInitiator::Local,
                (_, None) => CloseInitiator::Transport,
            };
            let closed = match by {
                CloseInitiator::Transport => abnormal(),
                _ => received.clone().unwrap_or_else(abnormal),
            };
            let mut info = CloseInfo::new(by, failure.unwrap_or(Error::Closed(closed)));
            // The browser answers a close frame with the same code.
            info.sent = sent.or_else(|| received.clone());
            info.received = received;
            info
        });
    }

    /// Sends the close frame without the messages that the browser has not taken.
    pub(super) fn drop_unsent(&mut self) {
        if let Phase::Closing { step: step @ CloseStep::Sending, .. } = &mut self.phase {
            *step = CloseStep::Late;
            self.unsent.clear();
        }
    }

    /// The peer did not answer the close frame in time.
    pub(super) fn close_timed_out(&mut self) {
        self.end(|sent, failure| {
            let error = failure.unwrap_or(Error::Timeout(Deadline::Close));
            let mut info = CloseInfo::new(CloseInitiator::Local, error);
            info.sent = sent;
            info
        });
    }

    fn end(&mut self, info: impl FnOnce(Option<CloseError>, Option<Error>) -> CloseInfo) {
        let (sent, failure) = match mem::replace(&mut self.phase, Phase::Connecting) {
            Phase::Connecting | Phase::Open => (None, None),
            Phase::Closing { close, step, failure } => {
                (Some(close).filter(|_| step == CloseStep::Sent), failure)
            }
            Phase::Ended(info) => return self.phase = Phase::Ended(info),
        };
        self.phase = Phase::Ended(info(sent, failure));
        self.unsent.clear();
        self.unsent_bytes = 0;
    }

    /// What the task does next. `None` means: wait.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        match &mut self.phase {
            Phase::Connecting => None,
            Phase::Ended(_) => Some(Step::End),
            Phase::Open => self.unsent.pop_front().map(Step::Send),
            Phase::Closing { step: CloseStep::Sent, .. } => None,
            Phase::Closing { close, step, .. } => match self.unsent.pop_front() {
                Some(message) => Some(Step::Send(message)),
                None => {
                    *step = CloseStep::Sent;
                    Some(Step::Close(close.clone()))
                }
            },
        }
    }

    /// The browser has this message, and room for more.
    pub(super) fn sent(&mut self, message: &Message) {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(cost(message));
    }

    /// The subprotocol of the opening handshake. `None` means: wait.
    pub(super) fn opened(&self) -> Option<Result<Option<String>, DialError>> {
        match (&self.opened, &self.phase) {
            (Some(name), _) => Some(Ok(Some(name.clone()).filter(|name| !name.is_empty()))),
            (None, Phase::Ended(_)) => Some(Err(DialError::Failed)),
            (None, _) => None,
        }
    }

    /// The next message, or why there is none. `None` means: wait.
    pub(super) fn read(&mut self) -> Option<Result<Message, Error>> {
        if let Some(message) = self.unread.pop_front() {
            self.unread_bytes = self.unread_bytes.saturating_sub(cost(&message));
            return Some(Ok(message));
        }
        match &self.phase {
            Phase::Closing { failure: Some(error), .. } => Some(Err(error.clone())),
            Phase::Ended(info) => Some(Err(info.error.clone())),
            Phase::Connecting | Phase::Open | Phase::Closing { .. } => None,
        }
    }

    /// Queues a message, if there is room.
    pub(super) fn write(&mut self, message: &Message) -> Result<(), TryWriteError> {
        if let Some(error) = self.write_error() {
            return Err(TryWriteError::Conn(error));
        }
        if self.unsent_bytes > HIGH_WATERMARK {
            return Err(TryWriteError::Full);
        }
        self.unsent_bytes += cost(message);
        self.unsent.push_back(message.clone());
        Ok(())
    }

    /// Whether the browser has all messages. `None` means: wait.
    pub(super) fn flushed(&self) -> Option<Result<(), Error>> {
        match &self.phase {
            Phase::Ended(info) => Some(Err(info.error.clone())),
            // The queued messages were dropped.
            Phase::Closing { failure: Some(error), .. } => Some(Err(error.clone())),
            Phase::Connecting | Phase::Open | Phase::Closing { failure: None, .. } => {
                (self.unsent.is_empty() && self.unsent_bytes == 0).then_some(Ok(()))
            }
        }
    }

    /// How the connection ended. `None` means: it has not.
    pub(super) fn close_info(&self) -> Option<CloseInfo> {
        match &self.phase {
            Phase::Ended(info) => Some(info.clone()),
            Phase::Connecting | Phase::Open | Phase::Closing { .. } => None,
        }
    }

    /// Whether the connection closes or has ended. `None` means: wait.
    pub(super) fn is_closing(&self) -> Option<()> {
        matches!(self.phase, Phase::Closing { .. } | Phase::Ended(_)).then_some(())
    }

    /// Whether the task stops sending messages. `None` means: wait.
    pub(super) fn is_late(&self) -> Option<()> {
        match &self.phase {
            Phase::Connecting | Phase::Open => None,
            Phase::Closing { step, .. } => (*step != CloseStep::Sending).then_some(()),
            Phase::Ended(_) => Some(()),
        }
    }

    pub(super) const fn set_read_limit(&mut self, bytes: Option<usize>) {
        self.read_limit = bytes;
    }

    fn drop_unread(&mut self) {
        self.unread.clear();
        self.unread_bytes = 0;
    }

    fn write_error(&self) -> Option<Error> {
        match &self.phase {
            Phase::Connecting | Phase::Open => None,
            Phase::Closing { failure, .. } => Some(failure.clone().unwrap_or(Error::CloseSent)),
            Phase::Ended(info) => Some(info.error.clone()),
        }
    }
}

/// What a queued message counts for: an empty one takes memory, too.
fn cost(message: &Message) -> usize {
    message.as_bytes().len() + 128
}
