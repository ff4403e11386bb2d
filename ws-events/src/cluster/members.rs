//! Which nodes are there, and which of their envelopes have arrived?

use std::collections::{HashMap, HashSet};

use tokio::time::{Duration, Instant};

use super::envelope::HeartbeatBody;
use super::node::{NodeId, NodeInfo};
use super::sequence::{Claim, SequenceNumber, Verdict, Window};
use crate::broker::Subject;

/// How long the numbers of a node that is down or has left are kept, so that what arrives later is
/// counted.
const FORGET: Duration = Duration::from_secs(60);

/// The most subjects of one origin whose numbers are kept. Beyond that, counting begins again.
const MAX_WINDOWS: usize = 64 * 1024;

/// The other nodes, and those that only send.
#[derive(Debug)]
pub(crate) struct Members {
    most: usize,
    nodes: HashMap<NodeId, NodeState>,
}

#[derive(Debug)]
struct NodeState {
    incarnation: u64,
    heard: Instant,
    liveness: Liveness,
    is_emitter: bool,
    sockets: u64,
    windows: HashMap<Subject, Window>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Liveness {
    /// No heartbeat has arrived.
    Unknown,
    Up,
    /// It has said goodbye. What it has sent before on other subjects may arrive later.
    Left,
    /// It was silent.
    Down,
}

/// What changed when a node was heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Up(NodeId),
    Down(NodeId),
    Gap(NodeId, Subject, u64),
}

/// Why an envelope is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Duplicate,
    TooManyNodes,
}

impl Members {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, nodes: HashMap::new() }
    }

    /// An envelope has arrived. `number` is `None` for one without a number.
    pub(crate) fn receive(
        &mut self,
        (origin, incarnation): (NodeId, u64),
        subject: &Subject,
        number: Option<SequenceNumber>,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> Result<(), Dropped> {
        let member = self.heard(origin, incarnation, now, changes)?;
        let Some(number) = number else { return Ok(()) };
        if member.windows.len() >= MAX_WINDOWS && !member.windows.contains_key(subject) {
            member.windows.clear();
        }
        let window = match member.windows.get_mut(subject) {
            Some(window) => window,
            None => member.windows.entry(subject.clone()).or_default(),
        };
        match window.receive(number) {
            Verdict::Old => Err(Dropped::Duplicate),
            Verdict::New { lost } => {
                note_lost(origin, subject, lost, changes);
                Ok(())
            }
        }
    }

    /// A heartbeat has arrived: [`receive`](Self::receive) was called before. `counted` are the
    /// subjects to which this node has subscribed long enough to count.
    pub(crate) fn heartbeat(
        &mut self,
        origin: NodeId,
        heartbeat: &HeartbeatBody,
        is_own: bool,
        counted: &dyn Fn(&str) -> bool,
        all_counted: &[Subject],
        changes: &mut Vec<Change>,
    ) {
        let Some(member) = self.nodes.get_mut(&origin) else { return };
        member.sockets = heartbeat.sockets;
        // This node is not among the others.
        member.is_emitter = heartbeat.is_emitter || is_own;
        if std::mem::replace(&mut member.liveness, Liveness::Up) != Liveness::Up
            && !member.is_emitter
        {
            changes.push(Change::Up(origin));
        }
        let Some(is_complete) = heartbeat.is_complete else { return };
        let mut claim = |subject: &Subject, first, last| {
            if member.windows.len() >= MAX_WINDOWS && !member.windows.contains_key(subject) {
                return;
            }
            let window = match member.windows.get_mut(subject) {
                Some(window) => window,
                None => member.windows.entry(subject.clone()).or_default(),
            };
            note_lost(origin, subject, window.claim(first, last), changes);
        };
        for Claim { subject, first, last } in &heartbeat.claims {
            if counted(subject.as_str()) {
                claim(subject, *first, *last);
            }
        }
        if is_complete {
            let claimed: HashSet<_> = heartbeat.claims.iter().map(|it| &it.subject).collect();
            // It has published nothing there.
            for subject in all_counted.iter().filter(|subject| !claimed.contains(subject)) {
                claim(subject, 0, 0);
            }
        }
    }

    /// The node has said that it leaves. What is lost by its last claims is found by
    /// [`tick`](Self::tick), when another subject has had time to catch up.
    pub(crate) fn leave(&mut self, origin: NodeId, changes: &mut Vec<Change>) {
        let Some(member) = self.nodes.get_mut(&origin) else { return };
        let before = std::mem::replace(&mut member.liveness, Liveness::Left);
        if before == Liveness::Up && !member.is_emitter {
            changes.push(Change::Down(origin));
        }
    }

    /// This node has unsubscribed: its counting ends.
    pub(crate) fn unsubscribed(&mut self, subjects: &[Subject]) {
        for member in self.nodes.values_mut() {
            subjects.iter().for_each(|subject| _ = member.windows.remove(subject));
        }
    }

    /// Finds those that are silent, and what is lost by their last claims.
    pub(crate) fn tick(&mut self, now: Instant, dead_after: Duration, changes: &mut Vec<Change>) {
        self.nodes.retain(|id, member| {
            let silent = now.duration_since(member.heard);
            if silent < dead_after {
                return true;
            }
            if matches!(member.liveness, Liveness::Up | Liveness::Left) {
                for (subject, window) in &mut member.windows {
                    note_lost(*id, subject, window.settle(), changes);
                }
            }
            if member.liveness == Liveness::Up {
                member.liveness = Liveness::Down;
                if !member.is_emitter {
                    changes.push(Change::Down(*id));
                }
            }
            silent < FORGET.max(dead_after)
        });
    }

    /// The nodes that are up.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeInfo> {
        let is_node = |member: &NodeState| member.liveness == Liveness::Up && !member.is_emitter;
        let nodes = self.nodes.iter().filter(move |(_, member)| is_node(member));
        nodes.map(|(id, member)| NodeInfo { id: *id, sockets: member.sockets })
    }

    /// The nodes that are known, also those that are down, without those that have left.
    pub(crate) fn known(&self) -> impl Iterator<Item = NodeId> {
        let is_node = |member: &NodeState| member.liveness != Liveness::Left && !member.is_emitter;
        self.nodes.iter().filter(move |(_, member)| is_node(member)).map(|(id, _)| *id)
    }

    fn heard(
        &mut self,
        origin: NodeId,
        incarnation: u64,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> Result<&mut NodeState, Dropped> {
        let is_known = self.nodes.contains_key(&origin);
        if !is_known && self.nodes.len() >= self.most {
            // Those that have left make room. If they left just now, their losses are not found.
            self.nodes.retain(|_, member| member.liveness != Liveness::Left);
            if self.nodes.len() >= self.most {
                return Err(Dropped::TooManyNodes);
            }
        }
        let new = || NodeState {
            incarnation,
            heard: now,
            liveness: Liveness::Unknown,
            is_emitter: false,
            sockets: 0,
            windows: HashMap::new(),
        };
        let member = self.nodes.entry(origin).or_insert_with(new);
        if member.incarnation > incarnation {
            // It was sent before the node started again.
            return Err(Dropped::Duplicate);
        }
        if member.incarnation < incarnation {
            if member.liveness == Liveness::Up && !member.is_emitter {
                changes.push(Change::Down(origin));
            }
            *member = new();
        }
        member.heard = now;
        Ok(member)
    }
}

fn note_lost(origin: NodeId, subject: &Subject, lost: u64, changes: &mut Vec<Change>) {
    if lost > 0 {
        changes.push(Change::Gap(origin, subject.clone(), lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(members: &mut Members, from: (u64, u64), number: Option<u64>) -> Vec<String> {
        let subject = Subject::new("s").unwrap();
        let mut changes = Vec::new();
        let number = number.map(|this| SequenceNumber { first: 1, this });
        let from = (NodeId(from.0), from.1);
        let result = members.receive(from, &subject, number, Instant::now(), &mut changes);
        if result.is_ok() && number.is_none() {
            let heartbeat = HeartbeatBody { sockets: 2, ..HeartbeatBody::default() };
            members.heartbeat(from.0, &heartbeat, false, &|_| true, &[], &mut changes);
        }
        let changes = changes.iter().map(|change| match change {
            Change::Up(_) => "up".to_owned(),
            Change::Down(_) => "down".to_owned(),
            Change::Gap(_, _, lost) => format!("lost {lost}"),
        });
        changes.chain(result.err().map(|error| format!("{error:?}"))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_up_with_its_first_heartbeat_and_down_when_it_is_silent_or_starts_again() {
        let dead = Duration::from_secs(10);
        let mut members = Members::new(2);
        assert_eq!(receive(&mut members, (1, 1), Some(1)), [""; 0]);
        assert_eq!(members.nodes().count(), 0);
        assert_eq!(receive(&mut members, (1, 1), None), ["up"]);
        assert_eq!(receive(&mut members, (1, 1), Some(3)), ["lost 1"]);
        assert_eq!(receive(&mut members, (1, 1), Some(3)), ["Duplicate"]);
        assert_eq!(receive(&mut members, (1, 2), None), ["down", "up"]);
        assert_eq!(receive(&mut members, (1, 1), Some(4)), ["Duplicate"]);
        assert_eq!(receive(&mut members, (2, 1), None), ["up"]);
        assert_eq!(receive(&mut members, (3, 1), None), ["TooManyNodes"]);
        assert_eq!(members.nodes().map(|node| node.sockets).sum::<u64>(), 4);
        let mut changes = Vec::new();
        tokio::time::advance(dead).await;
        members.tick(Instant::now(), dead, &mut changes);
        members.tick(Instant::now(), dead, &mut changes);
        assert_eq!(changes.len(), 2);
        // Its numbers are kept for a while.
        assert_eq!(receive(&mut members, (2, 1), None), ["up"]);
        tokio::time::advance(FORGET).await;
        members.tick(Instant::now(), dead, &mut changes);
        assert_eq!(receive(&mut members, (3, 1), None), ["up"]);
        members.leave(NodeId(3), &mut changes);
        assert_eq!((members.nodes().count(), changes.len()), (0, 4));
        assert_eq!(members.known().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_node_has_claimed_when_it_leaves_is_lost_if_it_does_not_arrive_in_time() {
        let dead = Duration::from_secs(10);
        let mut members = Members::new(1);
        let mut changes = Vec::new();
        for late in [false, true] {
            let id = u64::from(late);
            assert_eq!(receive(&mut members, (id, 1), Some(1)), [""; 0]);
            let claim = Claim { subject: Subject::new("s").unwrap(), first: 1, last: 3 };
            let heartbeat = HeartbeatBody {
                is_complete: Some(true),
                claims: vec![claim],
                ..HeartbeatBody::default()
            };
            members.heartbeat(NodeId(id), &heartbeat, false, &|_| true, &[], &mut changes);
            members.leave(NodeId(id), &mut changes);
            assert_eq!(changes, [Change::Up(NodeId(id)), Change::Down(NodeId(id))]);
            changes.clear();
            members.tick(Instant::now(), dead, &mut changes);
            assert_eq!((members.nodes().count(), changes.len()), (0, 0));
            if late {
                // On a subject that is slower than the goodbye.
                receive(&mut members, (id, 1), Some(2));
                receive(&mut members, (id, 1), Some(3));
            }
            tokio::time::advance(dead).await;
            members.tick(Instant::now(), dead, &mut changes);
            let lost = Change::Gap(NodeId(id), Subject::new("s").unwrap(), 2);
            assert_eq!(changes, if late { vec![] } else { vec![lost] });
            changes.clear();
            members.tick(Instant::now(), dead, &mut changes);
            assert_eq!(changes, []);
            assert_eq!(receive(&mut members, (id, 1), Some(3)), ["Duplicate"]);
        }
        // It makes room for another one.
        assert_eq!(receive(&mut members, (2, 1), None), ["up"]);
        assert_eq!(receive(&mut members, (3, 1), None), ["TooManyNodes"]);
        members.leave(NodeId(2), &mut changes);
        assert_eq!(receive(&mut members, (3, 1), None), ["up"]);
    }
}
