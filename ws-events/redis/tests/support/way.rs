//! How does a test choose the server of a connection, and lose the answer to a request?

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A TCP proxy on a port of its own. It ends with this value.
pub(crate) struct Way {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Way {
    /// Leads to `server`, but the connection with this number, from 0, to another one.
    pub(crate) async fn turning(server: SocketAddr, other: SocketAddr, number: usize) -> Self {
        Self::start(move |at| if at == number { other } else { server }, None).await
    }

    /// Ends a connection when the server has answered a request with this text, and the client does not
    /// have the answer yet. Only the first time.
    pub(crate) async fn losing_the_answer(server: SocketAddr, text: &'static str) -> Self {
        Self::start(move |_| server, Some(text)).await
    }

    async fn start(
        route: impl Fn(usize) -> SocketAddr + Send + 'static,
        text: Option<&'static str>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepted, is_lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let counted = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(route(number)).await else { continue };
                running.spawn(pass(client, server, text, Arc::clone(&is_lost)));
            }
        });
        Self { port, accepted, task }
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    text: Option<&str>,
    is_lost: Arc<AtomicBool>,
) {
    let (mut requests, mut answers) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut requests) => {
                let Ok(len @ 1..) = read else { return };
                let request = &requests[..len];
                let has = |text: &str| request.windows(text.len()).any(|it| it == text.as_bytes());
                let loses = text.is_some_and(has) && !is_lost.swap(true, Ordering::SeqCst);
                if server.write_all(request).await.is_err() {
                    return;
                }
                if loses {
                    let _ = server.read(&mut answers).await;
                    return;
                }
            }
            read = server.read(&mut answers) => {
                let Ok(len @ 1..) = read else { return };
                if client.write_all(&answers[..len]).await.is_err() {
                    return;
                }
            }
        }
    }
}
