//! How is a server started in a process of its own?

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context as _, Result};

use crate::serve::{CUT, Kind};

/// A server in a process of its own, which ends with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// How many members it has cut.
    pub(crate) cut: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(kind: Kind, narrow: bool) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &kind.name()])
            .args(narrow.then_some("--narrow"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output")?;
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line)?;
        let addr = line.trim().parse().context("the server did not start")?;
        let cut = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&cut);
        // It ends with the server.
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            lines.filter(|line| line == CUT).for_each(|_| _ = counter.fetch_add(1, Relaxed));
        });
        Ok(Self { child, addr, cut })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
