//! How is a measured server started in a process of its own?

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context as _, Result};
use load::process::Process;

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
        let name = kind.name();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", &name]).args(small_buffers.then_some("--small-buffers"));
        let (process, mut answers) = Process::start(&mut command)?;
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
