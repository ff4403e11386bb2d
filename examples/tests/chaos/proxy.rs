//! How does a test break the TCP connection between a client and a server at an exact byte?

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// Each piece is held for this long.
    Delay(Duration),
    /// Each byte is a segment of its own.
    OneByte,
    /// After so many bytes, both ends see the end of the stream.
    Cut(usize),
    /// After so many bytes, both ends see a reset.
    Reset(usize),
    /// After so many bytes, the receiver sees the end of the stream. The other direction goes on.
    HalfClose(usize),
    /// After so many bytes, nothing more arrives. Both connections stay open.
    BlackHole(usize),
}

impl Fault {
    /// How many bytes still pass, of those that arrive when `passed` are through.
    const fn room(self, passed: usize) -> usize {
        match self {
            Self::Nothing | Self::Delay(_) => 16 * 1024,
            Self::OneByte => 1,
            Self::Cut(at) | Self::Reset(at) | Self::HalfClose(at) | Self::BlackHole(at) => {
                at.saturating_sub(passed)
            }
        }
    }
}

/// How both connections end.
enum End {
    Orderly,
    Cut,
    Reset,
}

/// A proxy on a port of its own. It ends with this value.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    passed: Arc<[AtomicUsize; 2]>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Connects each client to `server`. `plan` has the fault of each connection, by its number.
    pub(crate) async fn start(
        server: SocketAddr,
        plan: impl Fn(usize) -> (Way, Fault) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let passed = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counts = Arc::clone(&passed);
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            for number in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                let (way, fault) = plan(number);
                let counts = Arc::clone(&counts);
                running.spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    forward(client, server, way, fault, &counts).await
                });
            }
        });
        Self { addr, passed, task }
    }

    /// The number of bytes that have passed, up and down.
    pub(crate) fn passed(&self) -> (usize, usize) {
        let [up, down] = &*self.passed;
        (up.load(Ordering::Relaxed), down.load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards both directions until both have ended, or the fault ends them.
async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    way: Way,
    fault: Fault,
    [up, down]: &[AtomicUsize; 2],
) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let of = |this| if this == way { fault } else { Fault::Nothing };
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let ups = pump(from_client, to_server, of(Way::Up), up);
        let downs = pump(from_server, to_client, of(Way::Down), down);
        tokio::pin!(ups, downs);
        // An end of one direction is passed on. The other goes on, unless the fault is of both.
        tokio::select! {
            end = &mut ups => match end { End::Orderly => downs.await, end => end },
            end = &mut downs => match end { End::Orderly => ups.await, end => end },
        }
    };
    match end {
        End::Orderly => Ok(()),
        End::Reset => {
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
        End::Cut => {
            client.shutdown().await?;
            server.shutdown().await?;
            // A socket that is closed with unread bytes is reset.
            let (mut sink_up, mut sink_down) = (sink(), sink());
            let (up, down) =
                tokio::join!(copy(&mut client, &mut sink_up), copy(&mut server, &mut sink_down));
            up.and(down).map(drop)
        }
    }
}

/// Forwards one direction.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    fault: Fault,
    count: &AtomicUsize,
) -> End {
    let (mut passed, mut piece) = (0, vec![0; 16 * 1024]);
    loop {
        let room = fault.room(passed);
        if room == 0 {
            return broken(from, to, fault).await;
        }
        // An error of one side is an end of it. The other side sees an end, too.
        let read = from.read(&mut piece[..room]).await.unwrap_or(0);
        if read == 0 {
            let _ = to.shutdown().await;
            return End::Orderly;
        }
        if let Fault::Delay(time) = fault {
            tokio::time::sleep(time).await; // tidy: sleep is the subject
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return End::Orderly;
        }
        passed += read;
        count.fetch_add(read, Ordering::Relaxed);
    }
}

/// The fault happens.
async fn broken(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    fault: Fault,
) -> End {
    match fault {
        Fault::Cut(_) => End::Cut,
        Fault::Reset(_) => End::Reset,
        Fault::HalfClose(_) => {
            let _ = to.shutdown().await;
            let _ = copy(&mut from, &mut sink()).await;
            End::Orderly
        }
        Fault::BlackHole(_) => std::future::pending().await,
        Fault::Nothing | Fault::Delay(_) | Fault::OneByte => unreachable!("it breaks nothing"),
    }
}
