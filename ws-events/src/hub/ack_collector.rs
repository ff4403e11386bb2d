//! How are the acknowledgements of many sockets collected, of this node and of others?

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::cluster::NodeId;
use crate::cluster::engine::ClusterEngine;
use crate::cluster::envelope::AnswerPart;
use crate::cluster::gather::{GatherEvent, PendingRequest};
use crate::events::protocol::PeerData;
use crate::hub::acks::{AckWaiter, DEFAULT_TIMEOUT};
use crate::hub::remote::local_ack;
use crate::hub::socket::SocketShared;
use crate::{AckError, EmitError, Id};

/// The answer of a socket.
pub(crate) type SocketAnswer = (Id, Result<PeerData, AckError>);

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
    pub(crate) timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_late: bool,
    remote: Option<RemoteAcks>,
}

/// The acknowledgements of the sockets of other nodes.
struct RemoteAcks {
    cluster: Arc<ClusterEngine>,
    request: PendingRequest,
    expected: HashSet<(NodeId, Arc<str>)>,
    /// The nodes that have said which of their sockets got the event.
    known: HashSet<NodeId>,
    /// A node may still wait for its sockets.
    must_cancel: bool,
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
    pub(crate) fn add_remote(&mut self, cluster: &Arc<ClusterEngine>, request: PendingRequest) {
        let (cluster, must_cancel) = (Arc::clone(cluster), !request.open.is_empty());
        let (expected, known) = Default::default();
        self.remote = Some(RemoteAcks { cluster, request, expected, known, must_cancel });
    }

    /// Registers the acknowledgement of a recipient, and sends it the event by `send`. If `send`
    /// returns an error, the event is not sent to it; `None`: it is no recipient.
    pub(crate) fn expect(
        &mut self,
        socket: &Arc<SocketShared>,
        send: impl FnOnce() -> Option<Result<(), EmitError>>,
    ) {
        let waiter = AckWaiter::Many(self.expected.len(), self.sender.clone());
        let error = match socket.expect_ack(self.id, waiter) {
            Ok(()) => match send() {
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

    /// The ids of the sockets of this node, also of those that cannot answer.
    pub(crate) fn ids(&self) -> Vec<Arc<str>> {
        let expected = self.expected.iter().flatten().map(|socket| socket.id.get());
        expected.chain(self.failed.iter().map(|(id, _)| Arc::clone(&id.0))).collect()
    }

    /// The number of sockets that have yet to answer, as far as it is known.
    pub(crate) fn pending(&self) -> usize {
        self.left + self.remote.as_ref().map_or(0, |remote| remote.expected.len())
    }

    /// The nodes whose sockets are not all known.
    pub(crate) fn missing(&self) -> &[NodeId] {
        self.remote.as_ref().map_or(&[], |remote| &remote.request.missing)
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
        let remote = self.remote.as_mut()?;
        remote.request.open.retain(|node| !remote.known.contains(node));
        remote.request.give_up();
        let late = remote.expected.iter().next().cloned()?;
        remote.expected.remove(&late);
        Some((Id(late.1), Err(AckError::Timeout)))
    }
}

impl Drop for AckCollector {
    fn drop(&mut self) {
        for socket in self.expected.iter().flatten() {
            socket.forget_ack(self.id);
        }
    }
}

impl RemoteAcks {
    /// An answer of a socket of another node; `None` if all nodes have answered completely.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        failed: &mut Vec<(Id, AckError)>,
    ) -> Poll<Option<SocketAnswer>> {
        while !self.request.open.is_empty() {
            let Some(event) = ready!(self.request.events.poll_recv(cx)) else { break };
            let ended = match &event {
                GatherEvent::Part(..) => None,
                GatherEvent::Done(node) | GatherEvent::Missing(node) => Some(*node),
            };
            match self.request.note(event) {
                Some((node, AnswerPart::Expected(ids))) => {
                    self.expected.extend(ids.into_iter().map(|id| (node, id)));
                }
                Some((node, AnswerPart::AllExpected)) => _ = self.known.insert(node),
                Some((node, AnswerPart::Ack(id, ack))) => {
                    if let Some((_, id)) = self.expected.take(&(node, id)) {
                        return Poll::Ready(Some((Id(id), local_ack(ack))));
                    }
                }
                _ => {}
            }
            if let Some(node) = ended {
                // No answer of its sockets comes any more.
                let gone = self.expected.extract_if(|(of, _)| *of == node);
                failed.extend(gone.map(|(_, id)| (Id(id), AckError::Disconnected)));
            }
        }
        self.must_cancel = false;
        Poll::Ready(None)
    }
}

impl Drop for RemoteAcks {
    fn drop(&mut self) {
        if self.must_cancel {
            self.cluster.cancel(self.request.id);
        }
    }
}
