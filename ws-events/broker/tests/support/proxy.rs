//! How does a test interrupt the connections between a broker and its server?

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A TCP proxy on a port of its own. It ends with this value.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    is_stalled: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let is_stalled = watch::Sender::new(false);
        let stalled = is_stalled.clone();
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                running.spawn(copy(from_client, to_server, stalled.subscribe()));
                running.spawn(copy(from_server, to_client, stalled.subscribe()));
            }
        });
        Self { addr, is_stalled, task }
    }

    /// Stops reading and writing on all connections, which stay open, or continues.
    pub(crate) fn stall(&self, is_stalled: bool) {
        self.is_stalled.send_replace(is_stalled);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut stalled: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if stalled.wait_for(|is_stalled| !is_stalled).await.is_err() {
            return;
        }
        let len = tokio::select! {
            _ = stalled.changed() => continue,
            read = from.read(&mut buffer) => match read {
                Ok(len) if len > 0 => len,
                _ => return,
            },
        };
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}
