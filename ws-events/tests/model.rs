//! Do wake-ups, ids and rooms hold in every order of threads?
//!
//! The structures below the hub, with locks under which `shuttle` chooses who runs next:
//! two thousand orders for each test. One that is waited in for ever is a failure.
#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "parts of the hub, each looked at by itself")]

#[path = "../src/directory.rs"]
mod directory;
#[path = "../src/mailbox.rs"]
mod mailbox;
#[path = "../src/outbox.rs"]
mod outbox;
#[path = "../src/rooms.rs"]
mod rooms;
#[path = "../src/shards.rs"]
mod shards;

/// The locks of the hub, as shuttle knows them.
mod sync {
    use shuttle::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    pub(crate) use std::sync::Arc;

    pub(crate) use shuttle::sync::atomic::{AtomicUsize, Ordering};

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

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Waker;

use shuttle::future::block_on;
use shuttle::thread;
use ws_core::StatusCode;

use directory::{Directory, Name, Unnamed};
use mailbox::{Mailbox, Order, Posted, Todo, Weigh};
use outbox::{Outbox, Overflow};
use rooms::Rooms;

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
                        let (posted, waker) = mailbox.post(sender * 10 + n, &Outbox::new(), false);
                        assert_eq!(posted, Posted::Queued { dropped: 0 });
                        wake(waker);
                        wake(mailbox.tell(sender * 10 + n).unwrap());
                    }
                })
            })
            .collect();
        let (mut written, mut handled) = (Vec::new(), Vec::new());
        block_on(poll_fn(|cx| {
            while let std::task::Poll::Ready(event) = mailbox.poll_event(cx) {
                handled.push(event);
            }
            while mailbox.poll_todo(cx).is_ready() {
                written.extend(mailbox.next());
            }
            if written.len() == 4 && handled.len() == 4 {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
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
            move || wake(mailbox.post(1, &Outbox::new(), false).1)
        });
        // The transport has taken the batch.
        mailbox.set_behind(false);
        assert_eq!(block_on(poll_fn(|cx| mailbox.poll_todo(cx))), Todo::Write);
        posting.join().unwrap();
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
                    match mailbox.post(n, &Outbox::new(), false) {
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
            written += usize::from(mailbox.next().is_some());
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
                    let (posted, waker) = mailbox.post(n, &outbox, false);
                    wake(waker);
                    posted
                })
            })
            .collect();
        let posted: Vec<_> = posting.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(posted.contains(&Posted::Queued { dropped: 0 }));
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
        mailbox.post(0, &outbox, false);
        let taking = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.next()
        });
        block_on(poll_fn(|cx| mailbox.poll_room(&outbox, 1, cx)));
        assert_eq!(taking.join().unwrap(), Some(0));
        // And so it is by the end.
        mailbox.post(0, &outbox, false);
        let ending = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.discard()
        });
        block_on(poll_fn(|cx| mailbox.poll_room(&outbox, 1, cx)));
        assert_eq!(ending.join().unwrap(), 1);
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
                    let member = Arc::new(n);
                    let place = rooms.enter("room", &member);
                    let found = rooms.find("room").unwrap().members();
                    assert_eq!(found.iter().filter(|it| ***it == n).count(), 1, "{found:?}");
                    rooms.leave(&place, &member);
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
        let staying: Vec<_> = (0..3_u32).map(Arc::new).collect();
        let _places: Vec<_> = staying.iter().map(|it| rooms.enter("room", it)).collect();
        let moving: Vec<_> = (10..12_u32)
            .map(|n| {
                let rooms = Arc::clone(&rooms);
                thread::spawn(move || {
                    let member = Arc::new(n);
                    let place = rooms.enter("room", &member);
                    rooms.leave(&place, &member);
                })
            })
            .collect();
        let room = rooms.find("room").unwrap();
        let mut met = Vec::new();
        room.in_order(|| room.each_segment(|members| met.extend(members.iter().map(|it| **it))));
        met.sort_unstable();
        let all = met.len();
        met.dedup();
        assert!(met.len() == all && met.starts_with(&[0, 1, 2]), "{met:?}");
        moving.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(room.len(), 3);
    });
}
