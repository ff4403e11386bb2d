//! Which conversations do the clients of a long load have with an echo, or with a hub alone?

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use ws_client::{Compression, Config, Conn, Dial, Message, MessageType, Reconnect, StatusCode};

use super::places::{Place, STEP};
use super::random::Random;

pub(super) fn dial(place: &Place, random: &mut Random) -> Dial {
    let dial = Dial::new(&place.url).dialer(&place.dialers[random.below(place.dialers.len())]);
    match random.below(3) {
        0 => dial.compression(Compression::context_takeover()),
        1 => dial.compression(Compression::no_context_takeover()),
        _ => dial,
    }
}

/// Messages in both directions at once, which have to come back in order.
pub(super) async fn echoes(place: &Place, random: &mut Random, fragments: bool) -> Result<()> {
    let mut dial = dial(place, random);
    if fragments {
        dial = dial.config(Config::new().fragment_size(random.below(5_000) + 1_000));
    }
    let conn = dial.connect().await?;
    let messages: Vec<_> = (0..random.below(30) + 1).map(|_| random.payload()).collect();
    let write = async {
        for message in &messages {
            conn.write(Message::binary(message.clone())).await?;
        }
        anyhow::Ok(())
    };
    let read = async {
        for message in &messages {
            let found = conn.read().await?;
            ensure!(found.as_bytes() == &message[..], "an echo differs, or is out of order");
        }
        anyhow::Ok(())
    };
    tokio::try_join!(write, read)?;
    end(&conn).await
}

/// A message that is written and read in pieces.
pub(super) async fn streams(place: &Place, random: &mut Random) -> Result<()> {
    let conn = dial(place, random).connect().await?;
    let pieces: Vec<_> = (0..random.below(20) + 1).map(|_| random.payload()).collect();
    let pieces: Vec<_> = pieces.into_iter().map(|it| it[..it.len().min(40_000)].to_vec()).collect();
    let write = async {
        let mut writer = conn.writer(MessageType::Binary).await?;
        for piece in &pieces {
            writer.write_all(piece).await?;
        }
        writer.finish().await?;
        anyhow::Ok(())
    };
    let read = async {
        let mut reader = conn.reader().await?;
        let mut found = Vec::new();
        while let Some(chunk) = reader.chunk().await? {
            found.extend_from_slice(&chunk);
        }
        ensure!(found == pieces.concat(), "a streamed message differs");
        anyhow::Ok(())
    };
    tokio::try_join!(write, read)?;
    end(&conn).await
}

pub(super) async fn pings(place: &Place, random: &mut Random) -> Result<()> {
    let conn = dial(place, random).connect().await?;
    for number in 0..5_u8 {
        conn.write(Message::binary(vec![number])).await?;
        let (rtt, found) = tokio::join!(conn.ping(), conn.read());
        rtt?;
        ensure!(found?.as_bytes() == [number], "an echo differs");
    }
    end(&conn).await
}

/// Closes, and waits for the answer.
pub(super) async fn end(conn: &Conn) -> Result<()> {
    Ok(timeout(STEP, conn.close(StatusCode::NORMAL_CLOSURE, "done")).await??)
}

/// Connections that end without a close frame, in the middle of something.
pub(super) async fn abrupt(place: &Place, random: &mut Random) -> Result<()> {
    match random.below(4) {
        0 => {
            let conn = dial(place, random).connect().await?;
            conn.write(Message::binary(random.payload())).await?;
            drop(conn);
        }
        1 => {
            let conn = dial(place, random).connect().await?;
            conn.write(Message::binary(random.payload())).await?;
            conn.close_now();
        }
        2 => {
            let mut stream = TcpStream::connect(place.address).await?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await?;
        }
        _ => {
            // A dial that is given up.
            let _ = timeout(Duration::from_millis(1), dial(place, random).connect()).await;
        }
    }
    Ok(())
}

/// An event of the envelope.
pub(super) fn event(name: &str, data: &str) -> Message {
    Message::text(format!("{{\"event\":\"{name}\",\"data\":{data}}}"))
}

/// The server closes with 1001 now and then. No message that was answered is asked for again.
pub(super) async fn reconnects(place: &Place, random: &mut Random) -> Result<()> {
    let dial = Dial::new(&place.url).dialer(&place.dialers[0]);
    let conn = Reconnect::new(dial).connect().await?;
    for number in 0..random.below(4) + 1 {
        conn.write(event("echo", &number.to_string())).await?;
        let wanted = format!("{{\"event\":\"echo\",\"data\":\"{number}\"}}");
        let found = conn.read().await?;
        ensure!(found.as_text() == Some(&*wanted), "{found:?} instead of {wanted}");
    }
    conn.write(event("kick", "0")).await?;
    // Written to the next connection, or to this one and lost: it is asked again.
    for attempt in 0..100 {
        let _ = conn.write(event("echo", "99")).await;
        match timeout(Duration::from_millis(500), conn.read()).await {
            Ok(found) => {
                ensure!(found?.as_text().is_some_and(|it| it.contains("\"99\"")), "another answer");
                break;
            }
            Err(_) => ensure!(attempt < 99, "no answer after a reconnect"),
        }
    }
    timeout(STEP, conn.close(StatusCode::NORMAL_CLOSURE, "")).await?.ok();
    Ok(())
}
