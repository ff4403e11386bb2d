//! Does what is sent to many arrive, whoever sends it and from wherever?
//!
//! Those whose tasks sleep are carried to by tasks of the sender's runtime. What these do not
//! bring is left to the tasks of the sockets.
#![cfg(test)]

mod support;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::executor::block_on;
use support::{PATIENCE, apart, apart_async, enter, read, read_all, until_end, wait_until};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex, join};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Message, MessageType, Role, StatusCode, pair, pair_with};
use ws_events::{Hub, Outbox, Overflow, Socket};

/// More than one carrier sees to.
const MANY: usize = 100;

async fn crowd(hub: &Hub) -> Vec<Conn> {
    let mut clients = Vec::new();
    for n in 0..MANY {
        clients.push(enter(hub, &n.to_string()).await.1);
    }
    clients
}

/// `send` sends `x` to all, or has it sent: all get it.
async fn check(send: impl AsyncFnOnce(Hub)) {
    let hub = Hub::new();
    let clients = crowd(&hub).await;
    timeout(PATIENCE, send(hub.clone())).await.unwrap();
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
            // It is there until all have it, and nobody drives it.
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

/// Serves a socket on a runtime of its own, which is driven no more when it has entered.
fn serve_elsewhere(hub: &Hub) -> (Runtime, Conn) {
    let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
    let (client, server) = pair();
    let count = hub.len();
    elsewhere.block_on(async {
        tokio::spawn(hub.member()(server));
        wait_until(|| hub.len() > count).await;
    });
    (elsewhere, client)
}

#[tokio::test]
async fn who_is_served_by_a_runtime_that_stands_still_keeps_nobody_else_waiting() {
    check(async |hub| {
        spawn_blocking(move || {
            let (elsewhere, client) = serve_elsewhere(&hub);
            hub.send("x");
            // It stands still until all have it.
            std::mem::forget((elsewhere, client));
        })
        .await
        .unwrap();
    })
    .await;
}

#[test]
fn who_is_served_without_tokio_is_sent_to_by_its_own_task() {
    let hub = Hub::new();
    let (client, server) = pair();
    let serving = std::thread::spawn({
        let member = hub.member();
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
async fn who_is_served_without_tokio_waits_for_room_and_is_closed() {
    apart(|| {
        let hub = Hub::builder().outbox(Outbox::new().overflow(Overflow::Block(PATIENCE))).build();
        let (client, server) = pair();
        let serving = std::thread::spawn({
            let member = hub.member();
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
async fn carriers_whose_runtime_ends_leave_nothing_behind() {
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
async fn what_is_sent_to_all_and_to_one_is_heard_in_one_order() {
    const EACH: usize = 300;
    let hub = Hub::new();
    let clients = crowd(&hub).await;
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
        tokio::spawn(async move { assert_eq!(until_end(&client).await, expected) })
    });
    for reading in reading.collect::<Vec<_>>() {
        timeout(PATIENCE, reading).await.unwrap().unwrap();
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn who_is_behind_is_left_to_its_task_and_gets_no_volatile_messages() {
    const EACH: usize = 50;
    let hub = Hub::builder().outbox(Outbox::new().bytes(usize::MAX)).build();
    let config = Config::new().write_buffer(0, 1024);
    let (client, server) = pair_with(Config::new(), config);
    tokio::spawn(hub.member()(server));
    wait_until(|| hub.len() == 1).await;
    let text = |n: usize| format!("{n} {}", "x".repeat(10_000));
    // Until the transport is full: what is more waits.
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
    let sent = timeout(PATIENCE, sent).await.unwrap().unwrap();
    let expected: Vec<_> = (0..sent).map(text).collect();
    assert!(until_end(&client).await == expected);
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
    timeout(PATIENCE, volatile).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_writes_past_the_hub_piece_by_piece_is_left_to_its_task() {
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
async fn who_is_closed_before_a_carrier_comes_is_sent_what_was_sent_before() {
    let hub = Hub::new();
    let clients = crowd(&hub).await;
    let closing = hub.clone();
    tokio::spawn(async move {
        closing.send("last");
        closing.close_all(StatusCode::GOING_AWAY, "").unwrap();
    })
    .await
    .unwrap();
    for client in &clients {
        assert_eq!(read(client).await, "last");
        let closed = timeout(PATIENCE, client.read()).await.unwrap().unwrap_err();
        assert_eq!(closed.close_status(), Some(StatusCode::GOING_AWAY));
    }
    wait_until(|| hub.is_empty()).await;
    let stats = hub.stats();
    assert_eq!((stats.written, stats.discarded), (MANY as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_message_is_accounted_for_when_sockets_end_in_the_middle() {
    let hub = Hub::new();
    for round in 0..20 {
        let clients = crowd(&hub).await;
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
        timeout(PATIENCE, sending).await.unwrap().unwrap();
        wait_until(|| hub.is_empty()).await;
    }
    wait_until(|| hub.stats().waiting() == 0).await;
    let stats = hub.stats();
    assert_eq!(stats.queued, stats.written + stats.discarded, "{stats:?}");
}

/// A transport in memory that takes a little at a time.
struct Bits(DuplexStream);

/// One that panics when it is written to, and fails from then on. It never says so to who
/// reads.
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

/// Waits until all tasks sleep: this one is the only that has a turn then.
async fn quiet() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn other_tasks_have_a_turn_while_a_carrier_has_much_to_write() {
    let hub = Hub::new();
    let mut clients = Vec::new();
    // As many as one carrier has.
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
async fn who_keeps_up_is_not_behind_however_many_writes_a_carrier_needs() {
    let hub = Hub::new();
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let (here, there) = duplex(64 * 1024);
        tokio::spawn(hub.member()(over(Bits(here), Role::Server)));
        clients.push(over(there, Role::Client));
    }
    wait_until(|| hub.len() == MANY).await;
    quiet().await;
    let text = "x".repeat(1000);
    hub.send(text.clone());
    // It has its turn when the carriers are through.
    let sent = tokio::spawn(async move { hub.everyone().volatile().send("volatile") });
    assert_eq!(sent.await.unwrap().dropped, 0);
    for client in &clients {
        assert_eq!((read(client).await, read(client).await), (text.clone(), "volatile".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_fails_a_carrier_is_found_out_by_the_task_of_its_socket() {
    let hub = Hub::new();
    // The peer is there, says nothing, and takes nothing.
    let (_silent, input) = duplex(1);
    let (output, _) = duplex(1);
    let serving = tokio::spawn(hub.member()(over(join(input, output), Role::Server)));
    wait_until(|| hub.len() == 1).await;
    quiet().await;
    assert_eq!(hub.send("x").queued, 1);
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    let stats = hub.stats();
    assert_eq!((stats.sockets, stats.queued, stats.written), (0, 1, 1), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_panics_leaves_its_sockets_to_their_tasks() {
    let hub = Hub::new();
    let (_, before) = enter(&hub, "before").await;
    let serving = tokio::spawn(hub.member()(over(Panics::default(), Role::Server)));
    wait_until(|| hub.len() == 2).await;
    let (_, behind) = enter(&hub, "behind").await;
    quiet().await;
    assert_eq!(hub.send("x").queued, 3);
    assert_eq!((read(&before).await, read(&behind).await), ("x".into(), "x".into()));
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert_eq!(hub.send("y").queued, 2);
    assert_eq!((read(&before).await, read(&behind).await), ("y".into(), "y".into()));
}

#[tokio::test]
async fn what_is_called_while_a_carrier_writes_may_ask_the_socket_about_itself() {
    apart_async(async || {
        let hub = Hub::new();
        let (socket, client) = enter(&hub, "a").await;
        let asked = socket.clone();
        socket.conn().unwrap().tap(move |_| {
            assert!(asked.peer_addr().is_none() && asked.request().is_none());
            assert!(asked.conn().is_some());
        });
        quiet().await;
        hub.send("x");
        assert_eq!(read(&client).await, "x");
    })
    .await;
}
