//! Does everybody get a turn, however busy one socket is?
#![cfg(test)]

mod support;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use support::{PATIENCE, enter, wait_until};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Message, PreparedMessage, Role};
use ws_events::{EmitError, Hub, Socket, State};

/// Sends so many messages in one write.
async fn burst(client: &Conn, name: usize, count: usize) {
    let mut messages = (0..count).map(|n| PreparedMessage::new(format!("{name} {n}")));
    assert_eq!(client.write_batch(|_| messages.next()).await.unwrap().messages, count);
}

async fn count(client: &Conn, count: usize) {
    for _ in 0..count {
        timeout(PATIENCE, client.read()).await.unwrap().unwrap();
    }
}

/// All speak at once, on one thread, and nobody has had a turn to write what the first have
/// said when the last begins.
#[tokio::test]
async fn those_who_read_are_not_cut_since_others_speak_before_they_can_write() {
    const CLIENTS: usize = 20;
    const EACH: usize = 256;
    let hub = Hub::new();
    hub.on_message(async |socket: Socket, message: Message| _ = socket.hub().send(message));
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        clients.push(enter(&hub, &n.to_string()).await);
    }
    for (n, (_, client)) in clients.iter().enumerate() {
        burst(client, n, EACH).await;
    }
    let reading = clients.into_iter().map(|(_socket, client)| {
        tokio::spawn(async move {
            count(&client, CLIENTS * EACH).await;
            client
        })
    });
    for reading in reading.collect::<Vec<_>>() {
        drop(reading.await.unwrap());
    }
    assert_eq!(hub.stats().slow_consumers, 0);
}

#[tokio::test]
async fn a_handler_that_sends_several_for_each_message_does_not_overflow_its_own_outbox() {
    let hub = Hub::new();
    hub.on_message(async |socket: Socket, message: Message| {
        (0..5).try_for_each(|_| socket.send(message.clone()))
    });
    let (_socket, client) = enter(&hub, "a").await;
    burst(&client, 0, 256).await;
    count(&client, 5 * 256).await;
    assert_eq!(hub.stats().slow_consumers, 0);
}

#[tokio::test]
async fn half_of_an_outbox_is_there_for_what_one_handler_sends_in_one_go() {
    let hub = Hub::new();
    hub.on_message(async |socket: Socket, text: String| {
        let count = if text.starts_with('0') { 511 } else { 1 };
        (0..count).try_for_each(|_| socket.send(text.as_str()))
    });
    let (_socket, client) = enter(&hub, "a").await;
    for n in [1, 0, 1, 0] {
        burst(&client, n, 32).await;
        count(&client, if n == 0 { 511 * 32 } else { 32 }).await;
    }
    assert_eq!(hub.stats().slow_consumers, 0);
}

#[tokio::test]
async fn a_handler_that_gives_way_has_what_it_sent_written_before_it_goes_on() {
    let hub = Hub::new();
    hub.on_message(async |socket: Socket, message: Message| {
        for _ in 0..3 {
            (0..600).try_for_each(|_| socket.send(message.clone()))?;
            tokio::task::yield_now().await;
        }
        Ok::<_, EmitError>(())
    });
    let (_socket, client) = enter(&hub, "a").await;
    client.write("x").await.unwrap();
    count(&client, 1800).await;
    assert_eq!(hub.stats().slow_consumers, 0);
}

/// More sockets than messages have room in an outbox.
const CROWD: usize = 3000;

/// A hub, two that listen, and many others that do something at once, of which each tells the
/// listeners. These read, so they hear of it all.
async fn check_crowd(hub: Hub, act: impl AsyncFn(Vec<Conn>) -> Vec<Conn>) {
    let mut reading = Vec::new();
    for n in 0..2 {
        let (socket, client) = enter(&hub, &n.to_string()).await;
        socket.join("listeners").unwrap();
        reading.push(tokio::spawn(async move { count(&client, CROWD).await }));
    }
    let mut clients = Vec::new();
    for _ in 0..CROWD {
        let (client, server) = ws_core::pair();
        tokio::spawn(hub.member()(server));
        clients.push(client);
    }
    wait_until(|| hub.len() == CROWD + 2).await;
    let _clients = act(clients).await;
    for reading in reading {
        let read = timeout(PATIENCE, reading).await.unwrap();
        assert!(read.is_ok(), "{:?}", hub.stats());
    }
    assert_eq!(hub.stats().slow_consumers, 0);
}

async fn tell_listeners(socket: Socket) {
    socket.to("listeners").send("x");
}

#[tokio::test]
async fn those_who_read_are_not_cut_when_a_crowd_speaks_at_once() {
    let hub = Hub::new();
    hub.on_message(tell_listeners);
    check_crowd(hub, async |clients| {
        for client in &clients {
            client.write("x").await.unwrap();
        }
        clients
    })
    .await;
}

#[tokio::test]
async fn those_who_read_are_not_cut_when_a_crowd_comes_at_once() {
    let hub = Hub::new();
    hub.on_connect(async |socket: Socket| {
        if socket.hub().len() > 2 {
            tell_listeners(socket).await;
        }
    });
    check_crowd(hub, async |clients| clients).await;
}

#[tokio::test]
async fn those_who_read_are_not_cut_when_a_crowd_leaves_at_once() {
    let hub = Hub::new();
    hub.on_disconnect(tell_listeners);
    check_crowd(hub, async |clients| {
        drop(clients);
        Vec::new()
    })
    .await;
}

#[tokio::test]
async fn those_who_read_are_not_cut_when_a_crowd_goes_on_at_once() {
    let hub = Hub::builder().state(Semaphore::new(0)).build();
    hub.on_connect(async |socket: Socket, State(go): State<Semaphore>| {
        if socket.hub().len() > 2 {
            go.acquire().await.unwrap().forget();
            tell_listeners(socket).await;
        }
    });
    let go = hub.state::<Semaphore>().unwrap();
    check_crowd(hub, async |clients| {
        go.add_permits(CROWD);
        clients
    })
    .await;
}

/// A transport that takes everything, and sends the socket something each time.
struct Endless {
    socket: Arc<OnceLock<Socket>>,
    writes: Arc<AtomicUsize>,
}

/// After so many, it stops all the same, so that the test ends.
const MANY: usize = 100_000;

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(socket) = self.socket.get()
            && self.writes.fetch_add(1, SeqCst) < MANY
        {
            let _ = socket.send("one more");
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_socket_that_is_sent_to_without_end_lets_other_tasks_have_turns() {
    let hub = Hub::new();
    let (socket, writes) = (Arc::new(OnceLock::new()), Arc::new(AtomicUsize::new(0)));
    let io = Endless { socket: Arc::clone(&socket), writes: Arc::clone(&writes) };
    let conn =
        Conn::from_stream(io, Role::Server, Negotiated::default(), Bytes::new(), Config::new());
    let serving = tokio::spawn(hub.member()(conn));
    wait_until(|| hub.len() == 1).await;
    assert!(socket.set(hub.everyone().sockets().remove(0)).is_ok());
    hub.send("first");
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let writes = writes.load(SeqCst);
    assert!((1..MANY).contains(&writes), "{writes} before anybody else had a turn");
    serving.abort();
}
