//! How is a server started in a process of its own?

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context as _, Result};

use crate::process::Process;
use crate::serve::{CUT, Kind};

/// A server in a process of its own, which ends with this.
pub(crate) struct Server {
    process: Process,
    pub(crate) addr: SocketAddr,
    /// How many members it has cut.
    pub(crate) cut: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(kind: Kind, narrow: bool) -> Result<Self> {
        let name = kind.name();
        let args = ["serve", &name, "--narrow"];
        let (process, mut answers) = Process::start(&args[..if narrow { 3 } else { 2 }])?;
        let addr = answers.next()?.parse().context("the server did not start")?;
        let cut = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&cut);
        // It ends with the server.
        std::thread::spawn(move || {
            let cuts = answers.iter().filter(|line| line == CUT);
            cuts.for_each(|_| _ = counter.fetch_add(1, Relaxed));
        });
        Ok(Self { process, addr, cut })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.id()
    }
}
