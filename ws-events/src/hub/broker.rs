//! How do broadcasts reach the sockets of other processes?
//!
//! A [`Broker`] carries packets from one hub to the others, and does not read them. A packet is
//! an encoded broadcast: a [`BroadcastHeader`] with its recipients, and a message or an event,
//! which each hub encodes for its sockets. A packet from a broker is delivered to the sockets of this process, and never published again.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use ws_core::{Message, MessageType, PreparedMessage};

use crate::events::data::{DataParts, EventData};
use crate::events::protocol::{Content, OutgoingEvent};

/// Carries packets between the hubs of several processes.
pub(crate) trait Broker: Send + Sync {
    /// Whether there are other hubs. If not, nothing is published.
    fn reaches_other_hubs(&self) -> bool;

    /// Starts to pass the packets of other hubs to `sink`. It does not wait for a network.
    fn start(&self, sink: Arc<dyn BrokerSink>);

    /// Publishes a packet, and does not wait for a network: it is queued or refused. It may
    /// also be passed back to the hub that published it.
    fn publish(&self, packet: Bytes) -> Result<(), BrokerError>;
}

/// Where a broker puts the packets of other hubs.
pub(crate) trait BrokerSink: Send + Sync {
    /// Delivers a packet to the sockets of this process. It never waits.
    #[cfg_attr(not(test), expect(dead_code, reason = "the only broker has no other hubs"))]
    fn deliver(&self, packet: Bytes);
}

/// Why a broker did not take a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(not(test), expect(dead_code, reason = "the only broker never fails"))]
pub(crate) enum BrokerError {
    /// The broker cannot be reached now.
    #[error("the broker cannot be reached")]
    Down,
}

/// The broker of a single hub: there are no other hubs.
pub(crate) struct InProcess;

impl Broker for InProcess {
    fn reaches_other_hubs(&self) -> bool {
        false
    }

    fn start(&self, _: Arc<dyn BrokerSink>) {}

    fn publish(&self, _: Bytes) -> Result<(), BrokerError> {
        Ok(())
    }
}

/// The header of a packet: the recipients of the message that follows it.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct BroadcastHeader {
    /// The hub that sent it. It ignores its own packets, since it has delivered the message.
    pub(crate) origin: u64,
    pub(crate) recipients: Recipients,
    pub(crate) except_ids: Vec<Arc<str>>,
    pub(crate) except_rooms: Vec<Arc<str>>,
    pub(crate) volatile: bool,
}

/// The recipients of a broadcast, without its exceptions.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Recipients {
    Everyone,
    /// The members of these rooms, and the sockets with these ids.
    Union {
        rooms: Vec<Arc<str>>,
        ids: Vec<Arc<str>>,
    },
}

/// What a packet carries.
#[derive(Debug)]
pub(crate) enum PacketContent {
    Message(PreparedMessage),
    Event { name: String, data: EventData },
}

/// The parts of an event, behind the header of its packet.
#[derive(Serialize, Deserialize)]
struct EventParts {
    name: String,
    data: DataParts,
}

/// The first byte of each packet. An incompatible change of the format increments it.
const VERSION: u8 = 2;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const EVENT: u8 = 3;

impl BroadcastHeader {
    /// Makes a packet.
    pub(crate) fn encode(&self, content: Content<'_>) -> Bytes {
        match content {
            Content::Message(message, _) => {
                let message = message.message();
                let kind = if message.is_text() { TEXT } else { BINARY };
                write_packet(kind, self, message.as_bytes())
            }
            Content::Event(OutgoingEvent { name, data, .. }) => {
                let (payload, data) = data.to_parts();
                let parts = EventParts { name: (*name).to_owned(), data };
                write_packet(EVENT, &(self, parts), &payload)
            }
        }
    }

    /// Reads a packet; `None` if its format is unknown.
    pub(crate) fn decode(packet: &Bytes) -> Option<(Self, PacketContent)> {
        let (&[version, kind], rest) = packet.split_first_chunk::<2>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (header, payload) = rest.split_at_checked(len)?;
        let payload = packet.slice_ref(payload);
        let message = match (version, kind) {
            (VERSION, TEXT) => Message::text_from_bytes(payload).ok()?,
            (VERSION, BINARY) => Message::binary(payload),
            (VERSION, EVENT) => {
                let (header, EventParts { name, data }) = serde_json::from_slice(header).ok()?;
                let data = EventData::from_parts(payload, &data)?;
                return Some((header, PacketContent::Event { name, data }));
            }
            _ => return None,
        };
        debug_assert_eq!(message.kind() == MessageType::Text, kind == TEXT);
        let header = serde_json::from_slice(header).ok()?;
        Some((header, PacketContent::Message(PreparedMessage::new(message))))
    }
}

fn write_packet(kind: u8, header: &impl Serialize, payload: &[u8]) -> Bytes {
    // Cannot fail: it has only strings, numbers and booleans.
    let header = serde_json::to_vec(header).unwrap_or_default();
    let mut packet = BytesMut::with_capacity(header.len() + payload.len() + 6);
    packet.put_u8(VERSION);
    packet.put_u8(kind);
    packet.put_u32(u32::try_from(header.len()).unwrap_or(u32::MAX));
    packet.extend_from_slice(&header);
    packet.extend_from_slice(payload);
    packet.freeze()
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use ws_core::{Conn, pair};

    use super::*;
    use crate::{Hub, Socket};

    /// Connects hubs in one process, while it is not `down`.
    #[derive(Default)]
    struct TestBus {
        sinks: Mutex<Vec<Arc<dyn BrokerSink>>>,
        published: Mutex<usize>,
        down: Mutex<bool>,
    }

    struct TestBroker(Arc<TestBus>);

    impl Broker for TestBroker {
        fn reaches_other_hubs(&self) -> bool {
            true
        }

        fn start(&self, sink: Arc<dyn BrokerSink>) {
            self.0.sinks.lock().push(sink);
        }

        fn publish(&self, packet: Bytes) -> Result<(), BrokerError> {
            if *self.0.down.lock() {
                return Err(BrokerError::Down);
            }
            *self.0.published.lock() += 1;
            // Also to the hub that published it, as brokers do.
            self.0.sinks.lock().iter().for_each(|sink| sink.deliver(packet.clone()));
            Ok(())
        }
    }

    /// Hubs on one bus, each with a socket in a room.
    async fn connect(count: usize) -> (Arc<TestBus>, Vec<(Hub, Socket, Conn)>) {
        let bus = Arc::new(TestBus::default());
        let mut hubs = Vec::new();
        for end in 0..count {
            let broker = Box::new(TestBroker(Arc::clone(&bus)));
            let hub = Hub::builder().envelope().build_with(broker);
            let (client, server) = pair();
            tokio::spawn(hub.handler()(server));
            while hub.is_empty() {
                tokio::task::yield_now().await;
            }
            let socket = hub.everyone().sockets().remove(0);
            socket.set_id(format!("id{end}")).unwrap();
            socket.join("room").unwrap();
            hubs.push((hub, socket, client));
        }
        (bus, hubs)
    }

    async fn read(client: &Conn) -> String {
        client.read().await.unwrap().as_text().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_broadcast_of_one_hub_is_delivered_once_in_the_others() {
        let (bus, hubs) = connect(3).await;
        let (hub, socket, _) = &hubs[0];
        hub.send("everyone");
        hub.to("room").to("other").send("room");
        hub.to("room").except("id1").except_room("other").send("but one");
        socket.to("room").emit("event", "others").unwrap();
        hub.to("nowhere").send("nobody");
        hub.ids(["id0", "id2"]).send("ids");
        hub.send("end");
        assert_eq!(*bus.published.lock(), 7);
        let event = r#"{"event":"event","data":"others"}"#;
        let expected: [&[&str]; 3] = [
            &["everyone", "room", "but one", "ids", "end"],
            &["everyone", "room", event, "end"],
            &["everyone", "room", "but one", event, "ids", "end"],
        ];
        for ((_, _, client), expected) in hubs.iter().zip(expected) {
            for expected in expected {
                assert_eq!(read(client).await, *expected);
            }
        }
    }

    #[tokio::test]
    async fn a_broker_that_is_down_does_not_stop_local_delivery() {
        let (bus, hubs) = connect(2).await;
        *bus.down.lock() = true;
        let (hub, _, client) = &hubs[0];
        assert_eq!(hub.send("here").queued, 1);
        assert_eq!(read(client).await, "here");
        *bus.down.lock() = false;
        hub.send("again");
        assert_eq!(read(&hubs[1].2).await, "again");
    }

    #[tokio::test]
    async fn a_packet_that_cannot_be_read_is_ignored() {
        let (bus, hubs) = connect(1).await;
        let (hub, _, client) = &hubs[0];
        bus.sinks.lock()[0].deliver(Bytes::from_static(b"\x01"));
        hub.send("next");
        assert_eq!(read(client).await, "next");
    }

    /// The content of a packet, as its name and its bytes.
    fn content(packet: &Bytes) -> Option<(BroadcastHeader, String)> {
        let (header, content) = BroadcastHeader::decode(packet)?;
        Some((header, format!("{content:?}")))
    }

    #[test]
    fn a_packet_is_read_as_it_was_written_and_an_unknown_one_is_ignored() {
        let rooms = || vec![Arc::from("a"), Arc::from("b")];
        let header = || BroadcastHeader {
            origin: u64::MAX,
            recipients: Recipients::Union { rooms: rooms(), ids: vec![] },
            except_ids: vec![],
            except_rooms: rooms(),
            volatile: true,
        };
        let check = |packet: Bytes, expected: PacketContent| {
            assert_eq!(content(&packet), Some((header(), format!("{expected:?}"))));
            // The header is longer than 20 bytes. A cut payload would still be valid.
            for len in 0..packet.len().min(20) {
                assert_eq!(content(&packet.slice(..len)), None);
            }
        };
        for message in [Message::from("text"), Message::binary(vec![0, 255]), Message::from("")] {
            let message = PreparedMessage::new(message);
            let packet = header().encode(Content::Message(&message, "/"));
            check(packet, PacketContent::Message(message));
        }
        let event = OutgoingEvent::new("/", "ü", &("a", Bytes::from_static(b"\xFF"))).unwrap();
        let packet = header().encode(Content::Event(&event));
        let OutgoingEvent { data, .. } = event;
        check(packet.clone(), PacketContent::Event { name: "ü".to_owned(), data });
        assert_eq!(content(&packet.slice(..packet.len() - 1)), None);
        let packet = header().encode(Content::Message(&PreparedMessage::new("a"), "/"));
        for (version, kind) in [(VERSION + 1, TEXT), (VERSION, EVENT + 1), (VERSION, EVENT)] {
            let unknown = [&[version, kind], &packet[2..]].concat().into();
            assert_eq!(content(&unknown), None);
        }
        assert_eq!(content(&Bytes::from_static(b"\x03\x01\0\0\0\0")), None);
        assert_eq!(content(&Bytes::from_static(b"\x02\x01\xFF\xFF\xFF\xFFabc")), None);
    }
}
