//! Does a server take its listening socket from its environment, so that a restart refuses no client?
#![cfg(unix)]

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use ws_client::{Conn, Dial, StatusCode};

use crate::program::{Running, check_echo, free_port, in_time, program, signal, skip};

impl Running {
    /// Starts the example `socket_activation` with this socket, as systemd does.
    fn with_socket(listener: &TcpListener) -> Self {
        Self::example_with_socket("socket_activation", listener)
    }

    /// Starts an example with this socket.
    fn example_with_socket(name: &str, listener: &TcpListener) -> Self {
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        // The socket is the standard input of the shell, which makes it the descriptor 3.
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(program(name));
        Self(command.stdin(socket).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Asks it to stop, and waits for its end.
    async fn stop(mut self) {
        assert!(signal("TERM", self.0.id()));
        let ended = async {
            while self.0.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await; // tidy: sleep is the subject
            }
        };
        in_time(ended).await;
        assert!(self.0.wait().unwrap().success());
    }
}

async fn dial(port: u16) -> Conn {
    dial_path(port, "/").await
}

async fn dial_path(port: u16, path: &str) -> Conn {
    in_time(Dial::new(format!("ws://127.0.0.1:{port}{path}")).connect()).await.unwrap()
}

/// `chat.service` of the book starts the chat.
#[tokio::test]
async fn the_chat_takes_the_socket_of_its_service() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let chat = Running::example_with_socket("chat", &listener);
    let conn = dial_path(port, "/ws?name=ann").await;
    let reading = tokio::spawn(async move {
        loop {
            if let Err(ended) = in_time(conn.read()).await {
                return ended;
            }
        }
    });
    chat.stop().await;
    assert_eq!(reading.await.unwrap().close_status(), Some(StatusCode::GOING_AWAY));
}

#[tokio::test]
async fn clients_that_connect_during_a_restart_are_served() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let first = Running::with_socket(&listener);
    let before = dial(port).await;
    check_echo(&before).await;
    let reading = tokio::spawn(async move { in_time(before.read()).await });
    first.stop().await;
    let ended = reading.await.unwrap().unwrap_err();
    assert_eq!(ended.close_status(), Some(StatusCode::GOING_AWAY));

    // No server runs, and the socket is open.
    let waiting: Vec<_> = (0..20).map(|_| tokio::spawn(dial(port))).collect();
    tokio::task::yield_now().await;
    let _second = Running::with_socket(&listener);
    for conn in waiting {
        check_echo(&conn.await.unwrap()).await;
    }
}

/// A client that is open when the drain begins, and holds it up: it does not answer the close.
#[tokio::test]
async fn clients_that_connect_during_the_drain_are_served_by_the_next_process() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let first = Running::with_socket(&listener);
    let mut silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    silent.write_all(head.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        received.push(in_time(silent.read_u8()).await.unwrap());
    }
    assert!(received.starts_with(b"HTTP/1.1 101"));
    assert!(signal("TERM", first.0.id()));
    let mut close = [0; 4];
    in_time(silent.read_exact(&mut close)).await.unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xe9], "1001 of the drain");

    let mut waiting: Vec<_> = (0..20).map(|_| tokio::spawn(dial(port))).collect();
    // A refusal would come at once.
    let refused = timeout(Duration::from_millis(200), &mut waiting[0]).await;
    assert!(refused.is_err(), "{refused:?}");
    drop(silent);
    first.stop().await;
    let _second = Running::with_socket(&listener);
    for conn in waiting {
        check_echo(&conn.await.unwrap()).await;
    }
}

#[tokio::test]
async fn systemd_starts_the_server_with_its_socket() {
    let port = free_port();
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(format!("127.0.0.1:{port}")).arg(program("socket_activation"));
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(child) = started else {
        return skip("systemd-socket-activate is not installed");
    };
    let server = Running(child);
    // It listens soon. The first connection starts the server.
    let dialing = async {
        loop {
            if let Ok(conn) = Dial::new(format!("ws://127.0.0.1:{port}/")).connect().await {
                return conn;
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // tidy: sleep is the subject
        }
    };
    check_echo(&in_time(dialing).await).await;
    server.stop().await;
}
