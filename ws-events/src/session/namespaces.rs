//! In which namespaces is the client of a session, and what runs their sockets?
//!
//! Most clients are in one. A session with one namespace needs neither a table nor a scheduler.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use smallvec::SmallVec;

use crate::namespace_link::NamespaceLink;

/// The links of a session, in the order of their names.
#[derive(Default)]
pub(crate) struct Links(SmallVec<[Arc<NamespaceLink>; 1]>);

impl Links {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|link| (**link.name()).cmp(name))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<NamespaceLink>> {
        self.0.get(self.find(name).ok()?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<NamespaceLink>> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a link, in the place of another one with its name.
    pub(crate) fn insert(&mut self, link: Arc<NamespaceLink>) {
        self.remove(link.name());
        let at = self.find(link.name()).unwrap_or_else(|at| at);
        self.0.insert(at, link);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            self.0.remove(at);
        }
    }
}

/// Namespaces that the client had to leave, and from which it may still send: the oldest first.
#[derive(Default)]
pub(crate) struct Expelled(VecDeque<Arc<str>>);

impl Expelled {
    /// Adds a name. With as many as `limit`, it takes the place of the oldest.
    pub(crate) fn add(&mut self, name: &Arc<str>, limit: usize) {
        if self.0.len() >= limit {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(name));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|expelled| **expelled != *name);
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|expelled| **expelled == *name)
    }
}

/// Runs a socket to its end, and returns its link.
pub(crate) type RunSocket = BoxFuture<'static, Arc<NamespaceLink>>;

/// The sockets of a session, and those that have yet to run the handlers of their end.
#[derive(Default)]
pub(crate) enum Sockets {
    #[default]
    None,
    /// The task of the session polls it whenever it is woken.
    One(RunSocket),
    /// Those are polled that were woken.
    Many(Box<FuturesUnordered<RunSocket>>),
}

impl Sockets {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(sockets) => sockets.len(),
        }
    }

    pub(crate) fn push(&mut self, socket: RunSocket) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(socket),
            Self::One(first) => Self::Many(Box::new([first, socket].into_iter().collect())),
            Self::Many(sockets) => {
                sockets.push(socket);
                Self::Many(sockets)
            }
        };
    }

    /// Polls for the link of a socket that has ended; `None` if there is no socket.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<NamespaceLink>>> {
        let ended = match self {
            Self::None => return Poll::Ready(None),
            Self::One(socket) => socket.poll_unpin(cx).map(Some),
            Self::Many(sockets) => sockets.poll_next_unpin(cx),
        };
        let is_last = match self {
            Self::None | Self::One(_) => true,
            Self::Many(sockets) => sockets.is_empty(),
        };
        if ended.is_ready() && is_last {
            *self = Self::None;
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::channel::oneshot;
    use futures::poll;

    use super::*;
    use crate::engine::{EngineConfig, EngineSessions};
    use crate::namespace_link::LinkGroup;
    use crate::socketio::PacketFormat;

    fn link(name: &str) -> Arc<NamespaceLink> {
        let (session, _) = EngineSessions::new(EngineConfig::new()).open_polling(None).unwrap();
        let group = Arc::new(LinkGroup::new(session));
        Arc::new(NamespaceLink::new(group, Arc::from(name), PacketFormat::Text, "null"))
    }

    #[test]
    fn a_link_is_found_by_its_name() {
        let mut links = Links::default();
        for name in ["/b", "/", "/c", "/a", "/b"] {
            let link = link(name);
            links.insert(Arc::clone(&link));
            assert!(links.get(name).is_some_and(|found| Arc::ptr_eq(found, &link)), "{name}");
        }
        let names: Vec<_> = links.iter().map(|link| &**link.name()).collect();
        assert_eq!(names, ["/", "/a", "/b", "/c"]);
        links.remove("/a");
        links.remove("/d");
        assert!(links.get("/a").is_none() && links.get("/c").is_some());
    }

    /// Those that were polled before more came are woken, too.
    #[tokio::test]
    async fn each_socket_runs_to_its_end() {
        for names in [&["/"][..], &["/", "/a"], &["/", "/a", "/b"]] {
            let (mut sockets, mut ends) = (Sockets::default(), Vec::new());
            for (number, name) in names.iter().enumerate() {
                let (end, ended) = oneshot::channel::<()>();
                let link = link(name);
                ends.push(end);
                sockets.push(Box::pin(async move {
                    let _ = ended.await;
                    link
                }));
                assert_eq!(sockets.len(), number + 1);
                assert!(poll!(poll_fn(|cx| sockets.poll_next(cx))).is_pending());
            }
            for (name, end) in names.iter().zip(ends) {
                drop(end);
                let ended = poll_fn(|cx| sockets.poll_next(cx)).await;
                assert_eq!(ended.as_ref().map(|link| &**link.name()), Some(*name));
            }
            assert!(matches!(sockets, Sockets::None));
            assert!(poll_fn(|cx| sockets.poll_next(cx)).await.is_none());
        }
    }

    #[test]
    fn the_oldest_of_too_many_names_is_forgotten() {
        let mut expelled = Expelled::default();
        for name in ["/a", "/b", "/c"] {
            expelled.add(&Arc::from(name), 2);
        }
        expelled.remove("/b");
        let known = ["/a", "/b", "/c"].map(|name| expelled.contains(name));
        assert_eq!(known, [false, false, true]);
    }
}
