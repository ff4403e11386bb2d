//! Who is meant, and what is done to them?

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use ws_core::proto::CloseFrame;
use ws_core::{Message, PreparedMessage, SendError, StatusCode};

use crate::broker::{Head, Whom};
use crate::event::News;
use crate::hub::Hub;
use crate::mail::Order;
use crate::member::{Member, Seat};
use crate::posting::{Delivery, Posting};
use crate::rooms::Room;
use crate::{EncodeError, Event, Socket};

/// So many members are looked at before the first of them is visited: they are far apart in
/// memory, and the processor fetches several at once, but one lock after the other.
const AT_ONCE: usize = 8;

/// Some sockets of a hub: everyone, or those in some rooms, but for some.
///
/// Made by [`Hub::to`], [`Socket::to`] and their like. Who that is, is found out when
/// something is done to them; nobody is met twice, in however many of the rooms they are.
///
/// Nothing here waits for anybody: a message is encoded once, and put into the outbox of
/// each. Who sends to a room twice is heard in this order by all, and all in a room hear
/// several senders in one order.
///
/// ```
/// # fn example(hub: &ws_events::Hub) -> Result<(), ws_events::EncodeError> {
/// hub.to("red").to("blue").except("u1").volatile().emit("position", &[1, 2])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is done yet"]
pub struct Target {
    hub: Hub,
    whom: Whom,
    except: Vec<Arc<Member>>,
    except_ids: Vec<Arc<str>>,
    except_rooms: Vec<Arc<str>>,
    volatile: bool,
}

impl Target {
    pub(crate) fn everyone(hub: Hub) -> Self {
        Self::new(hub, Whom::Everyone)
    }

    pub(crate) fn room(hub: Hub, room: &str) -> Self {
        Self::new(hub, Whom::These { rooms: vec![Arc::from(room)], ids: Vec::new() })
    }

    pub(crate) fn ids(hub: Hub, ids: Vec<Arc<str>>) -> Self {
        Self::new(hub, Whom::These { rooms: Vec::new(), ids })
    }

    const fn new(hub: Hub, whom: Whom) -> Self {
        Self {
            hub,
            whom,
            except: Vec::new(),
            except_ids: Vec::new(),
            except_rooms: Vec::new(),
            volatile: false,
        }
    }

    /// Those that another hub means.
    pub(crate) fn of_head(hub: Hub, head: Head) -> Self {
        let Head { whom, except_ids, except_rooms, volatile, .. } = head;
        Self { hub, whom, except: Vec::new(), except_ids, except_rooms, volatile }
    }

    /// Those that are meant, for other hubs.
    fn head(&self) -> Head {
        let excepted = self.except.iter().map(|member| member.name.get());
        Head {
            origin: self.hub.0.origin,
            whom: self.whom.clone(),
            except_ids: excepted.chain(self.except_ids.iter().cloned()).collect(),
            except_rooms: self.except_rooms.clone(),
            volatile: self.volatile,
        }
    }

    /// Those in this room, too. Everyone stays everyone.
    pub fn to(mut self, room: impl AsRef<str>) -> Self {
        if let Whom::These { rooms, .. } = &mut self.whom {
            rooms.push(Arc::from(room.as_ref()));
        }
        self
    }

    /// But not the socket with this id.
    pub fn except(mut self, id: impl AsRef<str>) -> Self {
        self.except_ids.push(Arc::from(id.as_ref()));
        self
    }

    /// But not those in this room.
    pub fn except_room(mut self, room: impl AsRef<str>) -> Self {
        self.except_rooms.push(Arc::from(room.as_ref()));
        self
    }

    pub(crate) fn except_member(mut self, member: &Arc<Member>) -> Self {
        self.except.push(Arc::clone(member));
        self
    }

    /// Only to those who keep up: for what is out of date soon, such as positions. Who has
    /// not yet taken all that was sent before, as far as the transport tells, or whose outbox
    /// is full, does not get it.
    ///
    /// So what a slow peer misses is the newest, and it gets the next that is sent once it has
    /// caught up. Where nothing may follow for long, send the last state without this.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use ws_events::{EncodeError, Hub};
    /// // A task of its own: `tokio::spawn(tick(hub.clone()))`.
    /// async fn tick(hub: Hub) -> Result<(), EncodeError> {
    ///     let mut ticks = tokio::time::interval(Duration::from_millis(100));
    ///     for tick in 0_u64.. {
    ///         ticks.tick().await;
    ///         hub.to("watching").volatile().emit("tick", &tick)?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Sends an event, whose data is made into JSON.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded: see [`EncodeError`]. Nothing is sent then.
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        let message = self.hub.0.encode(event.as_ref(), data)?;
        Ok(self.send_prepared(&PreparedMessage::new(message)))
    }

    /// Sends a message as it is.
    pub fn send(&self, message: impl Into<Message>) -> Delivery {
        self.send_prepared(&PreparedMessage::new(message))
    }

    /// As [`send`](Self::send), of a message that is prepared already: for one that is
    /// sent again and again.
    pub fn send_prepared(&self, message: &PreparedMessage) -> Delivery {
        let delivery = self.deliver(message);
        let broker = &self.hub.0.broker;
        if broker.reaches_others()
            && let Err(error) = broker.publish(self.head().seal(message.message()))
        {
            tracing::warn!(%error, "a message reaches the sockets of this process alone");
        }
        delivery
    }

    /// Sends to the sockets of this process.
    pub(crate) fn deliver(&self, message: &PreparedMessage) -> Delivery {
        let mut posting = Posting::to_many(message, &self.hub.0.outbox, self.volatile);
        self.each_ahead(
            |seat| seat.mailbox.look(),
            |seat| _ = posting.to(&seat.mailbox, &seat.member),
        );
        posting.done(&self.hub.0)
    }

    /// Has the handlers of an event called, here on the server, for each of them. Nothing
    /// goes over the wire. Says for how many they will be: see [`Socket::fire`].
    ///
    /// It happens in the task of each socket, after what that has to handle already.
    pub fn fire(&self, event: impl Into<Event>, data: impl Into<Message>) -> usize {
        let (event, data) = (event.into(), data.into());
        let told = |member: &Arc<Member>| member.tell(event.clone(), News::Data(data.clone()));
        self.members().iter().filter(|member| told(member)).count()
    }

    /// Lets all of them enter a room. Says how many they were.
    pub fn join(&self, room: impl AsRef<str>) -> usize {
        let joined = |member: &Arc<Member>| Socket::of(member).join(room.as_ref()).is_ok();
        self.members().iter().filter(|member| joined(member)).count()
    }

    /// Lets all of them leave a room. Says how many were in it.
    pub fn leave(&self, room: impl AsRef<str>) -> usize {
        let left = |member: &Arc<Member>| Socket::of(member).leave(room.as_ref());
        self.members().iter().filter(|member| left(member)).count()
    }

    /// Closes all of them. Says how many they were.
    ///
    /// # Errors
    ///
    /// When the code or the reason may not be sent. Nobody is closed then.
    pub fn close(&self, code: StatusCode, reason: &str) -> Result<usize, SendError> {
        CloseFrame::new(code, reason)?;
        let order = Order { code, reason: reason.to_owned(), too_slow: None };
        let closed = |member: &Arc<Member>| Socket::of(member).order(order.clone());
        Ok(self.members().iter().filter(|member| closed(member)).count())
    }

    /// The sockets as they are now, in no order.
    pub fn sockets(&self) -> Vec<Socket> {
        self.members().iter().map(Socket::of).collect()
    }

    /// How many they are now.
    pub fn count(&self) -> usize {
        match &self.whom {
            Whom::Everyone if self.is_plain() => self.hub.0.everyone.len(),
            Whom::These { rooms, ids } if rooms.len() == 1 && ids.is_empty() && self.is_plain() => {
                let room = rooms.first().and_then(|name| self.hub.0.rooms.find(name));
                room.map_or(0, |room| room.len())
            }
            Whom::Everyone | Whom::These { .. } => {
                let mut count = 0;
                self.each(|_| count += 1);
                count
            }
        }
    }

    fn is_plain(&self) -> bool {
        self.except.is_empty() && self.except_ids.is_empty() && self.except_rooms.is_empty()
    }

    /// All of them.
    fn members(&self) -> Vec<Arc<Member>> {
        let mut members = Vec::new();
        self.each(|seat| members.push(Arc::clone(&seat.member)));
        members
    }

    /// Gives each of them to `visit`, while nobody else sends to the same rooms.
    fn each(&self, visit: impl FnMut(&Seat)) {
        self.each_ahead(|_| {}, visit);
    }

    /// The same, and gives them to `ahead` a little earlier.
    fn each_ahead(&self, ahead: impl Fn(&Seat), mut visit: impl FnMut(&Seat)) {
        let out = self.left_out();
        let mut visit = |seat: &Seat| {
            if out.is_empty() || out.binary_search(&Arc::as_ptr(&seat.member)).is_err() {
                visit(seat);
            }
        };
        match &self.whom {
            Whom::Everyone => each_of(&self.hub.0.everyone, ahead, visit),
            Whom::These { rooms, ids } => match (rooms.as_slice(), ids.as_slice()) {
                ([name], []) => {
                    if let Some(room) = self.hub.0.rooms.find(name) {
                        each_of(&room, ahead, visit);
                    }
                }
                (rooms, ids) => {
                    let found = |name: &Arc<str>| self.hub.0.rooms.find(name);
                    let mut rooms: Vec<_> = rooms.iter().filter_map(found).collect();
                    // In one order, so that two that do the same do not wait for each other.
                    unite(&mut rooms, Arc::as_ptr);
                    Room::in_order_all(&rooms, || {
                        let find = |id: &Arc<str>| self.hub.0.directory.find(id);
                        let named = ids.iter().filter_map(find).map(|member| Seat::of(&member));
                        let inside = rooms.iter().flat_map(|room| room.members());
                        let mut seats: Vec<_> = inside.chain(named).collect();
                        unite(&mut seats, |seat| Arc::as_ptr(&seat.member));
                        seats.iter().for_each(&mut visit);
                    });
                }
            },
        }
    }

    /// Those that are not meant, in order.
    fn left_out(&self) -> Vec<*const Member> {
        let mut out: Vec<_> = self.except.iter().map(Arc::as_ptr).collect();
        let named = |id: &Arc<str>| self.hub.0.directory.find(id);
        out.extend(self.except_ids.iter().filter_map(named).map(|member| Arc::as_ptr(&member)));
        for room in self.except_rooms.iter().filter_map(|name| self.hub.0.rooms.find(name)) {
            room.each_segment(|seats| {
                out.extend(seats.iter().map(|seat| Arc::as_ptr(&seat.member)))
            });
        }
        out.sort_unstable();
        out
    }
}

fn each_of(room: &Room<Seat>, ahead: impl Fn(&Seat), mut visit: impl FnMut(&Seat)) {
    room.in_order(|| {
        room.each_segment(|seats| {
            for some in seats.chunks(AT_ONCE) {
                some.iter().for_each(&ahead);
                some.iter().for_each(&mut visit);
            }
        });
    });
}

/// Sorts, and drops what is there twice.
fn unite<T, K: Ord>(all: &mut Vec<T>, key: impl Fn(&T) -> K) {
    all.sort_unstable_by_key(&key);
    all.dedup_by(|one, other| key(one) == key(other));
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match &self.whom {
            Whom::Everyone => "everyone".to_owned(),
            Whom::These { rooms, ids } => format!("rooms {rooms:?}, ids {ids:?}"),
        };
        f.debug_struct("Target")
            .field("whom", &whom)
            .field("volatile", &self.volatile)
            .finish_non_exhaustive()
    }
}
