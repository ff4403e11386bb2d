//! Do the members of a room get everything in order, whichever protocol, transport and node they use?

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use ws_client::{Conn, Dial, Dialer};

use super::conversations::{dial, end, event};
use super::places::{Place, STEP};
use super::polling::Polling;
use super::random::Random;

/// A member of rooms.
pub(super) enum Member {
    Envelope(Conn),
    SocketIo(Conn),
    Polling(Box<Polling>),
}

impl Member {
    /// A client of Socket.IO that opens a WebSocket at once.
    async fn socketio(address: SocketAddr) -> Result<Self> {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let conn = Dial::new(url).dialer(&Dialer::new().no_proxy()).connect().await?;
        let opened = timeout(STEP, conn.read()).await??;
        ensure!(opened.as_text().is_some_and(|it| it.starts_with("0{")), "no session: {opened:?}");
        Self::SocketIo(conn).enter().await
    }

    /// A client of Socket.IO that stays with long-polling, or moves to a WebSocket.
    async fn polling(address: SocketAddr, moves: bool) -> Result<Self> {
        let session = Box::new(Polling::open(address).await?);
        let url = format!("ws://{address}/{}", session.upgrade());
        let member = Self::Polling(session).enter().await?;
        if !moves {
            return Ok(member);
        }
        let conn = Dial::new(url).dialer(&Dialer::new().no_proxy()).connect().await?;
        conn.write("2probe").await?;
        let answer = timeout(STEP, conn.read()).await??;
        ensure!(answer.as_text() == Some("3probe"), "{answer:?} for a probe");
        conn.write("5").await?;
        Ok(Self::SocketIo(conn))
    }

    /// Enters the main namespace.
    async fn enter(self) -> Result<Self> {
        self.send("40".to_owned()).await?;
        let answer = self.packet().await?;
        ensure!(answer.starts_with("40"), "{answer} for a CONNECT");
        Ok(self)
    }

    /// Sends a packet of Socket.IO.
    async fn send(&self, packet: String) -> Result<()> {
        match self {
            Self::Envelope(_) => bail!("no packets"),
            Self::SocketIo(conn) => Ok(conn.write(packet).await?),
            Self::Polling(session) => session.send(&[packet]).await,
        }
    }

    /// The next packet of Socket.IO.
    async fn packet(&self) -> Result<String> {
        match self {
            Self::Envelope(_) => bail!("no packets"),
            Self::SocketIo(conn) => loop {
                let message = timeout(STEP, conn.read()).await.context("no packet")??;
                match message.as_text().context("a binary packet")? {
                    "2" => conn.write("3").await?,
                    packet => return Ok(packet.to_owned()),
                }
            },
            Self::Polling(session) => timeout(STEP, session.next()).await.context("no packet")?,
        }
    }

    /// Sends an event.
    pub(super) async fn emit(&self, name: &str, data: &str) -> Result<()> {
        match self {
            Self::Envelope(conn) => Ok(conn.write(event(name, &format!("\"{data}\""))).await?),
            _ => self.send(format!("42[\"{name}\",\"{data}\"]")).await,
        }
    }

    /// The data of the next event with this name.
    pub(super) async fn hear(&self, wanted: &str) -> Result<Value> {
        loop {
            let (name, data) = match self {
                Self::Envelope(conn) => {
                    let message = timeout(STEP, conn.read()).await.context("no event")??;
                    let mut message: Value = serde_json::from_slice(message.as_bytes())?;
                    (message["event"].take(), message["data"].take())
                }
                _ => {
                    let packet = self.packet().await?;
                    let array = packet.strip_prefix("42").with_context(|| packet.clone())?;
                    let mut array: Value = serde_json::from_str(array)?;
                    (array[0].take(), array[1].take())
                }
            };
            if name == wanted {
                return Ok(data);
            }
        }
    }

    /// Joins a room. Handlers of a socket run in order.
    pub(super) async fn join(&self, room: &str) -> Result<()> {
        self.emit("join", room).await?;
        self.emit("echo", "0").await?;
        self.hear("echo").await.map(drop)
    }

    pub(super) async fn end(&self) -> Result<()> {
        match self {
            Self::Envelope(conn) => end(conn).await,
            Self::SocketIo(conn) => {
                conn.write("1").await?;
                // The server closes the WebSocket.
                let _ = timeout(STEP, conn.closed()).await.context("a session does not end")?;
                Ok(())
            }
            Self::Polling(session) => session.send(&["1".to_owned()]).await,
        }
    }
}

/// A client of the envelope at one of the nodes.
pub(super) async fn envelope(place: &Place, random: &mut Random) -> Result<Member> {
    let node = node(place, random);
    let mut place = place.clone();
    place.url = format!("ws://{node}/");
    Ok(Member::Envelope(dial(&place, random).connect().await?))
}

/// One of the nodes.
pub(super) fn node(place: &Place, random: &mut Random) -> SocketAddr {
    place.nodes[random.below(place.nodes.len())]
}

/// Three members by the envelope.
pub(super) async fn envelope_rooms(place: &Place, random: &mut Random) -> Result<()> {
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(envelope(place, random).await?);
    }
    talk(&members, random).await
}

/// A member by the envelope, and one for each way of Socket.IO, on each of the nodes in turns.
pub(super) async fn mixed_rooms(place: &Place, random: &mut Random) -> Result<()> {
    let first = random.below(place.nodes.len());
    let at = |number: usize| place.nodes[(first + number) % place.nodes.len()];
    let members = [
        envelope(place, random).await?,
        Member::socketio(at(1)).await?,
        Member::polling(at(2), false).await?,
        Member::polling(at(3), true).await?,
    ];
    talk(&members, random).await
}

/// All join a room of their own. Each gets what the others say, in order.
async fn talk(members: &[Member], random: &mut Random) -> Result<()> {
    let room = random.next().to_string();
    for member in members {
        member.join(&room).await?;
    }
    let count = random.below(40) + 1;
    // A node that has no member yet subscribes when the first one joins, which takes a moment.
    let ready = AtomicUsize::new(0);
    let talk = async |index: usize, member: &Member| -> Result<()> {
        let say = async {
            while ready.load(SeqCst) < members.len() {
                member.emit("say", &format!("{room}:{index}:first")).await?;
                sleep(Duration::from_millis(20)).await;
            }
            for number in 0..count {
                member.emit("say", &format!("{room}:{index}:{number}")).await?;
            }
            anyhow::Ok(())
        };
        let hear = async {
            let (mut next, mut heard) = (vec![0; members.len()], vec![false; members.len()]);
            heard[index] = true;
            let mut left = count * (members.len() - 1);
            while left > 0 {
                let data = member.hear("said").await?;
                let text = data.as_str().context("no text")?;
                let (text, number) = text.rsplit_once(':').context("no number")?;
                let from: usize = text.rsplit(':').next().unwrap_or_default().parse()?;
                ensure!(from != index, "its own message");
                if number == "first" {
                    let before = heard.iter().all(|it| *it);
                    heard[from] = true;
                    ready.fetch_add(usize::from(!before && heard.iter().all(|it| *it)), SeqCst);
                    continue;
                }
                let number: usize = number.parse()?;
                ensure!(next[from] == number, "{number} of {from} instead of {}", next[from]);
                next[from] += 1;
                left -= 1;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(say, hear)?;
        Ok(())
    };
    let talking = members.iter().enumerate().map(|(index, member)| talk(index, member));
    try_join_all(talking).await?;
    for member in members {
        member.end().await?;
    }
    Ok(())
}
