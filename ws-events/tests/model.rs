//! Do wake-ups, ids and rooms hold in every order of threads?
//!
//! The structures below the hub, with locks under which `shuttle` chooses who runs next:
//! two thousand orders for each test. One that is waited in for ever is a failure.
#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "parts of the hub, each looked at by itself")]

#[path = "../src/registry/ids.rs"]
mod ids;
#[path = "../src/delivery/limits.rs"]
mod limits;
#[path = "../src/delivery/queue_types.rs"]
mod queue_types;
#[path = "../src/session/ready_flag.rs"]
mod ready_flag;
#[path = "../src/delivery/ring.rs"]
mod ring;
#[path = "../src/registry/rooms.rs"]
mod rooms;
#[path = "../src/delivery/send_queue.rs"]
mod send_queue;
#[path = "../src/registry/sharded_map.rs"]
mod sharded_map;
#[path = "../src/delivery/waiters.rs"]
mod waiters;

mod delivery {
    pub(crate) use crate::{limits, queue_types, ring, waiters};
}

mod registry {
    pub(crate) use crate::sharded_map;
}

/// The locks of the hub, as shuttle knows them.
mod sync {
    use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    pub(crate) use std::sync::Arc;

    pub(crate) const SEGMENT: usize = 2;

    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }

        pub(crate) fn is_locked(&self) -> bool {
            self.0.try_lock().is_err()
        }
    }

    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap()
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap()
        }
    }
}

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::future::block_on;
use shuttle::thread;
use ws_core::StatusCode;

use ids::{Directory, Name, Unnamed};
use limits::{Outbox, Overflow};
use queue_types::{Call, Manner, Order, Posted, Todo, Weigh};
use ready_flag::Bell;
use rooms::Rooms;
use send_queue::Mailbox;
use sync::{AtomicUsize, Ordering};
use waiters::Place;

const ORDERS: usize = 1000;

impl Weigh for u32 {
    fn weight(&self) -> usize {
        1
    }
}

type Box32 = Mailbox<u32, u32>;

fn order() -> Order {
    Order { code: StatusCode::NORMAL_CLOSURE, reason: String::new(), too_slow: None }
}

const QUEUED: Posted = Posted::Queued { dropped: 0, crowded: false };

fn post(mailbox: &Box32, n: u32, outbox: &Outbox) -> (Posted, Option<Waker>) {
    let (posted, call) = mailbox.post(n, outbox, Manner::default(), &mut Vec::new());
    (posted, task(call))
}

fn task(call: Call) -> Option<Waker> {
    match call {
        Call::Task(task) => Some(task),
        Call::Nobody => None,
        Call::Carrier => panic!("a carrier was not asked for"),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// In random orders, and in those that need few switches at the worst places.
fn check(test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    shuttle::check_random(move || test(), ORDERS);
    shuttle::check_pct(move || again(), ORDERS, 3);
}

#[test]
fn a_task_that_sleeps_hears_of_everything_that_is_posted_and_told() {
    check(|| {
        let mailbox = Arc::new(Box32::new());
        let posting: Vec<_> = [1, 2]
            .into_iter()
            .map(|sender| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || {
                    for n in 0..2 {
                        let (posted, waker) = post(&mailbox, sender * 10 + n, &Outbox::new());
                        assert_eq!(posted, QUEUED);
                        wake(waker);
                        wake(mailbox.tell(sender * 10 + n).unwrap());
                    }
                })
            })
            .collect();
        let (mut written, mut handled) = (Vec::new(), Vec::new());
        block_on(poll_fn(|cx| {
            while let Poll::Ready((event, _)) = mailbox.poll_event(cx) {
                handled.push(event);
            }
            while mailbox.poll_todo(cx).is_ready() {
                written.extend(mailbox.take(0).items);
            }
            if written.len() == 4 && handled.len() == 4 {
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        for got in [written, handled] {
            for sender in [1, 2] {
                assert!(got.iter().filter(|n| **n / 10 == sender).is_sorted(), "{got:?}");
            }
        }
        posting.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_task_that_was_behind_hears_of_what_came_meanwhile() {
    check(|| {
        let mailbox = Arc::new(Box32::new());
        mailbox.set_behind(true);
        let posting = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || wake(post(&mailbox, 1, &Outbox::new()).1)
        });
        // The transport has taken the batch.
        assert_eq!(block_on(poll_fn(|cx| mailbox.poll_todo(cx))), Todo::Flush);
        mailbox.set_behind(false);
        assert_eq!(block_on(poll_fn(|cx| mailbox.poll_todo(cx))), Todo::Write);
        posting.join().unwrap();
    });
}

/// Posts three, of which a carrier sees to those that a task sleeps for. The carrier takes
/// as many as it may and `leaves` the rest. Nothing is lost, passed or waited for in vain.
fn check_carried(leaves: impl Fn(&Box32) -> Option<Waker> + Send + Sync + Copy + 'static) {
    check(move || {
        let mailbox = Arc::new(Box32::new());
        // A connection: whoever writes holds its lock while it takes something.
        let written = Arc::new(sync::Mutex::new(Vec::new()));
        let posting = thread::spawn({
            let (mailbox, written) = (Arc::clone(&mailbox), Arc::clone(&written));
            move || {
                let manner = |n| Manner { volatile: false, carried: n != 1 };
                let mut carriers = Vec::new();
                for n in 0..3 {
                    let (posted, call) =
                        mailbox.post(n, &Outbox::new(), manner(n), &mut Vec::new());
                    assert_eq!(posted, QUEUED);
                    match call {
                        Call::Nobody => {}
                        Call::Task(task) => task.wake(),
                        Call::Carrier => {
                            let (mailbox, written) = (Arc::clone(&mailbox), Arc::clone(&written));
                            carriers.push(thread::spawn(move || {
                                written.lock().extend(mailbox.carry(0).items);
                                wake(leaves(&mailbox));
                            }));
                        }
                    }
                }
                carriers.into_iter().for_each(|carrier| carrier.join().unwrap());
            }
        });
        block_on(poll_fn(|cx| {
            loop {
                match mailbox.poll_todo(cx) {
                    Poll::Ready(Todo::Write) => written.lock().extend(mailbox.take(0).items),
                    Poll::Ready(Todo::Flush) => mailbox.set_behind(false),
                    Poll::Ready(Todo::Close(order)) => panic!("{order:?}"),
                    Poll::Pending => break,
                }
            }
            if written.lock().len() == 3 {
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        posting.join().unwrap();
        assert_eq!(*written.lock(), [0, 1, 2]);
    });
}

#[test]
fn what_a_carrier_leaves_is_written_by_the_task_in_order() {
    check_carried(|mailbox| mailbox.leave_to_task(false));
    check_carried(|mailbox| mailbox.leave_to_task(true));
}

#[test]
fn a_carrier_that_takes_all_is_called_again_for_what_comes_later() {
    check(|| {
        let mailbox = Arc::new(Box32::new());
        let written = Arc::new(sync::Mutex::new(Vec::new()));
        // The task sleeps throughout.
        let mut asleep = Box::pin(poll_fn(|cx| mailbox.poll_todo(cx)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(asleep.as_mut().poll(&mut cx).is_pending());
        let mut carriers = Vec::new();
        for n in 0..3 {
            let manner = Manner { volatile: false, carried: true };
            let (_, call) = mailbox.post(n, &Outbox::new(), manner, &mut Vec::new());
            if let Call::Carrier = call {
                let (mailbox, written) = (Arc::clone(&mailbox), Arc::clone(&written));
                carriers.push(thread::spawn(move || {
                    // One connection, one lock.
                    let mut written = written.lock();
                    loop {
                        let taken = mailbox.carry(1);
                        written.extend(taken.items);
                        if taken.is_all {
                            break;
                        }
                    }
                }));
            }
        }
        carriers.into_iter().for_each(|carrier| carrier.join().unwrap());
        assert_eq!(*written.lock(), [0, 1, 2]);
    });
}

#[test]
fn a_close_is_heard_once_and_what_is_sent_meanwhile_is_accounted_for() {
    check(|| {
        let mailbox = Arc::new(Box32::new());
        let posting = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                let mut queued = 0;
                for n in 0..3 {
                    match post(&mailbox, n, &Outbox::new()) {
                        (Posted::Queued { .. }, waker) => {
                            queued += 1;
                            wake(waker);
                        }
                        (posted, _) => assert_eq!(posted, Posted::Closed),
                    }
                }
                queued
            }
        });
        let closing: Vec<_> = (0..2)
            .map(|_| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || match mailbox.close(order()) {
                    Ok(waker) => {
                        wake(waker);
                        true
                    }
                    Err(_) => false,
                })
            })
            .collect();
        let mut written = 0;
        while block_on(poll_fn(|cx| mailbox.poll_todo(cx))) == Todo::Write {
            written += mailbox.take(0).items.len();
        }
        let discarded = mailbox.shut();
        let firsts = closing.into_iter().map(|it| it.join().unwrap());
        assert_eq!(firsts.filter(|first| *first).count(), 1);
        assert_eq!(posting.join().unwrap(), written + discarded);
    });
}

#[test]
fn a_cut_is_heard_and_leaves_nothing() {
    check(|| {
        let mailbox = Arc::new(Box32::new());
        let outbox =
            Outbox::new().messages(1).overflow(Overflow::Disconnect(StatusCode::TRY_AGAIN_LATER));
        let posting: Vec<_> = (0..2)
            .map(|n| {
                let (mailbox, outbox) = (Arc::clone(&mailbox), outbox.clone());
                thread::spawn(move || {
                    let (posted, waker) = post(&mailbox, n, &outbox);
                    wake(waker);
                    posted
                })
            })
            .collect();
        let posted: Vec<_> = posting.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(posted.contains(&Posted::Queued { dropped: 0, crowded: true }));
        assert!(posted.contains(&Posted::Cut { discarded: 1 }));
        let Todo::Close(order) = block_on(poll_fn(|cx| mailbox.poll_todo(cx))) else {
            panic!("nothing to close");
        };
        assert_eq!((order.too_slow, mailbox.shut()), (Some(1), 0));
    });
}

#[test]
fn who_waits_for_room_is_woken() {
    check(|| {
        let mailbox = Arc::new(Box32::new());
        let outbox =
            Outbox::new().messages(1).overflow(Overflow::Block(std::time::Duration::from_secs(1)));
        post(&mailbox, 0, &outbox);
        let waiting: Vec<_> = [1, 2]
            .map(|n| {
                let (mailbox, outbox) = (Arc::clone(&mailbox), outbox.clone());
                thread::spawn(move || {
                    let mut place = Place::default();
                    let (posted, call) =
                        block_on(poll_fn(|cx| mailbox.poll_post(&n, &outbox, &mut place, cx)));
                    mailbox.give_up(&mut place);
                    wake(task(call));
                    posted
                })
            })
            .into();
        // The task takes two, and then it is over; whoever has no room yet is told.
        let mut taken = Vec::new();
        while taken.len() < 2 {
            assert_eq!(block_on(poll_fn(|cx| mailbox.poll_todo(cx))), Todo::Write);
            taken.extend(mailbox.take(0).items);
            mailbox.take_waiting().into_iter().for_each(Waker::wake);
        }
        assert_eq!(taken[0], 0);
        let left = mailbox.discard();
        let posted: Vec<_> = waiting.into_iter().map(|it| it.join().unwrap()).collect();
        let queued = posted.iter().filter(|it| matches!(it, Posted::Queued { .. })).count();
        assert_eq!(queued, 1 + left, "{posted:?}");
    });
}

#[test]
fn a_bell_that_rings_is_heard_however_it_comes_in_between() {
    check(|| {
        let bell = Bell::new();
        let rung = Arc::new(AtomicUsize::new(0));
        let ringing: Vec<_> = (0..2)
            .map(|_| {
                let (bell, rung) = (Waker::from(Arc::clone(&bell)), Arc::clone(&rung));
                thread::spawn(move || {
                    rung.fetch_add(1, Ordering::SeqCst);
                    bell.wake();
                })
            })
            .collect();
        // Whoever looks only when it rings sees both.
        block_on(poll_fn(|cx| {
            bell.listen(cx);
            if bell.has_rung() && rung.load(Ordering::SeqCst) == 2 {
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        ringing.into_iter().for_each(|it| it.join().unwrap());
    });
}

struct Owner(Name);

fn owner(id: &str) -> Arc<Owner> {
    Arc::new(Owner(Name::new(Arc::from(id))))
}

#[test]
fn who_is_renamed_is_found_all_the_while_and_two_never_have_one_id() {
    check(|| {
        let directory = Arc::new(Directory::new(4));
        let (one, two) = (owner("one"), owner("two"));
        directory.list(&one, &one.0).unwrap();
        directory.list(&two, &two.0).unwrap();
        let renaming: Vec<_> = [&one, &two]
            .map(|owner| {
                let (directory, owner) = (Arc::clone(&directory), Arc::clone(owner));
                thread::spawn(move || directory.rename(&owner, &owner.0, Arc::from("new")))
            })
            .into();
        // Whoever is not found by the old id has the new one by then.
        for (owner, id) in [(&one, "one"), (&two, "two")] {
            let found = directory.find(id).or_else(|| directory.find("new")).unwrap();
            assert!(Arc::ptr_eq(&found, owner));
        }
        let renamed: Vec<_> = renaming.into_iter().map(|it| it.join().unwrap()).collect();
        assert_eq!(renamed.iter().filter(|it| it.is_ok()).count(), 1);
        assert!(renamed.contains(&Err(Unnamed::Taken)));
        let new = directory.find("new").unwrap();
        assert_eq!(&*new.0.get(), "new");
        let left = if renamed[0].is_ok() { "two" } else { "one" };
        assert!(directory.find(left).is_some());
    });
}

#[test]
fn who_is_renamed_while_it_leaves_leaves_nothing_behind() {
    check(|| {
        let directory = Arc::new(Directory::new(4));
        let one = owner("one");
        directory.list(&one, &one.0).unwrap();
        let renaming = thread::spawn({
            let (directory, one) = (Arc::clone(&directory), Arc::clone(&one));
            move || directory.rename(&one, &one.0, Arc::from("new"))
        });
        assert!(directory.unlist(&one.0) && !directory.unlist(&one.0));
        let renamed = renaming.join().unwrap();
        assert!(matches!(renamed, Ok(()) | Err(Unnamed::Gone)));
        assert!(directory.find("one").is_none() && directory.find("new").is_none());
        assert_eq!(Arc::strong_count(&one), 1);
    });
}

#[test]
fn a_room_ends_with_its_last_and_loses_nobody_who_comes_meanwhile() {
    check(|| {
        let rooms = Arc::new(Rooms::new(4));
        let entering: Vec<_> = (0..3_u32)
            .map(|n| {
                let rooms = Arc::clone(&rooms);
                thread::spawn(move || {
                    let place = rooms.enter("room", &n);
                    let found = rooms.find("room").unwrap().members();
                    assert_eq!(found.iter().filter(|it| **it == n).count(), 1, "{found:?}");
                    rooms.leave(&place, &n);
                })
            })
            .collect();
        entering.into_iter().for_each(|it| it.join().unwrap());
        assert!(rooms.find("room").is_none());
        assert_eq!(rooms.len(), 0);
    });
}

#[test]
fn who_stays_is_met_once_however_many_come_and_go() {
    check(|| {
        let rooms = Arc::new(Rooms::new(1));
        let staying: Vec<_> = (0..3_u32).collect();
        let _places: Vec<_> = staying.iter().map(|it| rooms.enter("room", it)).collect();
        let moving: Vec<_> = (10..12_u32)
            .map(|n| {
                let rooms = Arc::clone(&rooms);
                thread::spawn(move || {
                    let place = rooms.enter("room", &n);
                    rooms.leave(&place, &n);
                })
            })
            .collect();
        let room = rooms.find("room").unwrap();
        let mut met = Vec::new();
        room.in_order(|| room.each_segment(|members| met.extend_from_slice(members)));
        met.sort_unstable();
        let all = met.len();
        met.dedup();
        assert!(met.len() == all && met.starts_with(&[0, 1, 2]), "{met:?}");
        moving.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(room.len(), 3);
    });
}
