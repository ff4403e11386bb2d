//! How much memory does an idle member of a hub hold, beside its connection?
#![cfg(test)]
#![expect(unsafe_code, reason = "only an allocator can tell how much memory is in use")]

#[path = "../../ws-client/tests/allocator/mod.rs"]
mod allocator;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf, join, sink};
use tokio::time::sleep;
use ws_core::handshake::Negotiated;
use ws_core::{Config, Conn, Limits, Role};
use ws_events::engine::{EngineConfig, EngineSessions};
use ws_events::{Bytes, Hub, Socket};

/// How many members are measured. Others before them allocate what all share.
const MEMBERS: usize = 64;

/// What Socket.IO may add to a member.
const SOCKETIO: usize = 1024;

/// The half of a transport that has these bytes, and then is never readable.
struct Idle(&'static [u8]);

impl AsyncRead for Idle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

/// A masked frame with the packet by which a client enters the root namespace.
const CONNECT: &[u8] = b"\x81\x82\x00\x00\x00\x0040";

fn conn(config: &Arc<Config>, input: &'static [u8]) -> Conn {
    let config = Arc::clone(config);
    let transport = join(Idle(input), sink());
    Conn::from_stream(transport, Role::Server, Negotiated::default(), Bytes::new(), config)
}

/// The bytes for each member of a room whose task `serve` makes, when it waits. In a thread of its
/// own, so that members of an earlier measurement do not count.
fn measure<Fut>(serve: impl Fn(Hub) -> Fut + Send + 'static) -> usize
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let measuring = thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
            let hub = Hub::new();
            hub.on_connect(async |socket: Socket| socket.join("room"));
            let grow = async || {
                let members = hub.to("room").count() + MEMBERS;
                for _ in 0..MEMBERS {
                    tokio::spawn(serve(hub.clone()));
                }
                // The clock advances when all tasks wait: also those that look after connections
                // that were written before they are read.
                sleep(Duration::from_secs(5)).await; // tidy: sleep is the subject
                assert_eq!(hub.to("room").count(), members);
            };
            grow().await;
            let before = allocator::live();
            grow().await;
            allocator::live().wrapping_sub(before) / MEMBERS
        })
    });
    measuring.join().unwrap()
}

#[test]
fn an_idle_member_with_socketio_costs_little_more_than_a_plain_one() {
    let config = Arc::new(Config::new());
    let plain = measure(move |hub| {
        let conn = conn(&config, b"");
        async move { hub.serve(conn).await }
    });
    let sessions = EngineSessions::new(EngineConfig::new());
    // The limit of the sessions, as the service has it: a connection needs no other one.
    let limits = Limits::new().message_size(sessions.config().payload_limit());
    let config = Arc::new(Config::new().limits(limits));
    let socketio = measure(move |hub| {
        let (sessions, conn) = (sessions.clone(), conn(&config, CONNECT));
        async move {
            let session = sessions.open_websocket(conn);
            tokio::join!(session.drive(), hub.serve_engine(session.clone()));
        }
    });
    println!("{plain} bytes for a plain member, {socketio} with Socket.IO");
    assert!(socketio <= plain + SOCKETIO, "{socketio}, {plain} without Socket.IO");
}
