//! When are written bytes flushed?
//!
//! The peer is a blocking socket, and the runtime is blocked while it reads. So the bytes it reads
//! were flushed before.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, TryStreamExt as _};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::timeout;
use ws_core::handshake::Negotiated;
use ws_core::{
    Config, Conn, Keepalive, Message, MessageType, PreparedMessage, Role, TryWriteError,
};

/// A client frame with the text `a`, masked with zeros.
const A: &[u8] = b"\x81\x81\0\0\0\0a";
/// The answer to it.
const ANSWER: &[u8] = b"\x81\x01a";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server's connection, and the client's socket.
async fn connect(config: Config) -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (io, _) = listener.accept().unwrap();
    io.set_nonblocking(true).unwrap();
    let io = tokio::net::TcpStream::from_std(io).unwrap();
    // The runtime registers the socket on its next turn. An opening handshake takes longer.
    io.writable().await.unwrap();
    (Conn::from_stream(io, Role::Server, Negotiated::default(), Bytes::new(), config), peer)
}

/// Whether the peer has received this many answers.
fn check_arrived(peer: &mut TcpStream, answers: usize) {
    let mut bytes = vec![0; ANSWER.len() * answers];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, ANSWER.repeat(answers));
}

#[test]
fn a_lone_write_leaves_before_the_call_returns() {
    runtime().block_on(async {
        let (conn, mut peer) = connect(Config::new()).await;
        // Also behind an answer, and when half of another frame is buffered.
        for sent in [A, A, &[A, &A[..3]].concat()] {
            peer.write_all(sent).unwrap();
            let message = conn.read().await.unwrap();
            conn.write(message).await.unwrap();
            check_arrived(&mut peer, 1);
        }
        conn.write("a").await.unwrap();
        check_arrived(&mut peer, 1);
    });
}

/// Reads one of two buffered messages and answers it. The flush is deferred.
async fn answer_one_of_two(conn: &Conn, peer: &mut TcpStream) {
    peer.write_all(&A.repeat(2)).unwrap();
    let message = conn.read().await.unwrap();
    conn.write(message).await.unwrap();
    assert_eq!(conn.stats().buffered, ANSWER.len());
}

#[test]
fn a_write_with_messages_waiting_leaves_when_the_task_yields() {
    runtime().block_on(async {
        let (conn, mut peer) = connect(Config::new()).await;
        answer_one_of_two(&conn, &mut peer).await;
        yield_now().await;
        check_arrived(&mut peer, 1);
    });
}

#[test]
fn the_answers_to_a_burst_leave_together_with_the_last() {
    runtime().block_on(async {
        let (conn, mut peer) = connect(Config::new()).await;
        answer_one_of_two(&conn, &mut peer).await;
        let message = conn.read().await.unwrap();
        conn.write(message).await.unwrap();
        check_arrived(&mut peer, 2);
    });
}

#[test]
fn a_flush_sends_what_was_left_for_a_moment() {
    runtime().block_on(async {
        let (conn, mut peer) = connect(Config::new()).await;
        answer_one_of_two(&conn, &mut peer).await;
        conn.flush().await.unwrap();
        check_arrived(&mut peer, 1);
        conn.write_prepared(&PreparedMessage::new("a")).await.unwrap();
        assert_eq!(conn.stats().buffered, ANSWER.len());
        conn.flush().await.unwrap();
        check_arrived(&mut peer, 1);
    });
}

#[test]
fn prepared_messages_leave_when_the_task_yields() {
    runtime().block_on(async {
        let (conn, mut peer) = connect(Config::new()).await;
        let news = PreparedMessage::new("a");
        conn.write_prepared(&news).await.unwrap();
        conn.try_write_prepared(&news).unwrap();
        yield_now().await;
        check_arrived(&mut peer, 2);
    });
}

#[test]
fn what_is_sent_by_a_sink_leaves_as_what_is_written() {
    runtime().block_on(async {
        let (conn, mut peer) = connect(Config::new()).await;
        let mut messages = conn.messages();
        messages.send(Message::from("a")).await.unwrap();
        check_arrived(&mut peer, 1);
        for flushes in [false, true] {
            peer.write_all(&A.repeat(2)).unwrap();
            let message = messages.try_next().await.unwrap().unwrap();
            messages.send(message).await.unwrap();
            assert_eq!(conn.stats().buffered, ANSWER.len());
            if flushes {
                messages.flush().await.unwrap();
                check_arrived(&mut peer, 1);
            }
            let message = messages.try_next().await.unwrap().unwrap();
            messages.send(message).await.unwrap();
            check_arrived(&mut peer, if flushes { 1 } else { 2 });
        }
    });
}

#[test]
fn what_a_sink_is_fed_leaves_together_with_a_flush_or_when_the_task_yields() {
    runtime().block_on(async {
        let (conn, mut peer) = connect(Config::new()).await;
        let mut messages = conn.messages();
        for (flushes, answers) in [(true, 3), (false, 2)] {
            for _ in 0..3 {
                messages.feed(Message::from("a")).await.unwrap();
            }
            // The last message is sent with the next one, or by a flush.
            assert_eq!(conn.stats().buffered, ANSWER.len() * 2);
            if flushes {
                messages.flush().await.unwrap();
            } else {
                yield_now().await;
            }
            check_arrived(&mut peer, answers);
        }
    });
}

#[test]
fn what_was_left_for_a_moment_leaves_when_the_runtime_ends() {
    let runtime = runtime();
    let (conn, mut peer) = runtime.block_on(async {
        let (conn, mut peer) = connect(Config::new()).await;
        answer_one_of_two(&conn, &mut peer).await;
        (conn, peer)
    });
    drop(runtime);
    check_arrived(&mut peer, 1);
    drop(conn);
}

#[test]
fn try_write_never_waits() {
    runtime().block_on(async {
        let (conn, peer) = connect(Config::new().write_buffer(0, 1)).await;
        conn.try_write("a").unwrap();
        let open = conn.writer(MessageType::Text).await.unwrap();
        assert!(matches!(conn.try_write("b"), Err(TryWriteError::Busy)));
        open.finish().await.unwrap();
        // More than a socket buffers.
        conn.try_write(vec![0; 64 << 20]).unwrap();
        let queued = conn.stats().messages_out;
        assert!(matches!(conn.try_write("c"), Err(TryWriteError::Full)));
        assert!(matches!(
            conn.try_write_prepared(&PreparedMessage::new("c")),
            Err(TryWriteError::Full)
        ));
        assert_eq!(conn.stats().messages_out, queued);
        conn.close_now();
        assert!(matches!(conn.try_write("d"), Err(TryWriteError::Conn(_))));
        drop(peer);
    });
}

/// Writes and reads while its task is dropped.
struct Goodbye(Conn, Message);

impl Drop for Goodbye {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            let _ = pin!(self.0.write(self.1.clone())).poll(&mut cx);
            let _ = pin!(self.0.write_prepared(&PreparedMessage::new("a"))).poll(&mut cx);
            let _ = pin!(self.0.read()).poll(&mut cx);
        }
    }
}

#[test]
fn a_write_while_the_runtime_ends_does_not_hang() {
    for len in [1, 64 << 20] {
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            let runtime = runtime();
            let peer = runtime.block_on(async {
                let (conn, peer) = connect(Config::new().keepalive(Keepalive::default())).await;
                let goodbye = Goodbye(conn, Message::binary(vec![0; len]));
                tokio::spawn(async move {
                    let _goodbye = goodbye;
                    std::future::pending::<()>().await;
                });
                yield_now().await;
                peer
            });
            drop((runtime, peer));
            done.send(()).unwrap();
        });
        wait.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}

#[test]
fn what_waits_for_the_transport_leaves_though_the_runtime_of_who_wrote_it_ends() {
    runtime().block_on(async {
        let (here, there) = ws_core::pair();
        let long = Message::binary(vec![0; 1 << 20]);
        let (conn, message) = (here.clone(), long.clone());
        // Another task reads meanwhile, on a running runtime.
        let reading = tokio::spawn(async move { here.read().await });
        yield_now().await;
        thread::spawn(move || runtime().block_on(conn.write(message)).unwrap()).join().unwrap();
        let read = timeout(Duration::from_secs(20), there.read()).await;
        assert!(read.expect("it stands still").unwrap() == long);
        reading.abort();
    });
}
