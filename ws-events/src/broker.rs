//! How do hubs in several processes reach each other's sockets?
//!
//! A [`Broker`] carries envelopes, which it does not look into, from one hub to the others.
//! What stands in them, and what is done with it, is here, once for all brokers: so far
//! that is messages for everyone and for rooms. What comes from a broker is delivered to
//! the sockets of this process, and nothing on that way can publish it again.

use std::sync::{Arc, Weak};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use ws_core::{Message, MessageType, PreparedMessage};

use crate::hub::{Hub, Inner};
use crate::target::Target;

/// Carries envelopes between the hubs of several processes.
pub(crate) trait Broker: Send + Sync {
    /// Is there anybody else? If not, nothing is published.
    fn reaches_others(&self) -> bool;

    /// Begins: gives to `sink` what other hubs publish from now on. It does not wait for a
    /// network either.
    fn start(&self, sink: Arc<dyn Sink>);

    /// Hands an envelope over, without waiting for a network: it is queued, or refused at
    /// once. It may come back to the hub that published it.
    fn publish(&self, envelope: Bytes) -> Result<(), BrokerError>;
}

/// Where a broker puts what others have published.
pub(crate) trait Sink: Send + Sync {
    /// Delivers an envelope to the sockets here. It never waits.
    #[cfg_attr(not(test), expect(dead_code, reason = "a hub that is alone hears of nobody"))]
    fn deliver(&self, envelope: Bytes);
}

/// Why a broker did not take an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(not(test), expect(dead_code, reason = "a hub that is alone has nobody to lose"))]
pub(crate) enum BrokerError {
    /// It cannot be reached now.
    #[error("the broker cannot be reached")]
    Down,
}

/// One hub in one process: there is nobody else.
pub(crate) struct InProcess;

impl Broker for InProcess {
    fn reaches_others(&self) -> bool {
        false
    }

    fn start(&self, _: Arc<dyn Sink>) {}

    fn publish(&self, _: Bytes) -> Result<(), BrokerError> {
        Ok(())
    }
}

/// Whom a message is for, as other hubs are told: the head of an envelope, which the
/// payload follows.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Head {
    /// The hub that sends it, which has delivered it already: a broker may bring it back.
    pub(crate) origin: u64,
    pub(crate) whom: Whom,
    pub(crate) except_ids: Vec<Arc<str>>,
    pub(crate) except_rooms: Vec<Arc<str>>,
    pub(crate) volatile: bool,
}

/// Who is meant, but for those that are excepted.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Whom {
    Everyone,
    /// Those in these rooms, and those with these ids.
    These {
        rooms: Vec<Arc<str>>,
        ids: Vec<Arc<str>>,
    },
}

/// The first byte of every envelope: a change that others cannot read changes it.
const VERSION: u8 = 1;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

impl Head {
    /// The envelope around a message.
    pub(crate) fn seal(&self, message: &Message) -> Bytes {
        // Strings and numbers are always JSON.
        let head = serde_json::to_vec(self).unwrap_or_default();
        let mut envelope = BytesMut::with_capacity(head.len() + message.len() + 6);
        envelope.put_u8(VERSION);
        envelope.put_u8(if message.is_text() { TEXT } else { BINARY });
        envelope.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
        envelope.extend_from_slice(&head);
        envelope.extend_from_slice(message.as_bytes());
        envelope.freeze()
    }

    /// What is in an envelope; `None` if it is none of ours.
    fn open(envelope: &Bytes) -> Option<(Self, Message)> {
        let (&[version, kind], rest) = envelope.split_first_chunk::<2>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (head, payload) = rest.split_at_checked(len)?;
        let head = serde_json::from_slice(head).ok()?;
        let payload = envelope.slice_ref(payload);
        let message = match (version, kind) {
            (VERSION, TEXT) => Message::text_from_bytes(payload).ok()?,
            (VERSION, BINARY) => Message::binary(payload),
            _ => return None,
        };
        debug_assert_eq!(message.kind() == MessageType::Text, kind == TEXT);
        Some((head, message))
    }
}

/// The sockets of this process.
pub(crate) struct Here(pub(crate) Weak<Inner>);

impl Sink for Here {
    fn deliver(&self, envelope: Bytes) {
        let Some(hub) = self.0.upgrade() else { return };
        match Head::open(&envelope) {
            Some((head, _)) if head.origin == hub.origin => {}
            Some((head, message)) => {
                Target::of_head(Hub(hub), head).deliver(&PreparedMessage::new(message));
            }
            None => tracing::warn!(len = envelope.len(), "an envelope that cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use ws_core::{Conn, pair};

    use super::*;
    use crate::Socket;

    /// Joins hubs in one process, for tests, until it is cut.
    #[derive(Default)]
    struct Wire {
        sinks: Mutex<Vec<Arc<dyn Sink>>>,
        published: Mutex<usize>,
        down: Mutex<bool>,
    }

    struct End(Arc<Wire>);

    impl Broker for End {
        fn reaches_others(&self) -> bool {
            true
        }

        fn start(&self, sink: Arc<dyn Sink>) {
            self.0.sinks.lock().push(sink);
        }

        fn publish(&self, envelope: Bytes) -> Result<(), BrokerError> {
            if *self.0.down.lock() {
                return Err(BrokerError::Down);
            }
            *self.0.published.lock() += 1;
            // To whoever has published it, too, as brokers do.
            self.0.sinks.lock().iter().for_each(|sink| sink.deliver(envelope.clone()));
            Ok(())
        }
    }

    /// Hubs on one wire, with a socket in a room on each.
    async fn connect(count: usize) -> (Arc<Wire>, Vec<(Hub, Socket, Conn)>) {
        let wire = Arc::new(Wire::default());
        let mut hubs = Vec::new();
        for end in 0..count {
            let hub = Hub::builder().envelope().broker(Box::new(End(Arc::clone(&wire))));
            let (client, server) = pair();
            tokio::spawn(hub.member()(server));
            while hub.is_empty() {
                tokio::task::yield_now().await;
            }
            let socket = hub.everyone().sockets().remove(0);
            socket.set_id(format!("id{end}")).unwrap();
            socket.join("room").unwrap();
            hubs.push((hub, socket, client));
        }
        (wire, hubs)
    }

    async fn read(client: &Conn) -> String {
        client.read().await.unwrap().as_text().unwrap().to_owned()
    }

    #[tokio::test]
    async fn what_is_sent_in_one_hub_is_delivered_once_in_the_others() {
        let (wire, hubs) = connect(3).await;
        let (hub, socket, _) = &hubs[0];
        hub.send("everyone");
        hub.to("room").to("other").send("room");
        hub.to("room").except("id1").except_room("other").send("but one");
        socket.to("room").emit("event", "others").unwrap();
        hub.to("nowhere").send("nobody");
        hub.ids(["id0", "id2"]).send("ids");
        hub.send("end");
        assert_eq!(*wire.published.lock(), 7);
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
    async fn a_broker_that_is_down_stops_nobody_here() {
        let (wire, hubs) = connect(2).await;
        *wire.down.lock() = true;
        let (hub, _, client) = &hubs[0];
        assert_eq!(hub.send("here").queued, 1);
        assert_eq!(read(client).await, "here");
        *wire.down.lock() = false;
        hub.send("again");
        assert_eq!(read(&hubs[1].2).await, "again");
    }

    #[test]
    fn envelopes_are_read_as_they_were_written_and_others_are_left() {
        let rooms = || vec![Arc::from("a"), Arc::from("b")];
        for message in [Message::from("text"), Message::binary(vec![0, 255]), Message::from("")] {
            let head = Head {
                origin: u64::MAX,
                whom: Whom::These { rooms: rooms(), ids: vec![] },
                except_ids: vec![],
                except_rooms: rooms(),
                volatile: true,
            };
            let envelope = head.seal(&message);
            assert_eq!(Head::open(&envelope), Some((head, message)));
            // The end is the payload's, which may be of any length.
            for len in 0..envelope.len().min(20) {
                assert_eq!(Head::open(&envelope.slice(..len)), None);
            }
        }
        assert_eq!(Head::open(&Bytes::from_static(b"\x02\x01\0\0\0\0")), None);
        assert_eq!(Head::open(&Bytes::from_static(b"\x01\x01\xFF\xFF\xFF\xFFabc")), None);
    }
}
