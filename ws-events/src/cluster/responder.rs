//! How does a node answer what another one has asked?

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, sleep};

use super::envelope::AnswerPart;
use super::node::NodeId;
use crate::broker::PublishError;

/// The most requests that this node answers at the same time, by tasks.
const MAX_ANSWERING: usize = 1024;

/// How long an answer waits for room in the pipeline of the broker.
const FULL: Duration = Duration::from_millis(10);

/// How long a node waits for acknowledgements that another node has asked for. That node cancels
/// the request when it has waited long enough.
pub(crate) const LONGEST_ACK: Duration = Duration::from_secs(600);

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerLimits {
    /// A part that waits for room in the pipeline of the broker.
    pub(crate) part: Duration,
    pub(crate) acknowledgements: Duration,
}

/// Sends a part of an answer, in the format of a cluster.
pub(crate) trait AnswerPort: Send {
    fn send(&mut self, part: &AnswerPart) -> Result<(), PublishError>;
}

/// A request: the node that has asked, and its number.
type RequestKey = (NodeId, u64);

/// The tasks that answer requests of others.
#[derive(Debug, Default)]
pub(crate) struct Answering(Mutex<HashMap<RequestKey, Option<AbortHandle>>>);

impl Answering {
    /// Nobody waits for the answer any more.
    pub(crate) fn cancel(&self, request: RequestKey) {
        let task = self.0.lock().remove(&request);
        task.flatten().iter().for_each(AbortHandle::abort);
    }

    /// A node is down.
    pub(crate) fn node_lost(&self, node: NodeId) {
        self.0.lock().retain(|(origin, _), task| {
            let stays = *origin != node;
            if !stays {
                task.iter().for_each(AbortHandle::abort);
            }
            stays
        });
    }

    pub(crate) fn abort_all(&self) {
        for (_, task) in self.0.lock().drain() {
            task.iter().for_each(AbortHandle::abort);
        }
    }
}

/// Sends the parts of an answer to the node that has asked.
pub(crate) struct Responder {
    answering: Arc<Answering>,
    request: RequestKey,
    port: Box<dyn AnswerPort>,
    limits: AnswerLimits,
    /// A part was refused, so the answer is incomplete.
    has_failed: bool,
}

impl Responder {
    pub(crate) fn new(
        answering: Arc<Answering>,
        request: RequestKey,
        port: Box<dyn AnswerPort>,
        limits: AnswerLimits,
    ) -> Self {
        Self { answering, request, port, limits, has_failed: false }
    }

    pub(crate) const fn limits(&self) -> AnswerLimits {
        self.limits
    }

    pub(crate) fn part(&mut self, part: AnswerPart) {
        if !self.has_failed {
            self.has_failed = self.port.send(&part).is_err();
        }
    }

    /// Sends a part when the pipeline of the broker has room, for as long as anybody may wait for it.
    pub(crate) async fn part_wait(&mut self, part: AnswerPart) {
        let until = Instant::now() + self.limits.part;
        while !self.has_failed {
            match self.port.send(&part) {
                Ok(()) => return,
                Err(PublishError::Full) if Instant::now() < until => sleep(FULL).await,
                Err(_) => self.has_failed = true,
            }
        }
    }

    /// All parts were sent.
    pub(crate) fn done(mut self) {
        if self.has_failed {
            self.has_failed = false;
            self.part(AnswerPart::Busy);
        } else {
            self.part(AnswerPart::Done);
        }
    }

    /// Answers in a task, unless there are too many. It ends when nobody waits for the answer any
    /// more.
    pub(crate) fn spawn<Fut>(self, answer: impl FnOnce(Self) -> Fut)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.spawn_or(|mut responder| responder.part(AnswerPart::Busy), answer);
    }

    /// As [`spawn`](Self::spawn), and calls `refuse` if there are too many, or if this request is being
    /// answered already.
    pub(crate) fn spawn_or<Fut>(self, refuse: impl FnOnce(Self), answer: impl FnOnce(Self) -> Fut)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (shared, request) = (Arc::clone(&self.answering), self.request);
        {
            let mut answering = shared.0.lock();
            if answering.len() >= MAX_ANSWERING || answering.contains_key(&request) {
                drop(answering);
                return refuse(self);
            }
            answering.insert(request, None);
        }
        let (ended, answering) = (Arc::clone(&shared), answer(self));
        let task = tokio::spawn(async move {
            answering.await;
            ended.0.lock().remove(&request);
        });
        if let Some(handle) = shared.0.lock().get_mut(&request) {
            *handle = Some(task.abort_handle());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Keeps what is sent.
    struct Parts(Arc<Mutex<Vec<AnswerPart>>>);

    impl AnswerPort for Parts {
        fn send(&mut self, part: &AnswerPart) -> Result<(), PublishError> {
            self.0.lock().push(part.clone());
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_request_is_answered_once_and_not_more_than_so_many_at_once() {
        let (answering, parts) = (Arc::<Answering>::default(), Arc::<Mutex<Vec<_>>>::default());
        let limits = AnswerLimits { part: FULL, acknowledgements: FULL };
        let answer = |id| {
            let port = Box::new(Parts(Arc::clone(&parts)));
            Responder::new(Arc::clone(&answering), (NodeId(1), id), port, limits)
                .spawn(|_| pending());
            parts.lock().drain(..).collect::<Vec<_>>()
        };
        let most = MAX_ANSWERING as u64;
        (0..most).for_each(|id| assert!(answer(id).is_empty()));
        assert!(matches!(answer(most)[..], [AnswerPart::Busy]));
        answering.cancel((NodeId(1), 0));
        assert!(matches!(answer(1)[..], [AnswerPart::Busy]));
        assert!(answer(most).is_empty());
        answering.node_lost(NodeId(1));
        assert!(answering.0.lock().is_empty());
    }
}
