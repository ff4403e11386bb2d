//! How are the answers of all nodes to one request collected?

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

#[cfg(feature = "socketio-adapter")]
use super::answers::CountedAnswers;
use super::envelope::AnswerPart;
use super::node::NodeId;

/// The most requests that wait for answers.
const MAX_REQUESTS: usize = 1024;

/// The answers of the nodes of a cluster, and which nodes did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gathered<T> {
    /// The answers, of this node first.
    pub value: T,
    /// The nodes that did not answer completely: in time, because they went down meanwhile, or
    /// because the request did not reach them. If it is empty, the value is that of all nodes that
    /// this one knew.
    pub missing: Vec<NodeId>,
}

/// The requests that wait for answers.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    requests: HashMap<u64, Request>,
}

#[derive(Debug)]
struct Request {
    /// The nodes that have yet to answer.
    nodes: HashSet<NodeId>,
    parts: mpsc::UnboundedSender<GatherEvent>,
    /// How many nodes answer is not known before they do.
    #[cfg(feature = "socketio-adapter")]
    counted: CountedAnswers,
}

/// What a request gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GatherEvent {
    /// One more node answers.
    #[cfg(feature = "socketio-adapter")]
    Open(NodeId),
    /// It stands for no other node: nothing comes of it.
    #[cfg(feature = "socketio-adapter")]
    NoNode(NodeId),
    Part(NodeId, AnswerPart),
    /// The node has answered completely.
    Done(NodeId),
    /// The node does not answer.
    Missing(NodeId),
}

/// A request that waits for answers, until it is dropped.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    requests: Arc<Requests>,
    pub(crate) id: u64,
    /// Events come for these nodes, each ending with `Done` or `Missing`.
    pub(crate) open: HashSet<NodeId>,
    pub(crate) missing: Vec<NodeId>,
    /// This node has too much to do, and has asked nobody.
    pub(crate) is_refused: bool,
    pub(crate) events: mpsc::UnboundedReceiver<GatherEvent>,
}

impl Requests {
    /// Registers a request to these nodes, before it is published. If there are too many requests,
    /// all nodes are missing.
    pub(crate) fn register(self: &Arc<Self>, nodes: HashSet<NodeId>) -> PendingRequest {
        let (parts, events) = mpsc::unbounded_channel();
        let mut waiting = self.0.lock();
        waiting.last += 1;
        let id = waiting.last;
        let mut pending = PendingRequest {
            requests: Arc::clone(self),
            id,
            open: nodes.clone(),
            missing: Vec::new(),
            is_refused: false,
            events,
        };
        if waiting.requests.len() >= MAX_REQUESTS {
            drop(waiting);
            pending.refuse();
        } else {
            let request = Request {
                nodes,
                parts,
                #[cfg(feature = "socketio-adapter")]
                counted: Default::default(),
            };
            waiting.requests.insert(id, request);
        }
        pending
    }

    /// A part of an answer has arrived. It is ignored if nobody waits for it.
    pub(crate) fn receive(&self, node: NodeId, id: u64, part: AnswerPart) {
        let mut waiting = self.0.lock();
        let Some(request) = waiting.requests.get_mut(&id) else { return };
        if !request.nodes.contains(&node) {
            return;
        }
        let event = match part {
            AnswerPart::Done => {
                request.nodes.remove(&node);
                GatherEvent::Done(node)
            }
            AnswerPart::Busy => {
                request.nodes.remove(&node);
                GatherEvent::Missing(node)
            }
            part => GatherEvent::Part(node, part),
        };
        // It fails if the request is about to be dropped.
        let _ = request.parts.send(event);
    }

    /// Whether a request waits.
    #[cfg(feature = "socketio-adapter")]
    pub(crate) fn is_waiting(&self) -> bool {
        !self.0.lock().requests.is_empty()
    }

    /// Notes what has arrived for a request whose answers are counted.
    #[cfg(feature = "socketio-adapter")]
    pub(crate) fn counted(
        &self,
        id: u64,
        note: impl FnOnce(&mut CountedAnswers, &mut dyn FnMut(GatherEvent)),
    ) {
        let mut waiting = self.0.lock();
        let Some(Request { counted, parts, .. }) = waiting.requests.get_mut(&id) else { return };
        // It fails if the request is about to be dropped.
        note(counted, &mut |event| _ = parts.send(event));
    }

    /// A node is down, or an answer of it was lost: its answers are incomplete.
    pub(crate) fn node_lost(&self, node: NodeId) {
        for request in self.0.lock().requests.values_mut() {
            if request.nodes.remove(&node) {
                let _ = request.parts.send(GatherEvent::Missing(node));
            }
        }
    }
}

impl PendingRequest {
    /// Nobody is asked, because this node has too much to do.
    pub(crate) fn refuse(&mut self) {
        self.is_refused = true;
        self.give_up();
    }

    /// No node answers any more.
    pub(crate) fn give_up(&mut self) {
        self.missing.extend(self.open.drain());
    }

    /// Notes an event. Returns its part.
    pub(crate) fn note(&mut self, event: GatherEvent) -> Option<(NodeId, AnswerPart)> {
        match event {
            GatherEvent::Part(node, part) => return Some((node, part)),
            #[cfg(feature = "socketio-adapter")]
            GatherEvent::Open(node) => _ = self.open.insert(node),
            #[cfg(feature = "socketio-adapter")]
            GatherEvent::NoNode(node) => _ = self.open.remove(&node),
            GatherEvent::Done(node) => _ = self.open.remove(&node),
            GatherEvent::Missing(node) => {
                if self.open.remove(&node) {
                    self.missing.push(node);
                }
            }
        }
        None
    }

    /// Collects all parts, until all nodes have answered or the time is over. Returns the nodes that
    /// did not answer.
    pub(crate) async fn collect(
        self,
        limit: Duration,
        mut take: impl FnMut(NodeId, AnswerPart),
    ) -> Vec<NodeId> {
        self.collect_events(limit, |_, part| {
            if let Some((node, part)) = part {
                take(node, part);
            }
        })
        .await
    }

    /// As [`collect`](Self::collect), for one part of each node. A node that ends without one is
    /// among those that did not answer.
    pub(crate) async fn collect_one_each(
        self,
        limit: Duration,
        mut take: impl FnMut(NodeId, AnswerPart),
    ) -> Vec<NodeId> {
        let (mut answered, mut silent) = (HashSet::new(), Vec::new());
        let mut missing = self
            .collect_events(limit, |ended, part| {
                if let Some((node, part)) = part
                    && answered.insert(node)
                {
                    take(node, part);
                }
                silent.extend(ended.filter(|node| !answered.contains(node)));
            })
            .await;
        missing.append(&mut silent);
        missing
    }

    /// Calls `take` with the node that has answered completely, or with a part.
    async fn collect_events(
        mut self,
        limit: Duration,
        mut take: impl FnMut(Option<NodeId>, Option<(NodeId, AnswerPart)>),
    ) -> Vec<NodeId> {
        let collecting = async {
            while !self.open.is_empty() {
                let Some(event) = self.events.recv().await else { break };
                let ended = if let GatherEvent::Done(node) = &event { Some(*node) } else { None };
                let part = self.note(event);
                take(ended, part);
            }
        };
        let _ = timeout(limit, collecting).await;
        self.give_up();
        std::mem::take(&mut self.missing)
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.requests.0.lock().requests.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_when_each_node_has_answered_or_is_missing() {
        let requests = Arc::new(Requests::default());
        let pending = requests.register([1, 2, 3, 4].map(NodeId).into());
        let id = pending.id;
        requests.receive(NodeId(1), id, AnswerPart::Count(5));
        requests.receive(NodeId(1), id, AnswerPart::Done);
        // Late, of a stranger, and for an unknown request.
        requests.receive(NodeId(1), id, AnswerPart::Count(5));
        requests.receive(NodeId(9), id, AnswerPart::Count(5));
        requests.receive(NodeId(2), id + 1, AnswerPart::Count(5));
        requests.receive(NodeId(2), id, AnswerPart::Busy);
        requests.node_lost(NodeId(3));
        requests.receive(NodeId(4), id, AnswerPart::Count(2));
        let mut count = 0;
        let add = |_, part| {
            if let AnswerPart::Count(more) = part {
                count += more
            }
        };
        let mut missing = pending.collect(Duration::from_secs(1), add).await;
        missing.sort();
        assert_eq!((count, missing), (7, [2, 3, 4].map(NodeId).to_vec()));
        assert!(requests.0.lock().requests.is_empty());
    }

    #[test]
    fn beyond_the_limit_all_nodes_are_missing() {
        let requests = Arc::new(Requests::default());
        let nodes: HashSet<_> = [NodeId(1)].into();
        let waiting: Vec<_> = (0..MAX_REQUESTS).map(|_| requests.register(nodes.clone())).collect();
        let refused = requests.register(nodes.clone());
        assert_eq!((&refused.missing[..], refused.is_refused), (&[NodeId(1)][..], true));
        drop(waiting);
        let asked = requests.register(nodes);
        assert_eq!((&asked.missing[..], asked.is_refused), (&[][..], false));
    }
}
