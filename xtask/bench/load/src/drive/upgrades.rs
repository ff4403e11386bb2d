//! How many connections does a server open per second?

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::{setsockopt, sockopt};

use crate::drive::carrier::Connector;
use crate::drive::window::{Count, Extent, Next, Window};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::scenario::Scenario;

/// Opens and ends connections in as many threads as the scenario has connections.
///
/// A connection ends with a reset, so that its port can be used again at once.
///
/// # Errors
///
/// A handshake fails.
pub fn run(
    server: &Connector,
    scenario: &Scenario,
    pid: Option<i32>,
    extent: Extent,
) -> Result<Report> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, opened) = mpsc::channel();
        for _ in 0..scenario.conns {
            let (sender, ended) = (sender.clone(), &ended);
            scope.spawn(move || {
                while !ended.load(Relaxed) {
                    // The receiver ends with the first error.
                    let _ = sender.send(open(server));
                }
            });
        }
        let report = count(&opened, Window::new(pid, extent));
        ended.store(true, Relaxed);
        report
    })
}

/// Opens a connection and ends it. Returns how long the opening took.
fn open(server: &Connector) -> Result<Duration> {
    let began = Instant::now();
    let mut stream = server.connect()?;
    stream.shake_hands("")?;
    let took = began.elapsed();
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream.tcp(), sockopt::Linger, &at_once)?;
    Ok(took)
}

fn count(opened: &mpsc::Receiver<Result<Duration>>, mut window: Window) -> Result<Report> {
    let (mut histogram, mut count) = (Histogram::new()?, Count::default());
    loop {
        let took = opened.recv().context("all threads have ended")??;
        histogram.add(took);
        count.messages += 1;
        match window.look(Instant::now(), count)? {
            Next::Go => {}
            Next::Begin => histogram.clear(),
            Next::End(mut report) => {
                report.latency = histogram.percentiles();
                return Ok(report);
            }
        }
    }
}
