//! How is a measured server started in a process of its own?

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context as _, Result};
use load::process::Process;

use crate::drive;
use crate::serve::{Kind, SLOW_CONSUMER};

/// A server in a process of its own. Dropping it ends the process.
pub(crate) struct Server {
    process: Process,
    pub(crate) addr: SocketAddr,
    /// The number of members that it disconnected as slow consumers.
    pub(crate) disconnected: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(kind: Kind, small_buffers: bool) -> Result<Self> {
        let (process, mut answers) = Process::start(&mut command(kind, small_buffers)?)?;
        let addr = answers.line()?.parse().context("the server did not start")?;
        let disconnected = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&disconnected);
        // The thread ends with the server.
        std::thread::spawn(move || {
            let lines = answers.iter().filter(|line| line == SLOW_CONSUMER);
            lines.for_each(|_| _ = counter.fetch_add(1, Relaxed));
        });
        Ok(Self { process, addr, disconnected })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.id()
    }
}

fn command(kind: Kind, small_buffers: bool) -> Result<Command> {
    if kind == Kind::SocketioNode {
        // On the first processor, as the other servers.
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "0", "node"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/socketio_node.mjs"));
        command.arg(drive::text(true));
        return Ok(command);
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", &kind.name()]).args(small_buffers.then_some("--small-buffers"));
    Ok(command)
}
