//! How does a measured server run, and how does it take connections?

use std::future::Future;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::Options;

/// The longest message that a server accepts: all have a limit, and none is in the way.
pub const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// Serves until the process is ended: each connection in a task of its own.
///
/// # Errors
///
/// When it cannot listen.
pub fn serve<T, F>(options: &'static Options, handle: F) -> Result<()>
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = Result<()>> + Send + 'static,
{
    runtime(options.workers)?.block_on(async {
        let listener = listener(options).await?;
        loop {
            // How a connection ends is not our business: the generator cuts it.
            tokio::spawn(handle(welcome(&listener).await?));
        }
    })
}

/// The runtime of a server: one thread, unless more are asked for.
///
/// # Errors
///
/// When the system gives none.
pub fn runtime(workers: usize) -> Result<Runtime> {
    let mut builder = match workers {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers.max(1)).enable_all().build().context("cannot start tokio")
}

/// Listens, and says where.
///
/// # Errors
///
/// When the address is taken.
pub async fn listener(options: &Options) -> Result<TcpListener> {
    let listener = TcpListener::bind(options.listen).await.context("cannot listen (--listen)")?;
    say_where(&listener.local_addr()?.to_string())?;
    Ok(listener)
}

/// The next connection, without Nagle's delay.
///
/// # Errors
///
/// When the system gives none.
pub async fn welcome(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().await.context("cannot accept (file descriptors?)")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Tells the runner where the server is.
///
/// # Errors
///
/// When nobody reads that.
pub fn say_where(address: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "listening on {address}")?;
    Ok(out.flush()?)
}
