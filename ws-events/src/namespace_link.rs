//! How does a socket share a Socket.IO session with the sockets of other namespaces?
//!
//! The task of the session decodes its packets, and puts those of each namespace into the inbox of
//! a [`NamespaceLink`]. The socket of the namespace reads the inbox, and writes to the session.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use ws_core::adapter::Batch;
use ws_core::{Error, PreparedMessage, StatusCode, TryWriteError};

use crate::engine::{EngineEnd, EngineSession};
use crate::events::protocol::Received;
use crate::socketio::{PacketType, control_packet};

/// The largest number of packets, and of bytes, that wait for the handlers of a namespace. While
/// one of them is reached, the session is not read.
const INBOX_PACKETS: usize = 64;
const INBOX_BYTES: usize = 64 * 1024;

/// The connection of one client to one namespace.
pub(crate) struct NamespaceLink {
    session: EngineSession,
    name: Arc<str>,
    /// JSON.
    auth: Box<str>,
    inner: Mutex<LinkInner>,
}

struct LinkInner {
    phase: LinkPhase,
    was_accepted: bool,
    received: VecDeque<(Received, usize)>,
    bytes: usize,
    /// Wakes the event loop of the socket.
    reader: Option<Waker>,
    /// Wakes the futures that wait for the end.
    closed: Vec<Waker>,
    /// Wakes the task of the session, which waits for room.
    session: Option<Waker>,
}

/// The life of a link.
#[derive(Debug)]
enum LinkPhase {
    /// The hub has not accepted the client yet.
    Connecting,
    /// It has. The packet for it comes before all others, with the next batch.
    Accepted(PreparedMessage),
    Connected,
    /// The session has ended. Packets that have arrived before are still read.
    Disconnected(EngineEnd),
    Ended(NamespaceEnd),
}

/// Why a link has ended.
#[derive(Clone, Debug)]
pub(crate) enum NamespaceEnd {
    /// The client has left the namespace.
    Client,
    /// This side has told the client to leave.
    Server,
    /// The session has ended.
    Session(EngineEnd),
}

impl NamespaceLink {
    pub(crate) fn new(session: EngineSession, name: Arc<str>, auth: &str) -> Self {
        Self {
            session,
            name,
            auth: Box::from(auth),
            inner: Mutex::new(LinkInner {
                phase: LinkPhase::Connecting,
                was_accepted: false,
                received: VecDeque::new(),
                bytes: 0,
                reader: None,
                closed: Vec::new(),
                session: None,
            }),
        }
    }

    pub(crate) const fn session(&self) -> &EngineSession {
        &self.session
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) const fn auth(&self) -> &str {
        &self.auth
    }

    /// The hub has accepted the client: `answer` is sent before anything else.
    pub(crate) fn accept(&self, answer: PreparedMessage) {
        let mut inner = self.inner.lock();
        if let LinkPhase::Connecting = inner.phase {
            inner.phase = LinkPhase::Accepted(answer);
            inner.was_accepted = true;
        }
    }

    pub(crate) fn was_accepted(&self) -> bool {
        self.inner.lock().was_accepted
    }

    /// Whether the client may send events.
    pub(crate) fn is_accepted(&self) -> bool {
        !matches!(self.inner.lock().phase, LinkPhase::Connecting)
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.inner.lock().phase, LinkPhase::Ended(_))
    }

    /// For the session: puts a packet into the inbox, once there is room. Packets for a link that
    /// has ended are dropped.
    pub(crate) fn poll_push(
        &self,
        received: &mut Option<(Received, usize)>,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let mut inner = self.inner.lock();
        if let LinkPhase::Ended(_) = inner.phase {
            *received = None;
            return Poll::Ready(());
        }
        if inner.received.len() >= INBOX_PACKETS || inner.bytes >= INBOX_BYTES {
            inner.session = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some((received, size)) = received.take() {
            inner.bytes += size;
            inner.received.push_back((received, size));
        }
        let reader = inner.reader.take();
        drop(inner);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }

    /// The session has ended: [`closed`](Self::closed) resolves, and packets that have arrived
    /// before are still pushed and read, until [`end`](Self::end).
    pub(crate) fn disconnect(&self, end: &EngineEnd) {
        self.change_phase(|phase| match phase {
            LinkPhase::Accepted(_) | LinkPhase::Connected => {
                Some(LinkPhase::Disconnected(end.clone()))
            }
            // The client may not send packets yet.
            LinkPhase::Connecting => Some(LinkPhase::Ended(NamespaceEnd::Session(end.clone()))),
            LinkPhase::Disconnected(_) | LinkPhase::Ended(_) => None,
        });
    }

    /// The link ends. Only the first reason counts.
    pub(crate) fn end(&self, end: NamespaceEnd) {
        self.change_phase(|phase| match phase {
            LinkPhase::Ended(_) => None,
            _ => Some(LinkPhase::Ended(end)),
        });
    }

    /// Changes the phase to another one in which the connection has ended, and wakes all.
    fn change_phase(&self, next: impl FnOnce(&LinkPhase) -> Option<LinkPhase>) {
        let mut inner = self.inner.lock();
        let Some(next) = next(&inner.phase) else { return };
        inner.phase = next;
        let wakers = std::mem::take(&mut inner.closed);
        let others = [inner.reader.take(), inner.session.take()];
        drop(inner);
        wakers.into_iter().chain(others.into_iter().flatten()).for_each(Waker::wake);
    }

    /// The next packet, with its size; `None` after the last one.
    pub(crate) async fn read(&self) -> Option<(Received, usize)> {
        poll_fn(|cx| {
            let mut inner = self.inner.lock();
            if let Some((received, size)) = inner.received.pop_front() {
                inner.bytes = inner.bytes.saturating_sub(size);
                if inner.received.is_empty() {
                    // An idle socket holds no memory for it.
                    inner.received = VecDeque::new();
                }
                let session = inner.session.take();
                drop(inner);
                session.into_iter().for_each(Waker::wake);
                return Poll::Ready(Some((received, size)));
            }
            if let LinkPhase::Ended(_) = inner.phase {
                return Poll::Ready(None);
            }
            inner.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits for the end.
    pub(crate) async fn closed(&self) -> NamespaceEnd {
        poll_fn(|cx| {
            let mut inner = self.inner.lock();
            match &inner.phase {
                LinkPhase::Ended(end) => return Poll::Ready(end.clone()),
                LinkPhase::Disconnected(end) => {
                    return Poll::Ready(NamespaceEnd::Session(end.clone()));
                }
                LinkPhase::Connecting | LinkPhase::Accepted(_) | LinkPhase::Connected => {}
            }
            if !inner.closed.iter().any(|waker| waker.will_wake(cx.waker())) {
                inner.closed.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Tells the client to leave: it does not connect again by itself. With a code that means
    /// "later", closes the session instead: clients then connect again.
    pub(crate) async fn close(&self, code: StatusCode) -> Result<(), Error> {
        let later =
            [StatusCode::GOING_AWAY, StatusCode::SERVICE_RESTART, StatusCode::TRY_AGAIN_LATER];
        if later.contains(&code) {
            self.session.close(code).await;
            // The task of the session ends the link, too.
            self.end(NamespaceEnd::Session(self.session.closed().await));
            return Ok(());
        }
        let mut leave = Some(control_packet(PacketType::Disconnect, &self.name, None));
        self.write_batch(|_| leave.take()).await?;
        self.end(NamespaceEnd::Server);
        Ok(())
    }

    /// Sends the answer to the client, unless a batch writer has sent it.
    pub(crate) async fn send_answer(&self) -> Result<(), Error> {
        if matches!(self.inner.lock().phase, LinkPhase::Accepted(_)) {
            self.write_batch(|_| None).await?;
        }
        Ok(())
    }

    /// Refuses the client, which stays connected to its other namespaces.
    pub(crate) async fn refuse(&self, message: &str, data: Option<&str>) {
        let message = serde_json::to_string(message).unwrap_or_default();
        let json = match data {
            Some(data) => format!(r#"{{"message":{message},"data":{data}}}"#),
            None => format!(r#"{{"message":{message}}}"#),
        };
        let mut refusal = Some(control_packet(PacketType::ConnectError, &self.name, Some(&json)));
        // It fails if the session has ended.
        let _ = self.write_batch(|_| refusal.take()).await;
    }

    /// The answer to the client, if it was not sent yet.
    fn take_answer(&self) -> Option<PreparedMessage> {
        let mut inner = self.inner.lock();
        if !matches!(inner.phase, LinkPhase::Accepted(_)) {
            return None;
        }
        match std::mem::replace(&mut inner.phase, LinkPhase::Connected) {
            LinkPhase::Accepted(answer) => Some(answer),
            _ => None,
        }
    }

    /// See [`EngineSession::write_batch`].
    pub(crate) async fn write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I + Send + Unpin,
    ) -> Result<Batch, Error> {
        let batch = |room| self.take_answer().into_iter().chain(take(room));
        self.session.write_batch(batch).await
    }

    /// See [`EngineSession::try_write_batch`].
    pub(crate) fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I,
    ) -> Result<Batch, TryWriteError> {
        self.session.try_write_batch(|room| self.take_answer().into_iter().chain(take(room)))
    }
}
