//! Which sockets does a broadcast reach, and what can be done with them?
//!
//! Longer than 400 lines because the calls, and how they find their sockets, are read together.

use std::sync::Arc;

use serde::Serialize;
use ws_core::proto::CloseFrame;
use ws_core::{Message, PreparedMessage, SendError, StatusCode};

use crate::cluster::DeliveryOrder;
use crate::cluster::envelope::{Operation, Question, Target};
use crate::cluster::seam::Cluster;
use crate::delivery::enqueue::Enqueuer;
use crate::delivery::send_queue::{CloseCommand, EnqueueResult, PushOptions};
use crate::delivery::wire_format::Encodings;
use crate::events::protocol::{Content, OutgoingEvent};
use crate::hub::acks::AckCollector;
use crate::hub::bodies::{broadcast_body, event_body};
use crate::hub::membership::RoomEntry;
use crate::hub::socket::{SocketShared, emit_result};
use crate::recovery::offset::SentMessage;
use crate::registry::rooms::MemberList;
use crate::{BroadcastAcks, Delivery, EncodeError, Event, Hub, Socket, Stored};

/// The number of queues that are prefetched together: they are far apart in memory, and the
/// processor loads several at once, but visits them one by one.
const PREFETCH: usize = 8;

/// The recipients of a broadcast, without its exceptions.
#[derive(Clone, Debug)]
pub(crate) enum Recipients {
    Everyone,
    /// The members of these rooms, and the sockets with these ids.
    Union {
        rooms: Vec<Arc<str>>,
        ids: Vec<Arc<str>>,
    },
}

/// Sockets of a hub: all, or those in some rooms or with some ids, minus exceptions.
///
/// Made by [`Hub::to`], [`Socket::to`] and similar calls. The sockets are determined when a
/// message is sent, and each of them gets it once, even if it is in several of the rooms.
///
/// In a [cluster](crate::cluster), they are the sockets of all nodes, unless a call says otherwise or
/// [`local`](Self::local) is set.
///
/// A broadcast never waits. A message is encoded once and put into the send queue of each
/// recipient. All members of a room get its broadcasts in the same order.
///
/// ```
/// # fn example(hub: &ws_events::Hub) -> Result<(), ws_events::EncodeError> {
/// hub.to("red").to("blue").except("u1").volatile().emit("position", &[1, 2])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a broadcast does nothing before a call like `emit` or `send`"]
#[doc(alias("publish", "target", "BroadcastOperator"))]
pub struct Broadcast {
    pub(super) hub: Hub,
    pub(super) recipients: Recipients,
    pub(super) except: Vec<Socket>,
    pub(super) except_ids: Vec<Arc<str>>,
    pub(super) except_rooms: Vec<Arc<str>>,
    pub(super) volatile: bool,
    pub(super) uncompressed: bool,
    /// For this process alone.
    pub(super) is_local: bool,
}

impl Hub {
    /// The sockets of this process that another node means.
    pub(crate) fn remote(&self, target: Target) -> Broadcast {
        let Target { everyone, rooms, ids, except_rooms, except_ids, uncompressed } = target;
        let recipients =
            if everyone { Recipients::Everyone } else { Recipients::Union { rooms, ids } };
        let except = Vec::new();
        let hub = self.clone();
        let (volatile, is_local) = (false, true);
        Broadcast {
            hub,
            recipients,
            except,
            except_ids,
            except_rooms,
            volatile,
            uncompressed,
            is_local,
        }
    }
}

impl Broadcast {
    pub(crate) const fn new(hub: Hub, recipients: Recipients) -> Self {
        Self {
            hub,
            recipients,
            except: Vec::new(),
            except_ids: Vec::new(),
            except_rooms: Vec::new(),
            volatile: false,
            is_local: false,
            uncompressed: false,
        }
    }

    /// Adds the members of a room. [`Hub::everyone`] already includes them.
    pub fn to(mut self, room: impl AsRef<str>) -> Self {
        if let Recipients::Union { rooms, .. } = &mut self.recipients {
            rooms.push(Arc::from(room.as_ref()));
        }
        self
    }

    /// Excludes the socket with this id.
    pub fn except(mut self, id: impl AsRef<str>) -> Self {
        self.except_ids.push(Arc::from(id.as_ref()));
        self
    }

    /// Excludes the members of a room.
    pub fn except_room(mut self, room: impl AsRef<str>) -> Self {
        self.except_rooms.push(Arc::from(room.as_ref()));
        self
    }

    pub(crate) fn except_socket(mut self, socket: &Socket) -> Self {
        self.except.push(socket.clone());
        self
    }

    /// Sends only to peers that keep up: for data that is soon out of date, such as positions. A
    /// peer is skipped if its transport has not taken all earlier messages, or if its send queue is
    /// full.
    ///
    /// A slow peer misses the newest messages, until it has caught up. Send the last message before
    /// a long pause without `volatile`.
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

    /// Restricts everything to the sockets of this process. Without a [cluster](crate::cluster), there
    /// are no others.
    pub const fn local(mut self) -> Self {
        self.is_local = true;
        self
    }

    /// Sends without compression, whatever was negotiated: for data that is compressed already, and
    /// for secrets. A message of [`send`](Self::send) has
    /// [`Message::uncompressed`](crate::Message::uncompressed), too; to the other nodes of a
    /// [cluster](crate::cluster), only this call is passed on.
    #[doc(alias = "compress")]
    pub const fn uncompressed(mut self) -> Self {
        self.uncompressed = true;
        self
    }

    /// Sends an event with data that is serialised as JSON.
    ///
    /// # Errors
    ///
    /// If the event cannot be encoded: see [`EncodeError`]. Nothing is sent then.
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        let event = self.hub.0.event(event.as_ref(), data)?;
        Ok(self.send_content(Content::Event(&event)))
    }

    /// Sends an event that is serialised already.
    pub(crate) fn send_event(&self, event: &OutgoingEvent<'_>) -> Delivery {
        self.send_content(Content::Event(event))
    }

    /// Sends an event that each socket has to acknowledge, as
    /// [`Socket::emit_with_ack`](crate::Socket::emit_with_ack) does. Returns one result for each
    /// socket: first the answers, as they arrive, and after the timeout (10 s by default) an error
    /// for each socket that has not answered.
    ///
    /// The sockets of other nodes of the [cluster](crate::cluster) answer, too:
    /// [`BroadcastAcks::missing`] has the nodes that do not.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(hub: &ws_events::Hub) -> Result<(), ws_events::EncodeError> {
    /// let mut votes = hub.to("red").emit_with_ack("vote", "now")?.timeout(Duration::from_secs(3));
    /// while let Some((id, vote)) = votes.next().await {
    ///     match vote {
    ///         Ok(vote) => println!("{id} votes {}", bool::then_some(vote, "yes").unwrap_or("no")),
    ///         Err(error) => println!("{id}: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the event cannot be encoded. Nothing is sent then.
    pub fn emit_with_ack<R, T: Serialize + ?Sized>(
        &self,
        event: impl AsRef<str>,
        data: &T,
    ) -> Result<BroadcastAcks<R>, EncodeError> {
        let mut event = self.hub.0.event(event.as_ref(), data)?;
        let request = self.cluster().map(|cluster| {
            let question = Question::Acks(self.target(), event_body(&event));
            (cluster, cluster.ask(Arc::from(self.hub.namespace()), question))
        });
        let mut acks = self.collect_acks(&mut event);
        if let Some((cluster, request)) = request {
            acks.add_remote(cluster, request);
        }
        Ok(BroadcastAcks::new(acks))
    }

    /// Sends an event that each socket of this process has to acknowledge.
    pub(crate) fn collect_acks(&self, event: &mut OutgoingEvent<'_>) -> AckCollector {
        let id = self.hub.0.next_ack_id();
        event.ack = Some(id);
        let encode = |format, at| self.compression(event.encode(format, at));
        let mut enqueuer =
            Enqueuer::new(Encodings::each(&encode), &self.hub.0.delivery, self.options());
        let mut acks = AckCollector::new(id);
        self.for_each(|entry| {
            acks.expect(&entry.socket, || match enqueuer.push(&entry.queue, &entry.socket) {
                EnqueueResult::Closed => None,
                result => Some(emit_result(result)),
            });
        });
        enqueuer.finish();
        acks.wake();
        acks
    }

    /// Sends a message.
    #[doc(alias = "publish")]
    pub fn send(&self, message: impl Into<Message>) -> Delivery {
        self.send_prepared(&PreparedMessage::new(message))
    }

    /// Sends a prepared message, which can be sent several times.
    pub fn send_prepared(&self, message: &PreparedMessage) -> Delivery {
        self.send_content(Content::Message(message, self.hub.namespace()))
    }

    fn send_content(&self, content: Content<'_>) -> Delivery {
        match self.cluster() {
            None => self.deliver(content),
            Some(cluster) => self.send_clustered(cluster, content),
        }
    }

    /// Sends to the sockets of all nodes.
    fn send_clustered(&self, cluster: &Cluster, content: Content<'_>) -> Delivery {
        if self.is_ordered_by_store() {
            return self.deliver(content);
        }
        let delivery = match cluster.order() {
            DeliveryOrder::LocalFirst => self.deliver(content),
            // It comes back from the broker.
            DeliveryOrder::BrokerOrdered => Delivery::default(),
        };
        let is_for_others = match cluster.order() {
            DeliveryOrder::LocalFirst => !self.is_of_local_ids(),
            DeliveryOrder::BrokerOrdered => true,
        };
        // A store that has queued it passes it to all nodes.
        if !is_for_others || matches!(delivery.stored, Stored::Queued | Stored::Refused) {
            return delivery;
        }
        let namespace = Arc::from(self.hub.namespace());
        let body = broadcast_body(content);
        let cluster = cluster.broadcast(namespace, self.target(), self.volatile, body);
        if let Some(history) = &self.hub.0.history {
            self.count_published(history);
        }
        Delivery { cluster, ..delivery }
    }

    /// Whether the store of a history orders it in place of the broker.
    fn is_ordered_by_store(&self) -> bool {
        let Some(cluster) = self.cluster() else { return false };
        let (Some(history), Recipients::Union { rooms, ids }) =
            (&self.hub.0.history, &self.recipients)
        else {
            return false;
        };
        let ([room], [], false) = (rooms.as_slice(), ids.as_slice(), self.volatile) else {
            return false;
        };
        cluster.order() == DeliveryOrder::BrokerOrdered && history.is_ordered_by_store(room)
    }

    /// Whether it is for ids alone, all of which this process has.
    fn is_of_local_ids(&self) -> bool {
        let Recipients::Union { rooms, ids } = &self.recipients else { return false };
        rooms.is_empty() && ids.iter().all(|id| self.hub.0.ids.find(id).is_some())
    }

    /// The cluster, unless this is for one process.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.hub.0.cluster.as_ref().filter(|_| !self.is_local)
    }

    pub(crate) const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The recipients, for other nodes.
    pub(crate) fn target(&self) -> Target {
        let (everyone, rooms, ids) = match &self.recipients {
            Recipients::Everyone => (true, Vec::new(), Vec::new()),
            Recipients::Union { rooms, ids } => (false, rooms.clone(), ids.clone()),
        };
        let except_ids = self.all_except_ids();
        let (except_rooms, uncompressed) = (self.except_rooms.clone(), self.uncompressed);
        Target { everyone, rooms, ids, except_rooms, except_ids, uncompressed }
    }

    /// Sends to the sockets of this process.
    pub(crate) fn deliver(&self, content: Content<'_>) -> Delivery {
        match &self.hub.0.history {
            None => self.deliver_plain(content, None),
            Some(history) => self.deliver_with_history(history, content),
        }
    }

    /// Sends what no history has. `sent` is for the logs of recipients.
    pub(super) fn deliver_plain(
        &self,
        content: Content<'_>,
        sent: Option<SentMessage>,
    ) -> Delivery {
        let encode = |format, at| self.compression(content.encode(format, at));
        let mut enqueuer =
            Enqueuer::new(Encodings::each(&encode), &self.hub.0.delivery, self.options());
        enqueuer.set_sent(sent);
        self.for_each_prefetched(
            |entry| entry.queue.prefetch(),
            |entry| _ = enqueuer.push(&entry.queue, &entry.socket),
        );
        enqueuer.finish()
    }

    /// The message with the compression that is set.
    pub(super) fn compression(&self, message: PreparedMessage) -> PreparedMessage {
        if !self.uncompressed {
            return message;
        }
        let rest = message.messages().skip(1).map(|message| message.clone().uncompressed());
        PreparedMessage::sequence(message.message().clone().uncompressed(), rest)
    }

    /// The ids of all excepted sockets.
    pub(super) fn all_except_ids(&self) -> Vec<Arc<str>> {
        let excepted = self.except.iter().map(|socket| socket.id().0);
        excepted.chain(self.except_ids.iter().cloned()).collect()
    }

    pub(super) const fn options(&self) -> PushOptions {
        PushOptions { volatile: self.volatile, batched: true }
    }

    /// Calls the handlers of an event on the server, for each socket of this process. Nothing is sent. Returns
    /// the number of sockets whose handlers will be called: see [`Socket::fire`].
    ///
    /// The handlers are called in the task of each socket, after its earlier events.
    #[doc(alias = "trigger")]
    pub fn fire(&self, event: impl Into<Event>, data: impl Into<Message>) -> usize {
        let (event, data) = (event.into(), data.into());
        self.sockets().iter().filter(|it| it.fire(&event, data.clone())).count()
    }

    /// Adds all these sockets to a room. Returns how many of this process joined.
    #[doc(alias("subscribe", "socketsJoin"))]
    pub fn join(&self, room: impl AsRef<str>) -> usize {
        self.operate_elsewhere(|| Operation::Join(Arc::from(room.as_ref())));
        self.sockets().iter().filter(|socket| socket.join(room.as_ref()).is_ok()).count()
    }

    /// Removes all these sockets from a room. Returns how many of this process left.
    #[doc(alias("unsubscribe", "socketsLeave"))]
    pub fn leave(&self, room: impl AsRef<str>) -> usize {
        self.operate_elsewhere(|| Operation::Leave(Arc::from(room.as_ref())));
        self.sockets().iter().filter(|socket| socket.leave(room.as_ref())).count()
    }

    /// Closes all these sockets. Returns how many of this process were open.
    ///
    /// # Errors
    ///
    /// As [`Socket::close`]. No socket is closed then.
    pub fn close(&self, code: StatusCode, reason: &str) -> Result<usize, SendError> {
        CloseFrame::new(code, reason)?;
        self.operate_elsewhere(|| Operation::Close(code.into(), Arc::from(reason)));
        let command = CloseCommand::new(code, reason);
        Ok(self.sockets().iter().filter(|socket| socket.0.close(command.clone())).count())
    }

    /// The current sockets of this process, in no particular order.
    /// [`fetch_sockets`](Self::fetch_sockets) asks the other nodes, too.
    pub fn sockets(&self) -> Vec<Socket> {
        let mut sockets = Vec::new();
        self.for_each(|entry| sockets.push(Socket(Arc::clone(&entry.socket))));
        sockets
    }

    /// The current number of sockets of this process. [`fetch_count`](Self::fetch_count) asks the
    /// other nodes, too.
    pub fn count(&self) -> usize {
        let hub = &self.hub.0;
        if self.except.is_empty() && self.except_ids.is_empty() && self.except_rooms.is_empty() {
            match &self.recipients {
                Recipients::Everyone => return hub.everyone.len(),
                Recipients::Union { rooms, ids } => {
                    if let ([name], []) = (rooms.as_slice(), ids.as_slice()) {
                        return hub.rooms.find(name).map_or(0, |room| room.len());
                    }
                }
            }
        }
        let mut count = 0;
        self.for_each(|_| count += 1);
        count
    }

    /// Calls `visit` with each socket, under the send locks of the rooms.
    fn for_each(&self, visit: impl FnMut(&RoomEntry)) {
        self.for_each_prefetched(|_| {}, visit);
    }

    /// [`for_each`](Self::for_each) that calls `prefetch` with each socket a little earlier.
    fn for_each_prefetched(
        &self,
        prefetch: impl Fn(&RoomEntry),
        mut visit: impl FnMut(&RoomEntry),
    ) {
        let excepted = self.excepted();
        let mut visit = |entry: &RoomEntry| {
            if excepted.is_empty() || excepted.binary_search(&Arc::as_ptr(&entry.socket)).is_err() {
                visit(entry);
            }
        };
        match &self.recipients {
            Recipients::Everyone => for_each_member(&self.hub.0.everyone, prefetch, visit),
            Recipients::Union { rooms, ids } => match (rooms.as_slice(), ids.as_slice()) {
                ([name], []) => {
                    if let Some(room) = self.hub.0.rooms.find(name) {
                        for_each_member(&room, prefetch, visit);
                    }
                }
                (rooms, ids) => {
                    let find = |name: &Arc<str>| self.hub.0.rooms.find(name);
                    let mut rooms: Vec<_> = rooms.iter().filter_map(find).collect();
                    // Sorted, so that two broadcasts to the same rooms cannot deadlock.
                    sort_unique(&mut rooms, Arc::as_ptr);
                    MemberList::with_send_locks(&rooms, || {
                        let find = |id: &Arc<str>| self.hub.0.ids.find(id);
                        let by_id = ids.iter().filter_map(find);
                        let by_id = by_id.map(|socket| RoomEntry::of(&socket));
                        let by_room = rooms.iter().flat_map(|room| room.members());
                        let mut entries: Vec<_> = by_room.chain(by_id).collect();
                        sort_unique(&mut entries, |entry| Arc::as_ptr(&entry.socket));
                        entries.iter().for_each(&mut visit);
                    });
                }
            },
        }
    }

    /// The excepted sockets, sorted.
    pub(super) fn excepted(&self) -> Vec<*const SocketShared> {
        let mut excepted: Vec<_> =
            self.except.iter().map(|socket| Arc::as_ptr(&socket.0)).collect();
        let find = |id: &Arc<str>| self.hub.0.ids.find(id);
        let by_id = self.except_ids.iter().filter_map(find);
        excepted.extend(by_id.map(|socket| Arc::as_ptr(&socket)));
        for room in self.except_rooms.iter().filter_map(|name| self.hub.0.rooms.find(name)) {
            room.for_each_segment(|entries| {
                excepted.extend(entries.iter().map(|entry| Arc::as_ptr(&entry.socket)))
            });
        }
        excepted.sort_unstable();
        excepted
    }
}

fn for_each_member(
    room: &MemberList<RoomEntry>,
    prefetch: impl Fn(&RoomEntry),
    mut visit: impl FnMut(&RoomEntry),
) {
    room.with_send_lock(|| {
        room.for_each_segment(|entries| {
            for chunk in entries.chunks(PREFETCH) {
                chunk.iter().for_each(&prefetch);
                chunk.iter().for_each(&mut visit);
            }
        });
    });
}

/// Sorts, and removes duplicates.
fn sort_unique<T, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    items.sort_unstable_by_key(&key);
    items.dedup_by(|one, other| key(one) == key(other));
}
