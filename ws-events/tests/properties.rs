//! Does a hub behave like a list of sockets, for random sequences of calls?

use std::collections::BTreeSet;

use crate::support::{read, read_all, wait_until};
use proptest::prelude::*;
use ws_core::{Conn, pair};
use ws_events::{Hub, SetIdError, Socket};

#[derive(Clone, Debug)]
enum Step {
    Enter,
    Join(usize, u8),
    Leave(usize, u8),
    Rename(usize, u8),
    Close(usize),
    Vanish(usize),
    ToRooms { rooms: Vec<u8>, except: Option<usize>, except_room: Option<u8> },
    FromSocket(usize, u8),
    Everyone,
    ToId(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (member, room, id) = (0..8_usize, 0..4_u8, 0..6_u8);
    prop_oneof![
        3 => Just(Step::Enter),
        6 => (member.clone(), room.clone()).prop_map(|(at, room)| Step::Join(at, room)),
        3 => (member.clone(), room.clone()).prop_map(|(at, room)| Step::Leave(at, room)),
        3 => (member.clone(), id.clone()).prop_map(|(at, id)| Step::Rename(at, id)),
        1 => member.clone().prop_map(Step::Close),
        1 => member.clone().prop_map(Step::Vanish),
        4 => (
            proptest::collection::vec(room.clone(), 1..4),
            proptest::option::of(member.clone()),
            proptest::option::of(room.clone()),
        )
            .prop_map(|(rooms, except, except_room)| Step::ToRooms { rooms, except, except_room }),
        2 => (member, room).prop_map(|(at, room)| Step::FromSocket(at, room)),
        1 => Just(Step::Everyone),
        2 => id.prop_map(Step::ToId),
    ]
}

/// The expected state of a socket.
struct Naive {
    socket: Socket,
    client: Conn,
    id: String,
    rooms: BTreeSet<u8>,
    messages: Vec<String>,
}

struct World {
    hub: Hub,
    members: Vec<Naive>,
    sent: usize,
}

impl World {
    async fn enter(&mut self) {
        let (client, server) = pair();
        let before = self.hub.everyone().sockets();
        tokio::spawn(self.hub.handler()(server));
        wait_until(|| self.hub.len() > before.len()).await;
        let now = self.hub.everyone().sockets();
        let socket = now.into_iter().find(|socket| !before.contains(socket)).unwrap();
        let id = socket.id().to_string();
        let (rooms, messages) = (BTreeSet::new(), Vec::new());
        self.members.push(Naive { socket, client, id, rooms, messages });
    }

    async fn gone(&mut self, at: usize) {
        let gone = self.members.remove(at);
        wait_until(|| self.hub.len() == self.members.len()).await;
        wait_until(|| self.hub.socket(&gone.id).is_none()).await;
        assert!(gone.socket.join("x").is_err() && gone.socket.rooms().is_empty());
    }

    fn next(&mut self) -> String {
        self.sent += 1;
        self.sent.to_string()
    }

    /// Notes a message for each member that `meant` selects. Returns how many.
    fn note(&mut self, text: &str, meant: impl Fn(usize, &Naive) -> bool) -> usize {
        let mut count = 0;
        for (at, member) in self.members.iter_mut().enumerate() {
            if meant(at, member) {
                member.messages.push(text.to_owned());
                count += 1;
            }
        }
        count
    }

    async fn take(&mut self, step: Step) {
        let some = |at: usize| (!self.members.is_empty()).then(|| at % self.members.len());
        match step {
            Step::Enter => self.enter().await,
            Step::Join(at, room) => {
                let Some(at) = some(at) else { return };
                self.members[at].socket.join(room.to_string()).unwrap();
                self.members[at].rooms.insert(room);
            }
            Step::Leave(at, room) => {
                let Some(at) = some(at) else { return };
                let left = self.members[at].socket.leave(room.to_string());
                assert_eq!(left, self.members[at].rooms.remove(&room));
            }
            Step::Rename(at, id) => {
                let Some(at) = some(at) else { return };
                let id = format!("id{id}");
                let taken = self.members.iter().enumerate().any(|(n, it)| n != at && it.id == id);
                let renamed = self.members[at].socket.set_id(&*id);
                assert_eq!(renamed, if taken { Err(SetIdError::Taken) } else { Ok(()) });
                if !taken {
                    self.members[at].id = id;
                }
            }
            Step::Close(at) => {
                let Some(at) = some(at) else { return };
                let code = ws_core::StatusCode::NORMAL_CLOSURE;
                self.members[at].socket.close(code, "").unwrap();
                // Earlier messages come first.
                let (messages, _) = read_all(&self.members[at].client).await;
                let texts = messages.iter().map(|message| message.as_text().unwrap());
                assert!(texts.eq(self.members[at].messages.iter()));
                self.gone(at).await;
            }
            Step::Vanish(at) => {
                let Some(at) = some(at) else { return };
                self.members[at].client.close_now();
                self.gone(at).await;
            }
            Step::ToRooms { rooms, except, except_room } => {
                let except = except.and_then(some);
                let mut target = self.hub.to(rooms[0].to_string());
                for room in &rooms[1..] {
                    target = target.to(room.to_string());
                }
                if let Some(at) = except {
                    target = target.except(&self.members[at].id);
                }
                if let Some(room) = except_room {
                    target = target.except_room(room.to_string());
                }
                let text = self.next();
                let count = self.note(&text, |at, member| {
                    rooms.iter().any(|room| member.rooms.contains(room))
                        && except != Some(at)
                        && !except_room.is_some_and(|room| member.rooms.contains(&room))
                });
                assert_eq!((target.count(), target.send(text).queued), (count, count));
            }
            Step::FromSocket(at, room) => {
                let Some(at) = some(at) else { return };
                let text = self.next();
                let count = self.note(&text, |n, member| n != at && member.rooms.contains(&room));
                let sent = self.members[at].socket.to(room.to_string()).send(text);
                assert_eq!(sent.queued, count);
            }
            Step::Everyone => {
                let text = self.next();
                let count = self.note(&text, |_, _| true);
                assert_eq!(self.hub.send(text).queued, count);
            }
            Step::ToId(id) => {
                let id = format!("id{id}");
                let text = self.next();
                let count = self.note(&text, |_, member| member.id == id);
                assert_eq!(self.hub.ids([id]).send(text).queued, count);
            }
        }
        self.compare();
    }

    fn compare(&self) {
        let mut rooms: Vec<_> = self.hub.rooms();
        rooms.sort();
        let expected: BTreeSet<_> = self.members.iter().flat_map(|it| it.rooms.clone()).collect();
        assert!(rooms.into_iter().eq(expected.iter().map(u8::to_string)));
        for member in &self.members {
            assert_eq!(member.socket.id(), &*member.id);
            assert!(self.hub.socket(&member.id).unwrap() == member.socket);
            let mut rooms = member.socket.rooms();
            rooms.sort();
            assert!(rooms.into_iter().eq(member.rooms.iter().map(u8::to_string)));
        }
        assert_eq!(self.hub.len(), self.members.len());
    }
}

async fn run(steps: Vec<Step>) {
    let mut world = World { hub: Hub::new(), members: Vec::new(), sent: 0 };
    for step in steps {
        world.take(step).await;
    }
    world.hub.send("end");
    for member in &world.members {
        for message in member.messages.iter().map(String::as_str).chain(["end"]) {
            assert_eq!(read(&member.client).await, message);
        }
    }
    for member in std::mem::take(&mut world.members) {
        member.client.close_now();
    }
    wait_until(|| world.hub.is_empty()).await;
    let stats = world.hub.stats();
    assert_eq!((stats.rooms, stats.waiting()), (0, 0), "{stats:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn a_hub_behaves_like_a_list_of_sockets(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
