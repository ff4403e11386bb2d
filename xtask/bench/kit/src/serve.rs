//! How does a measured server run and accept connections?

use std::future::Future;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::Options;

/// The longest message that a server accepts. It is above all messages of the scenarios.
pub const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// Serves until the process is killed, with one task per connection.
///
/// # Errors
///
/// The address cannot be bound.
pub fn serve<T, F>(options: &'static Options, handle: F) -> Result<()>
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = Result<()>> + Send + 'static,
{
    runtime(options.workers)?.block_on(async {
        let listener = listener(options).await?;
        loop {
            // Errors do not matter: the load generator closes connections without a handshake.
            tokio::spawn(handle(welcome(&listener).await?));
        }
    })
}

/// The runtime of a server: one thread, unless `workers` is more.
///
/// # Errors
///
/// Threads cannot be started.
pub fn runtime(workers: usize) -> Result<Runtime> {
    let mut builder = match workers {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers.max(1)).enable_all().build().context("cannot start tokio")
}

/// Listens, and prints the address.
///
/// # Errors
///
/// The address cannot be bound.
pub async fn listener(options: &Options) -> Result<TcpListener> {
    let listener = TcpListener::bind(options.listen).await.context("cannot listen (--listen)")?;
    print_address(&listener.local_addr()?.to_string())?;
    Ok(listener)
}

/// The next connection, with `TCP_NODELAY`.
///
/// # Errors
///
/// There are no file descriptors left.
pub async fn welcome(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().await.context("cannot accept (file descriptors?)")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Prints the address of the server for the runner.
///
/// # Errors
///
/// The output is closed.
pub fn print_address(address: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "listening on {address}")?;
    Ok(out.flush()?)
}
