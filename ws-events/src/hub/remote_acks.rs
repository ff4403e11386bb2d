//! How are the acknowledgements of the sockets of other nodes collected?

use std::collections::HashSet;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::cluster::NodeId;
use crate::cluster::envelope::AnswerPart;
use crate::cluster::gather::{GatherEvent, PendingRequest};
use crate::cluster::seam::Cluster;
use crate::events::protocol::PeerData;
use crate::hub::bodies::local_ack;
use crate::{AckError, Id};

/// The answer of a socket.
pub(crate) type SocketAnswer = (Id, Result<PeerData, AckError>);

/// The acknowledgements of the sockets of other nodes.
pub(crate) struct RemoteAcks {
    cluster: Cluster,
    request: PendingRequest,
    expected: HashSet<(NodeId, Arc<str>)>,
    /// The nodes that have said which of their sockets got the event.
    known: HashSet<NodeId>,
    /// A node may still wait for its sockets.
    must_cancel: bool,
}

impl RemoteAcks {
    pub(crate) fn new(cluster: Cluster, request: PendingRequest) -> Self {
        let must_cancel = !request.open.is_empty();
        let (expected, known) = Default::default();
        Self { cluster, request, expected, known, must_cancel }
    }

    /// The number of sockets that have yet to answer, as far as it is known.
    pub(crate) fn pending(&self) -> usize {
        self.expected.len()
    }

    /// The nodes whose sockets are not all known, or whose answers are incomplete.
    pub(crate) fn missing(&self) -> &[NodeId] {
        &self.request.missing
    }

    /// The time is over: a socket that has not answered.
    pub(crate) fn take_late(&mut self) -> Option<Id> {
        self.request.open.retain(|node| !self.known.contains(node));
        self.request.give_up();
        let late = self.expected.iter().next().cloned()?;
        self.expected.remove(&late);
        Some(Id(late.1))
    }

    /// An answer of a socket of another node; `None` if all nodes have answered completely.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        failed: &mut Vec<(Id, AckError)>,
    ) -> Poll<Option<SocketAnswer>> {
        while !self.request.open.is_empty() {
            let Some(event) = ready!(self.request.events.poll_recv(cx)) else { break };
            let ended = match &event {
                GatherEvent::Part(..) => None,
                #[cfg(feature = "socketio-adapter")]
                GatherEvent::Open(_) | GatherEvent::NoNode(_) => None,
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
