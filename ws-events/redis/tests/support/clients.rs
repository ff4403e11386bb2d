//! How does a client of a test lose its connection, and come back?
#![allow(dead_code, reason = "each test file uses a part of it")]

use serde_json::{Value, json};
use tokio::sync::watch;
use ws_core::{Conn, pair};
use ws_events::{Hub, Protocol, Socket};

use crate::support::{pause, within};

/// A client that comes back.
pub(crate) struct Client {
    pub(crate) conn: Conn,
    pub(crate) token: Option<String>,
    pub(crate) at: Option<String>,
    /// The last offset of each room, the newest at the end.
    pub(crate) rooms: Vec<String>,
    pub(crate) welcome: Value,
}

impl Client {
    /// Connects, and asks for the session that it has.
    pub(crate) async fn connect(hub: &Hub, token: Option<String>, at: impl Into<Value>) -> Self {
        Self::try_connect(hub, token, at).await.expect("an answer")
    }

    /// `None` if the connection is closed before the answer.
    pub(crate) async fn try_connect(
        hub: &Hub,
        token: Option<String>,
        at: impl Into<Value>,
    ) -> Option<Self> {
        let at = at.into();
        let (conn, server) = pair();
        let serving = hub.clone();
        tokio::spawn(async move { serving.serve_as(server, Protocol::Resumable).await });
        conn.write(json!({"resume": token, "at": at}).to_string()).await.unwrap();
        let first = within(conn.read()).await.ok()?;
        let welcome: Value = serde_json::from_str(first.as_text().unwrap()).unwrap();
        let token = welcome["session"].as_str().map(str::to_owned);
        let (rooms, at) = match at {
            Value::Array(rooms) if welcome["recovered"] == true => {
                let rooms: Vec<_> =
                    rooms.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
                (rooms.clone(), rooms.last().cloned())
            }
            at => (Vec::new(), at.as_str().map(str::to_owned)),
        };
        Some(Self { conn, token, at, rooms, welcome })
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().expect("a session")
    }

    /// A client whose socket is in its rooms. The positions of these may come later.
    pub(crate) async fn enter(hub: &Hub) -> (Self, Socket) {
        let known = hub.everyone().sockets();
        let client = Self::connect(hub, None, Value::Null).await;
        let find = || hub.everyone().sockets().into_iter().find(|it| !known.contains(it));
        within(async {
            while !find().is_some_and(|socket| socket.is_in("live")) {
                pause().await;
            }
        })
        .await;
        (client, find().unwrap())
    }

    pub(crate) async fn resume(&mut self, hub: &Hub) -> &Value {
        *self = Self::connect(hub, self.token.take(), self.at.take()).await;
        &self.welcome
    }

    /// As [`resume`](Self::resume), with what it has of each room.
    pub(crate) async fn resume_rooms(&mut self, hub: &Hub) -> &Value {
        let rooms = std::mem::take(&mut self.rooms);
        *self = Self::connect(hub, self.token.take(), rooms).await;
        &self.welcome
    }

    /// The data of the next event; `None` if the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let message = within(self.conn.read()).await.ok()?;
        let mut event: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        if let Some(at) = event["at"].as_str() {
            let room = |at: &str| at.split_once('-').map(|(room, _)| room.to_owned());
            self.rooms.retain(|other| room(other) != room(at));
            self.rooms.push(at.to_owned());
            self.at = Some(at.to_owned());
        }
        Some(event["data"].take())
    }

    pub(crate) async fn read_many(&mut self, count: usize) -> Vec<Value> {
        let mut data = Vec::new();
        for _ in 0..count {
            data.push(self.next().await.expect("an open connection"));
        }
        data
    }
}

/// The number after which a client has everything.
pub(crate) const LAST: u64 = u64::MAX;

/// Sends numbers to both rooms, and [`LAST`] once it is calm, until it is stopped.
pub(crate) async fn send_numbers(
    hub: Hub,
    calm: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) {
    for number in 0.. {
        let number = if *calm.borrow() { LAST } else { number };
        for room in ["room1", "room2"] {
            let _ = hub.to(room).emit("n", &(room, number)).unwrap();
        }
        if *stop.borrow() {
            return;
        }
        pause().await;
    }
}
