//! Who writes what was sent to many?
//!
//! Not the task of each of them: to wake them all would cost more than to write. Those whose
//! tasks sleep are shared out among carriers, tasks that live for a turn. A carrier hands the
//! connection of each what waits for it, and leaves whoever does not take that at once to
//! its own task ([`pump`](crate::delivery::writer)).

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::{Handle, Id};
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;

use crate::delivery::writer::Handed;
use crate::hub::member::Member;

/// How many sockets a carrier has. Other tasks have a turn between two carriers, and other
/// threads take some of them over.
const LOAD: usize = 32;

/// After so many messages other tasks have a turn: each may have to be compressed anew.
const TURN: usize = 512;

/// Those that are to be carried to. A carrier runs where the tasks of its sockets do: there
/// it is as sure to run as they are.
pub(crate) struct Loads {
    full: Vec<Load>,
    /// One for each runtime.
    filling: Vec<Load>,
}

struct Load {
    runtime: Option<Id>,
    members: Vec<Arc<Member>>,
}

impl Loads {
    pub(crate) const fn new() -> Self {
        Self { full: Vec::new(), filling: Vec::new() }
    }

    pub(crate) fn add(&mut self, member: &Arc<Member>) {
        let runtime = member.runtime.as_ref().map(Handle::id);
        let at = self.filling.iter().position(|load| load.runtime == runtime);
        let at = at.unwrap_or_else(|| {
            self.filling.push(Load { runtime, members: Vec::with_capacity(LOAD) });
            self.filling.len() - 1
        });
        let Some(load) = self.filling.get_mut(at) else { return };
        load.members.push(Arc::clone(member));
        if load.members.len() == LOAD {
            self.full.push(self.filling.swap_remove(at));
        }
    }

    /// Sends a carrier off with each. To be called without any lock.
    pub(crate) fn set_off(self) {
        for Load { members, .. } in self.full.into_iter().chain(self.filling) {
            let runtime = members.first().and_then(|member| member.runtime.clone());
            let carrier = Carrier { members: members.into_iter(), is_there: false };
            match runtime {
                // It has an end, and those who come last are no more behind than the first.
                Some(runtime) => drop(runtime.spawn(unconstrained(carrier))),
                None => drop(carrier),
            }
        }
    }
}

/// One that goes through some. Those that it does not come to are left to their tasks.
struct Carrier {
    members: std::vec::IntoIter<Arc<Member>>,
    /// Has it come to the first of them?
    is_there: bool,
}

impl Future for Carrier {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { members, is_there } = &mut *self;
        members.as_slice().iter().for_each(|member| member.look());
        let mut count = 0;
        while let Some(member) = members.as_slice().first() {
            *is_there = count < TURN;
            if !*is_there {
                return pin!(yield_now()).poll(cx);
            }
            count += carry(member);
            members.next();
        }
        Poll::Ready(())
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // A transport that has panicked has left a part. Its own task does not survive that.
        let mut behind = self.is_there;
        for member in self.members.by_ref() {
            leave(&member, std::mem::take(&mut behind));
        }
    }
}

/// Hands a connection what waits for it. Says how many messages it has taken.
fn carry(member: &Member) -> usize {
    let mut handed = Handed::new(member);
    let written = member.with_conn(|conn| {
        conn.try_write_batch(|room| handed.more(|member| member.mailbox.carry(room)))
    });
    let Handed { count, is_all, .. } = handed;
    drop(handed);
    match written {
        Some(Ok(batch)) if batch.flushed && is_all => {}
        Some(Ok(batch)) => leave(member, !batch.flushed),
        // What is wrong is for its task to find out, also when nothing waits any more.
        Some(Err(_)) => leave(member, true),
        // It is over.
        None => {}
    }
    count
}

/// Leaves the rest to the task of a socket.
fn leave(member: &Member, behind: bool) {
    if let Some(task) = member.mailbox.leave_to_task(behind) {
        task.wake();
    }
}
