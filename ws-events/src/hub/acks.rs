//! How does a peer acknowledge an event, and how does a handler acknowledge one of the peer?
//!
//! Longer than 400 lines because the acknowledgements of one socket and of many share a table.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::future::{BoxFuture, poll_fn};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use crate::cluster::NodeId;
use crate::cluster::gather::PendingRequest;
use crate::cluster::seam::Cluster;
use crate::delivery::writer::timeout;
use crate::events::data_de::from_json;
use crate::events::protocol::{PeerData, encode_ack};
use crate::hub::remote_acks::{RemoteAcks, SocketAnswer};
use crate::hub::socket::SocketShared;
use crate::{AckError, EmitError, Id, Socket};

/// How long an acknowledgement is awaited, by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to an event, as an argument of its handler.
///
/// A peer can ask for an acknowledgement of its event. The value that a handler
/// [returns](crate::HandlerReply) answers it. A handler that takes an `Ack` may answer earlier, or
/// later from another task. Only the first answer is sent. If the peer has not asked, no answer is
/// sent.
///
/// ```
/// use ws_events::{Ack, EmitError, Hub, Json};
///
/// let hub = Hub::builder().envelope().build();
/// hub.on("double", async |Json(n): Json<u32>, ack: Ack| -> Result<(), EmitError> {
///     ack.send(&(2 * n))?;
///     // Work that the peer does not wait for.
///     Ok(())
/// });
/// ```
#[derive(Clone, Debug, Default)]
#[doc(alias("callback", "AckSender"))]
pub struct Ack(Option<Arc<AckState>>);

/// What the handles of one answer share.
struct AckState {
    socket: Socket,
    id: u64,
    /// A handler has taken it as an argument.
    taken: AtomicBool,
    answered: AtomicBool,
}

impl Ack {
    /// The answer to an event of a peer; `None` if the peer does not ask for one.
    pub(crate) fn new(socket: &Socket, id: Option<u64>) -> Self {
        Self(id.map(|id| {
            let (taken, answered) = Default::default();
            Arc::new(AckState { socket: socket.clone(), id, taken, answered })
        }))
    }

    /// Sends the answer, serialised as the data of an event is. Does nothing if the peer has not
    /// asked for an acknowledgement, or has its answer already.
    ///
    /// # Errors
    ///
    /// As [`Socket::emit`].
    pub fn send<T: Serialize + ?Sized>(&self, answer: &T) -> Result<(), EmitError> {
        let Some(AckState { socket, id, answered, .. }) = self.0.as_deref() else { return Ok(()) };
        if answered.swap(true, SeqCst) {
            return Ok(());
        }
        match encode_ack(socket.0.format, socket.0.hub.namespace(), *id, answer)? {
            Some(message) => socket.send_without_offset(&message),
            None => Ok(()),
        }
    }

    /// Whether the peer asks for an acknowledgement, and has no answer yet.
    pub fn is_expected(&self) -> bool {
        self.0.as_ref().is_some_and(|state| !state.answered.load(SeqCst))
    }

    /// A handle for a handler, which may answer later.
    pub(crate) fn take(&self) -> Self {
        if let Some(state) = &self.0 {
            state.taken.store(true, SeqCst);
        }
        self.clone()
    }

    /// Answers without a value, unless a handler has taken the answer as an [`Ack`].
    pub(crate) fn finish(&self) -> Result<(), EmitError> {
        let is_taken = self.0.as_ref().is_some_and(|state| state.taken.load(SeqCst));
        if is_taken { Ok(()) } else { self.send(&()) }
    }
}

impl fmt::Debug for AckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckState")
            .field("id", &self.id)
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}

/// The acknowledgements that a socket waits for.
#[derive(Default)]
pub(crate) struct AckTable(Mutex<PendingAcks>);

#[derive(Default)]
struct PendingAcks {
    waiting: HashMap<u64, AckWaiter>,
    is_closed: bool,
}

/// Who waits for an acknowledgement.
pub(crate) enum AckWaiter {
    One(oneshot::Sender<Result<PeerData, AckError>>),
    /// A broadcast, with the number of the socket among its recipients.
    Many(usize, mpsc::UnboundedSender<(usize, Result<PeerData, AckError>)>),
}

impl AckWaiter {
    fn send(self, answer: Result<PeerData, AckError>) {
        // It fails if nobody waits any more.
        match self {
            Self::One(sender) => _ = sender.send(answer),
            Self::Many(number, sender) => _ = sender.send((number, answer)),
        }
    }
}

impl AckTable {
    /// Returns `false` if somebody waits for this id already.
    fn register(&self, id: u64, limit: usize, waiter: AckWaiter) -> Result<bool, AckError> {
        let mut pending = self.0.lock();
        if pending.is_closed {
            return Err(AckError::Disconnected);
        }
        if pending.waiting.len() >= limit {
            return Err(AckError::TooMany { limit });
        }
        match pending.waiting.entry(id) {
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(entry) => {
                entry.insert(waiter);
                Ok(true)
            }
        }
    }

    fn remove(&self, id: u64) -> Option<AckWaiter> {
        let mut pending = self.0.lock();
        let waiter = pending.waiting.remove(&id);
        if pending.waiting.is_empty() {
            pending.waiting = HashMap::new();
        }
        waiter
    }

    fn is_waiting(&self) -> bool {
        !self.0.lock().waiting.is_empty()
    }

    fn close(&self) {
        let mut pending = self.0.lock();
        pending.is_closed = true;
        let waiting = std::mem::take(&mut pending.waiting);
        drop(pending);
        waiting.into_values().for_each(|waiter| waiter.send(Err(AckError::Disconnected)));
    }
}

impl SocketShared {
    /// Registers an acknowledgement, before the event is sent that asks for it. The event loop must be
    /// woken afterwards, without any lock: while a handler runs, it reads only if an acknowledgement is
    /// awaited. Returns `false` if somebody waits for it already.
    pub(crate) fn expect_ack(&self, id: u64, waiter: AckWaiter) -> Result<bool, AckError> {
        if !self.format.has_events() {
            return Err(AckError::Unsupported);
        }
        let limit = self.hub.max_pending_acks;
        self.extras().acks.register(id, limit, waiter)
    }

    /// An acknowledgement is not awaited any more.
    pub(crate) fn forget_ack(&self, id: u64) {
        if let Some(extras) = self.extras.get() {
            extras.acks.remove(id);
        }
    }

    /// Whether an acknowledgement is awaited.
    pub(crate) fn expects_acks(&self) -> bool {
        self.extras.get().is_some_and(|extras| extras.acks.is_waiting())
    }

    /// The peer has acknowledged an event. Without effect if nobody waits for it.
    pub(crate) fn receive_ack(&self, id: u64, data: PeerData) {
        let waiter = self.extras.get().and_then(|extras| extras.acks.remove(id));
        if let Some(waiter) = waiter {
            waiter.send(Ok(data));
        }
    }

    /// The connection has ended: no acknowledgement comes any more.
    pub(crate) fn close_acks(&self) {
        if let Some(extras) = self.extras.get() {
            extras.acks.close();
        }
    }
}

/// The acknowledgement of an event that [`Socket::emit_with_ack`] has sent. Await it to get the
/// answer.
///
/// If it, or its future, is dropped, a later answer is ignored. The peer still gets the event.
#[must_use = "the answer is lost unless it is awaited"]
pub struct EmitWithAck<R> {
    pending: Result<PendingAck, AckError>,
    timeout: Duration,
    answer: PhantomData<fn() -> R>,
}

/// An acknowledgement of one socket. When it is dropped, the socket no longer waits for it.
struct PendingAck {
    socket: Arc<SocketShared>,
    id: u64,
    receiver: oneshot::Receiver<Result<PeerData, AckError>>,
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        self.socket.forget_ack(self.id);
    }
}

impl<R> EmitWithAck<R> {
    /// Registers the acknowledgement, and sends the event by `send`.
    pub(crate) fn new(socket: &Socket, send: impl FnOnce(u64) -> Result<(), EmitError>) -> Self {
        let id = socket.0.hub.next_ack_id();
        let (sender, receiver) = oneshot::channel();
        let registered = socket.0.expect_ack(id, AckWaiter::One(sender));
        // The id is new.
        let pending = registered.and_then(|_| {
            let pending = PendingAck { socket: Arc::clone(&socket.0), id, receiver };
            send(id).map_err(AckError::Emit)?;
            socket.0.queue.wake_event_loop();
            Ok(pending)
        });
        Self { pending, timeout: DEFAULT_TIMEOUT, answer: PhantomData }
    }

    /// How long the answer is awaited, from the start of the `await`. Default: 10 s. Outside of a
    /// tokio runtime there is no clock, and the timeout never expires.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<R: DeserializeOwned + 'static> IntoFuture for EmitWithAck<R> {
    type Output = Result<R, AckError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { pending, timeout: limit, .. } = self;
        Box::pin(async move {
            let mut pending = pending?;
            let answer = timeout(limit, &mut pending.receiver).await.ok_or(AckError::Timeout)?;
            decode(answer.map_err(|_| AckError::Disconnected)?)
        })
    }
}

impl<R> fmt::Debug for EmitWithAck<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitWithAck").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn decode<R: DeserializeOwned>(answer: Result<PeerData, AckError>) -> Result<R, AckError> {
    let PeerData { json, attachments } = answer?;
    from_json(json.as_bytes(), &attachments).map_err(|error| AckError::Decode(Arc::new(error)))
}

/// Collects the acknowledgements of an event that many sockets got.
pub(crate) struct AckCollector {
    id: u64,
    /// The sockets that have yet to answer, by their number.
    expected: Vec<Option<Arc<SocketShared>>>,
    /// The number of them.
    left: usize,
    /// Sockets that cannot answer.
    failed: Vec<(Id, AckError)>,
    sender: mpsc::UnboundedSender<(usize, Result<PeerData, AckError>)>,
    receiver: mpsc::UnboundedReceiver<(usize, Result<PeerData, AckError>)>,
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_late: bool,
    remote: Option<RemoteAcks>,
}

impl AckCollector {
    pub(crate) fn new(id: u64) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            id,
            expected: Vec::new(),
            left: 0,
            failed: Vec::new(),
            sender,
            receiver,
            timeout: DEFAULT_TIMEOUT,
            sleep: None,
            is_late: false,
            remote: None,
        }
    }

    /// Collects those of other nodes, too.
    pub(crate) fn add_remote(&mut self, cluster: &Cluster, request: PendingRequest) {
        self.remote = Some(RemoteAcks::new(cluster.clone(), request));
    }

    /// How long they are awaited, from the first call of [`next`](Self::next).
    pub(crate) const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Registers the acknowledgement of a recipient, and sends it the event by `send`. If `send`
    /// returns an error, the event is not sent to it; `None`: it is no recipient. May be called under
    /// the lock of a room: [`wake`](Self::wake) follows.
    pub(crate) fn expect(
        &mut self,
        socket: &Arc<SocketShared>,
        send: impl FnOnce() -> Option<Result<(), EmitError>>,
    ) {
        let waiter = AckWaiter::Many(self.expected.len(), self.sender.clone());
        let error = match socket.expect_ack(self.id, waiter) {
            // It has left the room and joined it again meanwhile, and has the event.
            Ok(false) => return,
            Ok(true) => match send() {
                Some(Ok(())) => {
                    self.expected.push(Some(Arc::clone(socket)));
                    self.left += 1;
                    return;
                }
                sent => {
                    socket.forget_ack(self.id);
                    let Some(Err(error)) = sent else { return };
                    AckError::Emit(error)
                }
            },
            // It gets the event nevertheless.
            Err(AckError::Unsupported) if send().is_none() => return,
            Err(error) => error,
        };
        self.failed.push((Id(socket.id.get()), error));
    }

    /// Wakes the sockets that have to read the acknowledgement. Called without any lock.
    pub(crate) fn wake(&self) {
        for socket in self.expected.iter().flatten() {
            socket.queue.wake_event_loop();
        }
    }

    /// The ids of the sockets of this node, also of those that cannot answer.
    pub(crate) fn ids(&self) -> Vec<Arc<str>> {
        let expected = self.expected.iter().flatten().map(|socket| socket.id.get());
        expected.chain(self.failed.iter().map(|(id, _)| Arc::clone(&id.0))).collect()
    }

    /// The number of sockets that have yet to answer, as far as it is known.
    pub(crate) fn pending(&self) -> usize {
        self.left + self.remote.as_ref().map_or(0, RemoteAcks::pending)
    }

    /// The nodes whose sockets are not all known.
    pub(crate) fn missing(&self) -> &[NodeId] {
        self.remote.as_ref().map_or(&[], RemoteAcks::missing)
    }

    pub(crate) async fn next(&mut self) -> Option<SocketAnswer> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<SocketAnswer>> {
        loop {
            if let Some((id, error)) = self.failed.pop() {
                return Poll::Ready(Some((id, Err(error))));
            }
            if self.is_late {
                return Poll::Ready(self.take_late());
            }
            let remote = match &mut self.remote {
                None => Poll::Ready(None),
                Some(remote) => remote.poll_answer(cx, &mut self.failed),
            };
            if let Poll::Ready(Some(answer)) = remote {
                return Poll::Ready(Some(answer));
            }
            let local = self.poll_local(cx);
            if let Poll::Ready(Some(answer)) = local {
                return Poll::Ready(Some(answer));
            }
            if !self.failed.is_empty() {
                continue;
            }
            if remote.is_ready() && local.is_ready() {
                return Poll::Ready(None);
            }
            if self.sleep.is_none() && Handle::try_current().is_ok() {
                self.sleep = Some(Box::pin(tokio::time::sleep(self.timeout)));
            }
            let Some(sleep) = &mut self.sleep else { return Poll::Pending };
            ready!(sleep.as_mut().poll(cx));
            self.is_late = true;
        }
    }

    /// An answer of a socket of this node; `None` if all have answered.
    fn poll_local(&mut self, cx: &mut Context<'_>) -> Poll<Option<SocketAnswer>> {
        while self.left > 0 {
            // It has a sender of its own.
            let Some((number, answer)) = ready!(self.receiver.poll_recv(cx)) else { break };
            if let Some(socket) = self.expected.get_mut(number).and_then(Option::take) {
                self.left -= 1;
                return Poll::Ready(Some((Id(socket.id.get()), answer)));
            }
        }
        Poll::Ready(None)
    }

    /// A socket that has not answered in time.
    fn take_late(&mut self) -> Option<SocketAnswer> {
        while let Some(last) = self.expected.pop() {
            let Some(socket) = last else { continue };
            self.left -= 1;
            socket.forget_ack(self.id);
            return Some((Id(socket.id.get()), Err(AckError::Timeout)));
        }
        Some((self.remote.as_mut()?.take_late()?, Err(AckError::Timeout)))
    }
}

impl Drop for AckCollector {
    fn drop(&mut self) {
        for socket in self.expected.iter().flatten() {
            socket.forget_ack(self.id);
        }
    }
}

/// The acknowledgements of a broadcast, in the order in which they arrive.
/// [`Broadcast::emit_with_ack`](crate::Broadcast::emit_with_ack) has sent the event already.
///
/// A [`Stream`] of one result for each socket that the broadcast matched, on all nodes. The answers come first;
/// after the timeout, an [`AckError::Timeout`] for each socket that has not answered. Then it ends.
///
/// If it is dropped, later answers are ignored.
#[must_use = "the answers are lost unless they are awaited"]
pub struct BroadcastAcks<R> {
    acks: AckCollector,
    answer: PhantomData<fn() -> R>,
}

impl<R> BroadcastAcks<R> {
    pub(crate) const fn new(acks: AckCollector) -> Self {
        Self { acks, answer: PhantomData }
    }

    /// How long the answers are awaited, from the first call of [`next`](Self::next). Default:
    /// 10 s. Outside of a tokio runtime there is no clock, and the timeout never expires.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.acks.timeout = timeout;
        self
    }

    /// The number of sockets that have yet to answer. Those of another node count once it has said
    /// which they are.
    pub fn pending(&self) -> usize {
        self.acks.pending()
    }

    /// The nodes of the [cluster](crate::cluster) that did not say in time which sockets got the
    /// event, or whose answers are incomplete. Complete when [`next`](Self::next) has returned
    /// `None`.
    pub fn missing(&self) -> &[NodeId] {
        self.acks.missing()
    }
}

impl<R: DeserializeOwned> BroadcastAcks<R> {
    /// The next result; `None` after the last one.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no result is lost.
    pub async fn next(&mut self) -> Option<(Id, Result<R, AckError>)> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Id, Result<R, AckError>)>> {
        let answer = ready!(self.acks.poll_answer(cx));
        Poll::Ready(answer.map(|(id, answer)| (id, decode(answer))))
    }
}

impl<R: DeserializeOwned> Stream for BroadcastAcks<R> {
    type Item = (Id, Result<R, AckError>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_answer(cx)
    }
}

impl<R> fmt::Debug for BroadcastAcks<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastAcks").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hub;

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_is_visited_twice_gets_the_event_and_answers_once() {
        let hub = Hub::builder().envelope().build();
        let (_client, server) = ws_core::pair();
        tokio::spawn(hub.handler()(server));
        while hub.is_empty() {
            tokio::task::yield_now().await;
        }
        let socket = hub.everyone().sockets().remove(0);
        let (id, mut sent) = (hub.0.next_ack_id(), 0);
        let mut acks = AckCollector::new(id);
        for _ in 0..2 {
            acks.expect(&socket.0, || {
                sent += 1;
                Some(Ok(()))
            });
        }
        assert_eq!((sent, acks.pending()), (1, 1));
        socket.0.receive_ack(id, PeerData::new("1".into()));
        assert!(matches!(acks.next().await, Some((_, Ok(_)))));
        assert!(acks.next().await.is_none());
    }
}
