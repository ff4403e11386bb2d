//! Do broadcasts arrive, from any thread and runtime?
//!
//! Batch writers write for sockets whose tasks sleep. They leave the rest to these tasks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::support::{
    TIMEOUT, enter, read, read_all, read_until_end, run_in_thread, run_in_thread_async, wait_until,
};
use bytes::Bytes;
use futures::executor::block_on;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex, join};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Message, MessageType, Role, StatusCode, pair, pair_with};
use ws_events::{Hub, Overflow, SendQueueLimits, Socket};

/// More sockets than one batch writer has.
const MANY: usize = 100;

async fn enter_many(hub: &Hub) -> Vec<Conn> {
    let mut clients = Vec::new();
    for n in 0..MANY {
        clients.push(enter(hub, &n.to_string()).await.1);
    }
    clients
}

/// `send` sends `x` to all, directly or indirectly. All get it.
async fn check(send: impl AsyncFnOnce(Hub)) {
    let hub = Hub::new();
    let clients = enter_many(&hub).await;
    timeout(TIMEOUT, send(hub.clone())).await.unwrap();
    for client in &clients {
        assert_eq!(read(client).await, "x");
    }
    wait_until(|| hub.stats().written >= MANY as u64).await;
}

#[tokio::test]
async fn a_task_sends() {
    check(async |hub| {
        assert_eq!(tokio::spawn(async move { hub.send("x") }).await.unwrap().queued, MANY)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_task_sends_among_several_threads() {
    check(async |hub| {
        let sent = tokio::spawn(async move { hub.send("x") }).await.unwrap();
        assert_eq!(sent.queued, MANY);
    })
    .await;
}

#[tokio::test]
async fn a_handler_sends() {
    check(async |hub| {
        hub.on_message(async |socket: Socket, message: Message| {
            socket.hub().everyone().except("speaker").send(message);
        });
        let (_, speaker) = enter(&hub, "speaker").await;
        speaker.write("x").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_thread_without_a_runtime_sends() {
    check(async |hub| {
        spawn_blocking(move || std::thread::spawn(move || hub.send("x")).join().unwrap())
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_thread_that_drives_no_task_of_its_runtime_sends() {
    check(async |hub| {
        spawn_blocking(move || {
            let idle = Builder::new_current_thread().build().unwrap();
            let _inside = idle.enter();
            hub.send("x");
            // It exists until the end of the test, and is never driven.
            std::mem::forget(idle);
        })
        .await
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_task_sends_whose_runtime_ends_at_once() {
    check(async |hub| {
        spawn_blocking(move || {
            let short = Builder::new_current_thread().build().unwrap();
            short.block_on(async { tokio::spawn(async move { hub.send("x") }).await.unwrap() });
        })
        .await
        .unwrap();
    })
    .await;
}

/// Serves a socket on its own runtime, which is not driven after the socket has connected.
fn serve_elsewhere(hub: &Hub) -> (Runtime, Conn) {
    let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
    let (client, server) = pair();
    let count = hub.len();
    elsewhere.block_on(async {
        tokio::spawn(hub.handler()(server));
        wait_until(|| hub.len() > count).await;
    });
    (elsewhere, client)
}

#[tokio::test]
async fn a_socket_on_a_blocked_runtime_does_not_delay_others() {
    check(async |hub| {
        spawn_blocking(move || {
            let (elsewhere, client) = serve_elsewhere(&hub);
            hub.send("x");
            // It is blocked until the end of the test.
            std::mem::forget((elsewhere, client));
        })
        .await
        .unwrap();
    })
    .await;
}

#[test]
fn a_socket_without_a_tokio_runtime_is_written_by_its_own_task() {
    let hub = Hub::new();
    let (client, server) = pair();
    let serving = std::thread::spawn({
        let member = hub.handler();
        move || block_on(member(server))
    });
    while hub.is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(hub.send("x").queued, 1);
    assert_eq!(block_on(client.read()).unwrap(), Message::from("x"));
    drop(client);
    serving.join().unwrap();
}

#[tokio::test]
async fn a_socket_without_a_tokio_runtime_waits_for_room_and_is_closed() {
    run_in_thread(|| {
        let hub = Hub::builder()
            .send_queue(SendQueueLimits::new().overflow(Overflow::Block(TIMEOUT)))
            .build();
        let (client, server) = pair();
        let serving = std::thread::spawn({
            let member = hub.handler();
            move || block_on(member(server))
        });
        while hub.is_empty() {
            std::thread::yield_now();
        }
        let socket = hub.everyone().sockets().remove(0);
        block_on(socket.send_wait("last")).unwrap();
        socket.close(StatusCode::GOING_AWAY, "").unwrap();
        assert_eq!(block_on(client.read()).unwrap(), Message::from("last"));
        let closed = block_on(client.read()).unwrap_err();
        assert_eq!(closed.close_status(), Some(StatusCode::GOING_AWAY));
        serving.join().unwrap();
    })
    .await;
}

#[tokio::test]
async fn batch_writers_whose_runtime_ends_leak_nothing() {
    let hub = Hub::new();
    let (_, client) = enter(&hub, "here").await;
    let ending = hub.clone();
    spawn_blocking(move || {
        let (elsewhere, _client) = serve_elsewhere(&ending);
        ending.send("x");
        drop(elsewhere);
    })
    .await
    .unwrap();
    assert_eq!(read(&client).await, "x");
    wait_until(|| hub.len() == 1).await;
    let stats = hub.stats();
    assert_eq!((stats.queued, stats.written, stats.discarded), (2, 1, 1), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn messages_to_all_and_to_one_arrive_in_order() {
    const EACH: usize = 300;
    let hub = Hub::new();
    let clients = enter_many(&hub).await;
    let sending = tokio::spawn({
        let hub = hub.clone();
        async move {
            let sockets = hub.everyone().sockets();
            for n in 0..EACH {
                match n % 3 {
                    0 => sockets.iter().for_each(|socket| socket.send(n.to_string()).unwrap()),
                    1 => assert_eq!(hub.everyone().volatile().send(n.to_string()).dropped, 0),
                    _ => assert_eq!(hub.send(n.to_string()).queued, MANY),
                }
                if n % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            hub.send("end");
        }
    });
    let expected: Vec<_> = (0..EACH).map(|n| n.to_string()).collect();
    let reading = clients.into_iter().map(|client| {
        let expected = expected.clone();
        tokio::spawn(async move { assert_eq!(read_until_end(&client).await, expected) })
    });
    for reading in reading.collect::<Vec<_>>() {
        timeout(TIMEOUT, reading).await.unwrap().unwrap();
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn a_stalled_socket_is_left_to_its_task_and_gets_no_volatile_messages() {
    const EACH: usize = 50;
    let hub = Hub::builder().send_queue(SendQueueLimits::new().bytes(usize::MAX)).build();
    let config = Config::new().write_buffer(0, 1024);
    let (client, server) = pair_with(Config::new(), config);
    tokio::spawn(hub.handler()(server));
    wait_until(|| hub.len() == 1).await;
    let text = |n: usize| format!("{n} {}", "x".repeat(10_000));
    // Until the transport is full, and messages are queued.
    let sent = tokio::spawn({
        let hub = hub.clone();
        async move {
            let mut sent = 0;
            while hub.stats().waiting() == 0 || sent < EACH {
                hub.send(text(sent));
                sent += 1;
                tokio::task::yield_now().await;
            }
            assert_eq!(hub.everyone().volatile().send("never").dropped, 1);
            hub.send("end");
            sent
        }
    });
    let sent = timeout(TIMEOUT, sent).await.unwrap().unwrap();
    let expected: Vec<_> = (0..sent).map(text).collect();
    assert!(read_until_end(&client).await == expected);
    // It keeps up again.
    wait_until(|| hub.stats().waiting() == 0).await;
    let volatile = tokio::spawn({
        let hub = hub.clone();
        async move {
            while hub.everyone().volatile().send("at last").queued == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    assert_eq!(read(&client).await, "at last");
    timeout(TIMEOUT, volatile).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_with_a_message_writer_of_the_application_is_left_to_its_task() {
    let hub = Hub::new();
    let (socket, client) = enter(&hub, "a").await;
    let conn = socket.conn().unwrap();
    let mut writer = conn.writer(MessageType::Text).await.unwrap();
    writer.write_all(b"one ").await.unwrap();
    tokio::spawn(async move { hub.send("behind") }).await.unwrap();
    tokio::task::yield_now().await;
    writer.write_all(b"message").await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(read(&client).await, "one message");
    assert_eq!(read(&client).await, "behind");
}

#[tokio::test]
async fn a_socket_that_is_closed_before_its_batch_writer_runs_gets_earlier_messages() {
    let hub = Hub::new();
    let clients = enter_many(&hub).await;
    let closing = hub.clone();
    tokio::spawn(async move {
        closing.send("last");
        closing.close_all(StatusCode::GOING_AWAY, "").unwrap();
    })
    .await
    .unwrap();
    for client in &clients {
        assert_eq!(read(client).await, "last");
        let closed = timeout(TIMEOUT, client.read()).await.unwrap().unwrap_err();
        assert_eq!(closed.close_status(), Some(StatusCode::GOING_AWAY));
    }
    wait_until(|| hub.is_empty()).await;
    let stats = hub.stats();
    assert_eq!((stats.written, stats.discarded), (MANY as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_message_is_counted_when_sockets_end_during_a_broadcast() {
    let hub = Hub::new();
    for round in 0..20 {
        let clients = enter_many(&hub).await;
        let sending = tokio::spawn({
            let hub = hub.clone();
            async move {
                for n in 0..20 {
                    hub.send(n.to_string());
                    tokio::task::yield_now().await;
                }
            }
        });
        if round % 2 == 0 {
            drop(clients);
        } else {
            for client in clients {
                tokio::spawn(async move { read_all(&client).await });
            }
            hub.close_all(StatusCode::GOING_AWAY, "").unwrap();
        }
        timeout(TIMEOUT, sending).await.unwrap().unwrap();
        wait_until(|| hub.is_empty()).await;
    }
    wait_until(|| hub.stats().waiting() == 0).await;
    let stats = hub.stats();
    assert_eq!(stats.queued, stats.written + stats.discarded, "{stats:?}");
    assert_eq!(stats.queued_bytes, 0, "{stats:?}");
}

/// A transport in memory that takes few bytes per write.
struct Bits(DuplexStream);

/// A transport that panics at the first write and fails at later ones. Reads stay pending.
#[derive(Default)]
struct Panics(bool);

impl AsyncRead for Bits {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Bits {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &bytes[..bytes.len().min(100)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncRead for Panics {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Panics {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(std::mem::replace(&mut self.0, true), "a transport of the application");
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn over<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: T, role: Role) -> Conn {
    Conn::from_stream(io, role, Negotiated::default(), Bytes::new(), Config::new())
}

/// Waits until all other tasks sleep.
async fn quiet() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn other_tasks_run_while_a_batch_writer_has_many_messages() {
    let hub = Hub::new();
    let mut clients = Vec::new();
    // As many as one batch writer has.
    for n in 0..32 {
        clients.push(enter(&hub, &n.to_string()).await);
    }
    quiet().await;
    for n in 0..100 {
        hub.send(n.to_string());
    }
    tokio::task::yield_now().await;
    let stats = hub.stats();
    assert!((1..3200).contains(&stats.written), "{stats:?}");
    for (_, client) in &clients {
        for n in 0..100 {
            assert_eq!(read(client).await, n.to_string());
        }
    }
    assert_eq!(hub.stats().written, 3200);
}

#[tokio::test]
async fn a_socket_that_keeps_up_is_not_stalled_after_many_small_writes() {
    let hub = Hub::new();
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let (here, there) = duplex(64 * 1024);
        tokio::spawn(hub.handler()(over(Bits(here), Role::Server)));
        clients.push(over(there, Role::Client));
    }
    wait_until(|| hub.len() == MANY).await;
    quiet().await;
    let text = "x".repeat(1000);
    hub.send(text.clone());
    // It runs when the batch writers are done.
    let sent = tokio::spawn(async move { hub.everyone().volatile().send("volatile") });
    assert_eq!(sent.await.unwrap().dropped, 0);
    for client in &clients {
        assert_eq!((read(client).await, read(client).await), (text.clone(), "volatile".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_task_of_a_socket_finds_the_transport_error_of_a_batch_writer() {
    let hub = Hub::new();
    // The peer is connected, sends nothing, and takes nothing.
    let (_silent, input) = duplex(1);
    let (output, _) = duplex(1);
    let serving = tokio::spawn(hub.handler()(over(join(input, output), Role::Server)));
    wait_until(|| hub.len() == 1).await;
    quiet().await;
    assert_eq!(hub.send("x").queued, 1);
    timeout(TIMEOUT, serving).await.unwrap().unwrap();
    let stats = hub.stats();
    assert_eq!((stats.sockets, stats.queued, stats.written), (0, 1, 1), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_writer_that_panics_leaves_its_sockets_to_their_tasks() {
    let hub = Hub::new();
    let (_, before) = enter(&hub, "before").await;
    let serving = tokio::spawn(hub.handler()(over(Panics::default(), Role::Server)));
    wait_until(|| hub.len() == 2).await;
    let (_, behind) = enter(&hub, "behind").await;
    quiet().await;
    assert_eq!(hub.send("x").queued, 3);
    assert_eq!((read(&before).await, read(&behind).await), ("x".into(), "x".into()));
    timeout(TIMEOUT, serving).await.unwrap().unwrap();
    assert_eq!(hub.send("y").queued, 2);
    assert_eq!((read(&before).await, read(&behind).await), ("y".into(), "y".into()));
}

#[tokio::test]
async fn a_callback_during_a_batch_write_may_use_the_socket() {
    run_in_thread_async(async || {
        let hub = Hub::new();
        let (socket, client) = enter(&hub, "a").await;
        let asked = socket.clone();
        socket.conn().unwrap().frames().tap(move |_| {
            assert!(asked.peer_addr().is_none() && asked.request().is_none());
            assert!(asked.conn().is_some());
        });
        quiet().await;
        hub.send("x");
        assert_eq!(read(&client).await, "x");
    })
    .await;
}
