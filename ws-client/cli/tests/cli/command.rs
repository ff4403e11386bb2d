//! Does `ws listen -- CMD` end the command, its background processes and its connection in time?

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use ws_client::{Conn, StatusCode};

use crate::program::{Server, signal};

async fn in_time<T>(run: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(40), run).await.unwrap()
}

async fn connect(server: &Server) -> Conn {
    in_time(ws_client::dial(&server.url)).await.unwrap()
}

/// A process of `/proc`: its parent and its state, which is `Z` for a zombie.
fn process(id: &str) -> Option<(u32, char)> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

/// The number of child processes, zombies included.
fn children(parent: u32) -> usize {
    let names = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let parents = names.filter_map(|name| process(name.to_str()?)).map(|(parent, _)| parent);
    parents.filter(|id| *id == parent).count()
}

async fn until(is_true: impl Fn() -> bool) {
    let mut ticks = interval(Duration::from_millis(20));
    while !is_true() {
        ticks.tick().await;
    }
}

async fn check_end(script: &str, out: &[&str], code: StatusCode) {
    let server = Server::start(&["-q", "--", "sh", "-c", script]);
    let conn = connect(&server).await;
    for line in out {
        let message = in_time(conn.read()).await.unwrap();
        assert_eq!(message.as_text(), Some(*line), "{script}");
    }
    let error = in_time(conn.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(code), "{script}: {error}");
    in_time(until(|| children(server.child.id()) == 0)).await;
}

#[tokio::test]
async fn the_connection_ends_with_the_command_whatever_holds_its_output() {
    let normal = StatusCode::NORMAL_CLOSURE;
    tokio::join!(
        check_end("echo hi; exec true", &["hi"], normal),
        check_end("sleep 100 & echo hi", &["hi"], normal),
        check_end("sleep 100 & echo hi; exit 3", &["hi"], StatusCode::INTERNAL_ERROR),
        // A process that has left the process group.
        check_end("setsid sleep 40 & echo hi", &["hi"], normal),
    );
    // Its output continues without end.
    let server = Server::start(&["-q", "--", "sh", "-c", "setsid timeout 30 yes & sleep 0.1"]);
    let conn = connect(&server).await;
    let error = in_time(async {
        loop {
            if let Err(error) = conn.read().await {
                return error;
            }
        }
    });
    assert_eq!(error.await.close_status(), Some(normal));
}

#[tokio::test]
async fn all_output_from_before_the_exit_is_sent() {
    // More than a pipe and the connection hold, to a client that begins to read late.
    let server = Server::start(&["-q", "--", "sh", "-c", "seq 1 200000; sleep 100 & exit 0"]);
    let conn = connect(&server).await;
    for number in 1..=200_000 {
        let message = in_time(conn.read()).await.unwrap();
        assert_eq!(message.as_text(), Some(&*number.to_string()));
    }
    let error = in_time(conn.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::NORMAL_CLOSURE));
}

#[tokio::test]
async fn background_processes_end_with_the_command() {
    let server = Server::start(&["-q", "--", "sh", "-c", "sleep 100 & echo $!"]);
    let conn = connect(&server).await;
    let id = in_time(conn.read()).await.unwrap();
    // A process without a parent stays a zombie if process 1 does not reap it.
    in_time(until(|| process(id.as_text().unwrap()).is_none_or(|(_, state)| state == 'Z'))).await;
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    CloseFrame,
    Fin,
    Reset,
}

/// A client of raw TCP that has sent 200 messages of 1,000 bytes.
async fn raw_client(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let frame = [&[0x81, 0xfe, 0x03, 0xe8, 0, 0, 0, 0][..], &[b'a'; 1000]].concat();
    in_time(stream.write_all(&frame.repeat(200))).await.unwrap();
    stream
}

async fn check_leave(script: &str, leave: Leave) {
    let server = Server::start(&["-q", "--", "sh", "-c", script]);
    let mut stream = raw_client(&server).await;
    in_time(until(|| children(server.child.id()) == 1)).await;
    match leave {
        Leave::CloseFrame => {
            stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await.unwrap();
        }
        Leave::Fin => stream.shutdown().await.unwrap(),
        Leave::Reset => {
            stream.set_zero_linger().unwrap();
            drop(stream);
            return in_time(until(|| children(server.child.id()) == 0)).await;
        }
    }
    in_time(until(|| children(server.child.id()) == 0)).await;
    // The connection ends, too.
    let mut rest = Vec::new();
    in_time(stream.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_command_that_does_not_read() {
    let all = ["exec sleep 1000", "exec 0<&-; sleep 1000", "exec 1>&-; sleep 1000"]
        .iter()
        .flat_map(|script| {
            [Leave::CloseFrame, Leave::Fin, Leave::Reset].map(|leave| check_leave(script, leave))
        });
    futures_of(all).await;
}

/// Runs all at the same time.
async fn futures_of(all: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let mut set = tokio::task::JoinSet::new();
    all.for_each(|one| _ = set.spawn(one));
    while let Some(ended) = set.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn pings_are_answered_while_a_command_does_not_read() {
    let server = Server::start(&["-q", "--", "sleep", "1000"]);
    let conn = connect(&server).await;
    for _ in 0..200 {
        in_time(conn.write("a".repeat(1000))).await.unwrap();
    }
    in_time(conn.ping()).await.unwrap();
    in_time(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
    let ended = in_time(conn.closed()).await;
    assert!(ended.is_clean(), "{ended:?}");
    in_time(until(|| children(server.child.id()) == 0)).await;
}

/// Backpressure reaches the client: only what the buffers hold is taken.
#[tokio::test]
async fn a_command_that_does_not_read_stops_its_client() {
    const MAX: usize = 32 << 20;
    let server = Server::start(&["-q", "--", "sleep", "1000"]);
    let mut stream = raw_client(&server).await;
    let frame = [&[0x81, 0xfe, 0x03, 0xe8, 0, 0, 0, 0][..], &[b'a'; 1000]].concat();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let writing = tokio::spawn(async move {
        while count.load(Relaxed) < 2 * MAX {
            stream.write_all(&frame).await.unwrap();
            count.fetch_add(frame.len(), Relaxed);
        }
    });
    // Until twenty looks in turn find no progress.
    let (mut ticks, mut before, mut same) = (interval(Duration::from_millis(20)), 0, 0);
    while same < 20 && !writing.is_finished() {
        ticks.tick().await;
        let now = taken.load(Relaxed);
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
    assert!(before < MAX, "{before} bytes were taken");
    writing.abort();
}

#[tokio::test]
async fn messages_before_the_close_reach_the_command() {
    let file = std::env::temp_dir().join(format!("ws-cli-{}-received", std::process::id()));
    let script = format!("sleep 0.5; cat > {0}.part; mv {0}.part {0}", file.display());
    let server = Server::start(&["-q", "--", "sh", "-c", &script]);
    let conn = connect(&server).await;
    for number in 0..20_000 {
        in_time(conn.write(format!("{number:0>9}"))).await.unwrap();
    }
    in_time(conn.close(StatusCode::NORMAL_CLOSURE, "")).await.unwrap();
    in_time(until(|| file.exists())).await;
    let received = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(received.lines().count(), 20_000);
}

#[tokio::test]
async fn a_second_signal_ends_the_commands_at_once() {
    let script = "trap '' INT TERM; echo $$; while true; do sleep 1; done";
    let mut server = Server::start(&["-q", "--", "sh", "-c", script]);
    let conn = connect(&server).await;
    let id = in_time(conn.read()).await.unwrap();
    signal("TERM", server.child.id());
    let error = in_time(conn.read()).await.unwrap_err();
    assert_eq!(error.close_status(), Some(StatusCode::GOING_AWAY));
    signal("TERM", server.child.id());
    assert!(server.child.wait().unwrap().success());
    in_time(until(|| process(id.as_text().unwrap()).is_none_or(|(_, state)| state == 'Z'))).await;
}
