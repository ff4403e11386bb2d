//! How does a socket share a Socket.IO session with the sockets of other namespaces?
//!
//! The task of the session decodes its packets, and puts those of each namespace into the inbox of
//! a [`NamespaceLink`]. The socket of the namespace reads the inbox, and writes to the session.
//!
//! Longer than 400 lines because both sides of a link are read together.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use smallvec::SmallVec;
use ws_core::adapter::Batch;
use ws_core::{Error, PreparedMessage, StatusCode, TryWriteError};

use crate::engine::{EngineEnd, EngineSession};
use crate::events::protocol::Received;
use crate::socketio::{PacketFormat, PacketType, control_packet};

/// The largest number of packets, and of bytes, that wait for the handlers of a namespace. While
/// one of them is reached, the session is not read.
const INBOX_PACKETS: u32 = 64;
const INBOX_BYTES: usize = 64 * 1024;

/// The `auth` of a client that sends none.
const NO_AUTH: &str = "null";

/// What the links of one session share with its task.
pub(crate) struct LinkGroup {
    session: EngineSession,
    inner: Mutex<GroupInner>,
}

#[derive(Default)]
struct GroupInner {
    /// Wakes the task of the session.
    task: Option<Waker>,
    /// Whether a packet waits for room in the inboxes.
    is_full: bool,
    /// In all inboxes.
    packets: u32,
    bytes: usize,
    /// The command to close the sockets of all namespaces, and then the session.
    close: Option<Box<(StatusCode, String)>>,
    /// Whether such a command was for good.
    is_kicked: bool,
}

/// Whether a code tells a client to come back later. Any other one is for good: a session ends with it.
pub(crate) fn means_later(code: StatusCode) -> bool {
    let later = [StatusCode::GOING_AWAY, StatusCode::SERVICE_RESTART, StatusCode::TRY_AGAIN_LATER];
    later.contains(&code)
}

/// What closes the socket of a link.
pub(crate) trait CloseSocket: Send + Sync {
    /// Closes it, after its queued messages.
    fn close_socket(&self, code: StatusCode, reason: &str);
}

/// The connection of one client to one namespace.
pub(crate) struct NamespaceLink {
    group: Arc<LinkGroup>,
    name: Arc<str>,
    format: PacketFormat,
    /// JSON; `None` for `null`.
    auth: Option<Box<str>>,
    inner: Mutex<LinkInner>,
}

struct LinkInner {
    phase: LinkPhase,
    was_accepted: bool,
    /// Its socket has sent its last message, and waits for the end of the session.
    is_flushed: bool,
    /// Set when the hub has accepted the client.
    socket: Option<Weak<dyn CloseSocket>>,
    received: VecDeque<(Received, usize)>,
    /// Wakes the event loop of the socket.
    reader: Option<Waker>,
    /// Wakes the futures that wait for the end. Boxed: few do.
    closed: Option<Box<SmallVec<[Waker; 1]>>>,
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
    Disconnected(Box<EngineEnd>),
    Ended(Box<NamespaceEnd>),
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

impl LinkGroup {
    pub(crate) fn new(session: EngineSession) -> Self {
        Self { session, inner: Mutex::default() }
    }

    pub(crate) const fn session(&self) -> &EngineSession {
        &self.session
    }

    /// Polls for the command of [`close`](Self::close), which comes once. Registers the task of the
    /// session: it is also woken when a packet waits and there is room in the inboxes, and when a
    /// link ends.
    pub(crate) fn poll_close(&self, cx: &Context<'_>) -> Poll<(StatusCode, String)> {
        let mut inner = self.inner.lock();
        if let Some(close) = inner.close.take() {
            return Poll::Ready(*close);
        }
        if !inner.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            inner.task = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Closes the sockets of all namespaces as this code demands, and then the session.
    pub(crate) fn close(&self, code: StatusCode, reason: &str) {
        let mut inner = self.inner.lock();
        inner.close.get_or_insert_with(|| Box::new((code, reason.to_owned())));
        inner.is_kicked |= !means_later(code);
        let task = inner.task.clone();
        drop(inner);
        task.into_iter().for_each(Waker::wake);
    }

    /// Whether the sockets of all namespaces are closed for good, or are about to be.
    pub(crate) fn is_kicked(&self) -> bool {
        self.inner.lock().is_kicked
    }

    /// Wakes the task of the session.
    fn wake(&self) {
        let task = self.inner.lock().task.clone();
        task.into_iter().for_each(Waker::wake);
    }

    /// Counts a packet that is put into an inbox, if there is room for it.
    fn add(&self, size: usize) -> bool {
        let mut inner = self.inner.lock();
        inner.is_full = inner.packets >= INBOX_PACKETS || inner.bytes >= INBOX_BYTES;
        if inner.is_full {
            return false;
        }
        inner.packets += 1;
        inner.bytes = inner.bytes.saturating_add(size);
        true
    }

    /// Packets have left an inbox.
    fn release(&self, packets: u32, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.packets = inner.packets.saturating_sub(packets);
        inner.bytes = inner.bytes.saturating_sub(bytes);
        let task = if std::mem::take(&mut inner.is_full) { inner.task.clone() } else { None };
        drop(inner);
        task.into_iter().for_each(Waker::wake);
    }
}

impl NamespaceLink {
    pub(crate) fn new(
        group: Arc<LinkGroup>,
        name: Arc<str>,
        format: PacketFormat,
        auth: &str,
    ) -> Self {
        Self {
            group,
            name,
            format,
            auth: (auth != NO_AUTH).then(|| Box::from(auth)),
            inner: Mutex::new(LinkInner {
                phase: LinkPhase::Connecting,
                was_accepted: false,
                is_flushed: false,
                socket: None,
                received: VecDeque::new(),
                reader: None,
                closed: None,
            }),
        }
    }

    pub(crate) fn session(&self) -> &EngineSession {
        self.group.session()
    }

    pub(crate) fn group(&self) -> &LinkGroup {
        &self.group
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) const fn format(&self) -> PacketFormat {
        self.format
    }

    pub(crate) fn auth(&self) -> &str {
        self.auth.as_deref().unwrap_or(NO_AUTH)
    }

    /// The hub has accepted the client: `answer` is sent before anything else.
    pub(crate) fn accept(&self, answer: PreparedMessage, socket: Weak<dyn CloseSocket>) {
        let mut inner = self.inner.lock();
        inner.socket = Some(socket);
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

    /// Whether its socket has nothing to send any more.
    pub(crate) fn is_flushed(&self) -> bool {
        let inner = self.inner.lock();
        inner.is_flushed || matches!(inner.phase, LinkPhase::Ended(_))
    }

    /// Whether this side has told the client to leave.
    pub(crate) fn was_ended_by_server(&self) -> bool {
        let inner = self.inner.lock();
        let LinkPhase::Ended(end) = &inner.phase else { return false };
        inner.was_accepted && matches!(**end, NamespaceEnd::Server)
    }

    /// Closes the socket; a client that is not accepted yet is dropped.
    pub(crate) fn close_socket(&self, code: StatusCode, reason: &str) {
        let socket = self.inner.lock().socket.clone();
        match socket.as_ref().map(Weak::upgrade) {
            Some(Some(socket)) => socket.close_socket(code, reason),
            Some(None) => {}
            None => self.end(NamespaceEnd::Server),
        }
    }

    /// For the session: puts a packet into the inbox, if there is room. Packets for a link that has
    /// ended are dropped. Returns whether the packet is gone.
    pub(crate) fn push(&self, received: &mut Option<(Received, usize)>) -> bool {
        let mut inner = self.inner.lock();
        if let LinkPhase::Ended(_) = inner.phase {
            *received = None;
            return true;
        }
        if received.as_ref().is_some_and(|(_, size)| !self.group.add(*size)) {
            return false;
        }
        inner.received.extend(received.take());
        let reader = inner.reader.take();
        drop(inner);
        reader.into_iter().for_each(Waker::wake);
        true
    }

    /// The session has ended: [`closed`](Self::closed) resolves, and packets that have arrived
    /// before are still pushed and read, until [`end`](Self::end).
    pub(crate) fn disconnect(&self, end: &EngineEnd) {
        self.change_phase(|phase| match phase {
            LinkPhase::Accepted(_) | LinkPhase::Connected => {
                Some(LinkPhase::Disconnected(Box::new(end.clone())))
            }
            // The client may not send packets yet.
            LinkPhase::Connecting => {
                Some(LinkPhase::Ended(Box::new(NamespaceEnd::Session(end.clone()))))
            }
            LinkPhase::Disconnected(_) | LinkPhase::Ended(_) => None,
        });
    }

    /// The link ends. Only the first reason counts.
    pub(crate) fn end(&self, end: NamespaceEnd) {
        self.change_phase(|phase| match phase {
            LinkPhase::Ended(_) => None,
            _ => Some(LinkPhase::Ended(Box::new(end))),
        });
    }

    /// Changes the phase to another one in which the connection has ended, and wakes all.
    fn change_phase(&self, next: impl FnOnce(&LinkPhase) -> Option<LinkPhase>) {
        let mut inner = self.inner.lock();
        let Some(next) = next(&inner.phase) else { return };
        inner.phase = next;
        let wakers = std::mem::take(&mut inner.closed);
        let reader = inner.reader.take();
        drop(inner);
        wakers.into_iter().flat_map(|wakers| *wakers).chain(reader).for_each(Waker::wake);
        self.group.wake();
    }

    /// The next packet, with its size; `None` after the last one.
    pub(crate) async fn read(&self) -> Option<(Received, usize)> {
        poll_fn(|cx| {
            let mut inner = self.inner.lock();
            if let Some((received, size)) = inner.received.pop_front() {
                if inner.received.is_empty() {
                    // An idle socket holds no memory for it.
                    inner.received = VecDeque::new();
                }
                drop(inner);
                self.group.release(1, size);
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
                LinkPhase::Ended(end) => return Poll::Ready((**end).clone()),
                LinkPhase::Disconnected(end) => {
                    return Poll::Ready(NamespaceEnd::Session((**end).clone()));
                }
                LinkPhase::Connecting | LinkPhase::Accepted(_) | LinkPhase::Connected => {}
            }
            let wakers = inner.closed.get_or_insert_default();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Tells the client to leave: it does not connect again by itself. With a code that means
    /// "later", closes the session instead, after the last messages of all namespaces: clients then
    /// connect again.
    pub(crate) async fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        if means_later(code) {
            self.inner.lock().is_flushed = true;
            self.group.close(code, reason);
            // The task of the session ends the link.
            self.closed().await;
            return Ok(());
        }
        let kind = PacketType::Disconnect;
        let mut leave = Some(control_packet(self.format, kind, &self.name, None));
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
        let kind = PacketType::ConnectError;
        let mut refusal = Some(control_packet(self.format, kind, &self.name, Some(&json)));
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
        self.session().write_batch(batch).await
    }

    /// See [`EngineSession::try_write_batch`].
    pub(crate) fn try_write_batch<I: IntoIterator<Item = PreparedMessage>>(
        &self,
        mut take: impl FnMut(usize) -> I,
    ) -> Result<Batch, TryWriteError> {
        self.session().try_write_batch(|room| self.take_answer().into_iter().chain(take(room)))
    }
}

impl Drop for NamespaceLink {
    fn drop(&mut self) {
        let received = &self.inner.get_mut().received;
        let bytes = received.iter().map(|(_, size)| size).sum();
        // There are at most `INBOX_PACKETS`.
        self.group.release(u32::try_from(received.len()).unwrap_or(INBOX_PACKETS), bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::SeqCst;
    use std::task::Wake;

    use super::*;
    use crate::engine::{EngineConfig, EngineSessions};

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Each row has the number of packets, and how often the task is woken while two are read.
    #[tokio::test]
    async fn the_task_of_a_session_is_woken_for_room_if_a_packet_waits() {
        for (packets, expected) in [(2, 0), (INBOX_PACKETS, 0), (INBOX_PACKETS + 1, 1)] {
            let (session, _) = EngineSessions::new(EngineConfig::new()).open_polling(None).unwrap();
            let group = Arc::new(LinkGroup::new(session));
            let link = NamespaceLink::new(group, Arc::from("/"), PacketFormat::Text, NO_AUTH);
            let wakes = Arc::new(Wakes::default());
            let task = Waker::from(Arc::clone(&wakes));
            assert!(link.group().poll_close(&Context::from_waker(&task)).is_pending());
            for number in 0..packets {
                let is_gone = link.push(&mut Some((Received::Malformed("x".into()), 1)));
                assert_eq!(is_gone, number < INBOX_PACKETS);
            }
            for _ in 0..2 {
                assert!(link.read().await.is_some());
            }
            assert_eq!(wakes.0.load(SeqCst), expected, "{packets}");
        }
    }
}
