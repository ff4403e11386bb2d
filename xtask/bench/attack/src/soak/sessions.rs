//! Does a client that loses its connection miss nothing, and do lists of presence follow their members?

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use ws_client::{Conn, Dial};

use super::conversations::{end, event};
use super::members::{Member, envelope, node};
use super::places::{Place, STEP};
use super::random::Random;

/// A connection with a session.
struct Session {
    conn: Conn,
    token: Value,
    recovered: bool,
    /// Why it is a new one.
    reason: Value,
}

impl Session {
    async fn open(place: &Place, random: &mut Random, token: &Value, at: &Value) -> Result<Self> {
        let url = format!("ws://{}/resume", node(place, random));
        let dialer = &place.dialers[random.below(place.dialers.len())];
        let conn = Dial::new(url).dialer(dialer).connect().await?;
        conn.write(json!({ "resume": token, "at": at }).to_string()).await?;
        let welcome = Self::next(&conn).await?;
        let recovered = welcome["recovered"] == true;
        let (token, reason) = (welcome["session"].clone(), welcome["reason"].clone());
        ensure!(token.is_string(), "no token: {welcome}");
        Ok(Self { conn, token, recovered, reason })
    }

    async fn next(conn: &Conn) -> Result<Value> {
        let message = timeout(STEP, conn.read()).await.context("no message")??;
        Ok(serde_json::from_slice(message.as_bytes())?)
    }
}

/// A member that loses its connections gets all messages of a room with a history, once and in order.
pub(super) async fn recoveries(place: &Place, random: &mut Random) -> Result<()> {
    let room = format!("kept-{}", random.next());
    let count = random.below(60) + 20;
    let sender = envelope(place, random).await?;
    let mut session = Session::open(place, random, &Value::Null, &Value::Null).await?;
    session.conn.write(event("join", &format!("\"{room}\""))).await?;
    session.conn.write(event("echo", "0")).await?;
    while Session::next(&session.conn).await?["event"] != "echo" {}
    let send = async {
        for number in 0..count {
            sender.emit("note", &format!("{room}:{number}")).await?;
            sleep(Duration::from_millis(1)).await;
        }
        anyhow::Ok(())
    };
    let receive = async {
        let (mut next, mut at) = (0, Value::Null);
        while next < count {
            // Without a position, the session is a new one.
            if next > 0 && random.below(8) == 0 {
                if random.below(2) == 0 {
                    session.conn.close_now();
                }
                session = Session::open(place, random, &session.token, &at).await?;
                ensure!(session.recovered, "a new session: {}", session.reason);
            }
            let message = Session::next(&session.conn).await?;
            ensure!(message["event"] == "noted", "another event: {message}");
            let number = message["data"].as_str().map(str::parse::<usize>);
            ensure!(number == Some(Ok(next)), "{message} instead of {next}");
            at = message["at"].clone();
            next += 1;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(send, receive)?;
    end(&session.conn).await?;
    sender.end().await
}

/// Three devices come, and go in three ways.
pub(super) async fn presence(place: &Place, random: &mut Random) -> Result<()> {
    let room = random.next().to_string();
    let mut members = Vec::new();
    for key in ["a", "b", "c"] {
        let member = envelope(place, random).await?;
        member.emit("track", &format!("{room}:{key}")).await?;
        members.push(member);
    }
    for member in &members {
        see(member, &room, &["a", "b", "c"]).await?;
    }
    members[0].emit("untrack", &format!("{room}:a")).await?;
    for member in &members {
        see(member, &room, &["b", "c"]).await?;
    }
    if let Member::Envelope(conn) = &members[1] {
        conn.close_now();
    }
    see(&members[2], &room, &["c"]).await?;
    members[2].end().await?;
    see(&members[0], &room, &[]).await?;
    members[0].end().await
}

/// Waits until the list of presence has these keys.
async fn see(member: &Member, room: &str, keys: &[&str]) -> Result<()> {
    let mut seen = Value::Null;
    for _ in 0..STEP.as_millis() / 20 {
        member.emit("who", room).await?;
        seen = member.hear("who").await?;
        let found = seen.as_array().context("no list")?;
        // The lists of two nodes have different orders.
        if found.len() == keys.len() && keys.iter().all(|key| found.iter().any(|it| it == key)) {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    bail!("{seen} instead of {keys:?}")
}
