//! How are proxies and a web server run as peers?

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::time::{interval, timeout};

use crate::peers::Peer;

/// The timeout until a program listens.
const START: Duration = Duration::from_secs(30);

/// A program that listens on its own port. It is killed on drop, and its folder is removed.
pub(crate) struct Program {
    pub(crate) port: u16,
    _child: Child,
    folder: Folder,
}

impl Program {
    /// Starts it, with arguments that may contain its port and its folder.
    pub(crate) async fn start(
        peer: Peer,
        arguments: impl FnOnce(u16, &Path) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let mut command = peer.program().await?;
        let folder = Folder::new()?;
        // Another process is unlikely to take the port meanwhile.
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let mut child = command.args(arguments(port, &folder.0)?).spawn()?;
        // It prints nothing that could be waited for.
        let mut again = interval(Duration::from_millis(10));
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                if let Some(status) = child.try_wait()? {
                    bail!("{peer} has ended with {status}");
                }
                again.tick().await;
            }
            Ok(())
        };
        timeout(START, listens).await.with_context(|| format!("{peer} does not listen"))??;
        Ok(Self { port, _child: child, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }
}

/// A folder for one program.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("ws-interop-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
