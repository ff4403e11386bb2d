//! Do handlers yield before send queues overflow, and do all tasks run while one socket is busy?

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use crate::support::{TIMEOUT, enter, wait_until};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ws_core::adapter::write_batch;
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Message, PreparedMessage, Role};
use ws_events::{EmitError, Hub, Socket, State};

/// Sends `count` messages in one write.
async fn burst(client: &Conn, name: usize, count: usize) {
    let mut messages = (0..count).map(|n| PreparedMessage::new(format!("{name} {n}")));
    assert_eq!(write_batch(client, |_| messages.next()).await.unwrap().messages, count);
}

async fn count(client: &Conn, count: usize) {
    for _ in 0..count {
        timeout(TIMEOUT, client.read()).await.unwrap().unwrap();
    }
}

/// All send at once, on one thread: no task has written the first messages when the last client
/// sends.
#[tokio::test]
async fn clients_that_read_are_not_closed_when_others_send_before_their_tasks_write() {
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
async fn a_handler_that_sends_several_messages_per_message_does_not_overflow_its_own_queue() {
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
async fn one_handler_can_send_half_of_the_queue_limit_without_awaiting() {
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
async fn a_handler_that_yields_continues_after_its_messages_were_written() {
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

/// More sockets than the messages that a send queue holds.
const SOCKETS: usize = 3000;

/// Two listeners, and many other sockets that act at once, each of which sends to the listeners.
/// The listeners read, so they get all messages.
async fn check_many(hub: Hub, act: impl AsyncFn(Vec<Conn>) -> Vec<Conn>) {
    let mut reading = Vec::new();
    for n in 0..2 {
        let (socket, client) = enter(&hub, &n.to_string()).await;
        socket.join("listeners").unwrap();
        reading.push(tokio::spawn(async move { count(&client, SOCKETS).await }));
    }
    let mut clients = Vec::new();
    for _ in 0..SOCKETS {
        let (client, server) = ws_core::pair();
        tokio::spawn(hub.handler()(server));
        clients.push(client);
    }
    wait_until(|| hub.len() == SOCKETS + 2).await;
    let _clients = act(clients).await;
    for reading in reading {
        let read = timeout(TIMEOUT, reading).await.unwrap();
        assert!(read.is_ok(), "{:?}", hub.stats());
    }
    assert_eq!(hub.stats().slow_consumers, 0);
}

async fn send_to_listeners(socket: Socket) {
    socket.to("listeners").send("x");
}

#[tokio::test]
async fn clients_that_read_are_not_closed_when_many_send_at_once() {
    let hub = Hub::new();
    hub.on_message(send_to_listeners);
    check_many(hub, async |clients| {
        for client in &clients {
            client.write("x").await.unwrap();
        }
        clients
    })
    .await;
}

#[tokio::test]
async fn clients_that_read_are_not_closed_when_many_connect_at_once() {
    let hub = Hub::new();
    hub.on_connect(async |socket: Socket| {
        if socket.hub().len() > 2 {
            send_to_listeners(socket).await;
        }
    });
    check_many(hub, async |clients| clients).await;
}

#[tokio::test]
async fn clients_that_read_are_not_closed_when_many_disconnect_at_once() {
    let hub = Hub::new();
    hub.on_disconnect(send_to_listeners);
    check_many(hub, async |clients| {
        drop(clients);
        Vec::new()
    })
    .await;
}

#[tokio::test]
async fn clients_that_read_are_not_closed_when_many_handlers_continue_at_once() {
    let hub = Hub::builder().state(Semaphore::new(0)).build();
    hub.on_connect(async |socket: Socket, State(go): State<Semaphore>| {
        if socket.hub().len() > 2 {
            go.acquire().await.unwrap().forget();
            send_to_listeners(socket).await;
        }
    });
    let go = hub.state::<Semaphore>().unwrap();
    check_many(hub, async |clients| {
        go.add_permits(SOCKETS);
        clients
    })
    .await;
}

/// A transport that takes everything, and sends a message to its own socket at each write.
struct Endless {
    socket: Arc<OnceLock<Socket>>,
    writes: Arc<AtomicUsize>,
}

/// The number of writes after which it stops, so that the test ends.
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
async fn a_socket_with_an_endless_stream_of_messages_lets_other_tasks_run() {
    let hub = Hub::new();
    let (socket, writes) = (Arc::new(OnceLock::new()), Arc::new(AtomicUsize::new(0)));
    let io = Endless { socket: Arc::clone(&socket), writes: Arc::clone(&writes) };
    let conn =
        Conn::from_stream(io, Role::Server, Negotiated::default(), Bytes::new(), Config::new());
    let serving = tokio::spawn(hub.handler()(conn));
    wait_until(|| hub.len() == 1).await;
    assert!(socket.set(hub.everyone().sockets().remove(0)).is_ok());
    hub.send("first");
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let writes = writes.load(SeqCst);
    assert!((1..MANY).contains(&writes), "{writes} before another task ran");
    serving.abort();
}
