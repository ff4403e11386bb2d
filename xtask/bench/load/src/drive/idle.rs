//! How much memory does an idle connection take?

use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::drive::carrier::Connector;
use crate::drive::conn::Conn;
use crate::meter::{Moment, allow_files, resident_bytes};
use crate::report::{Memory, Report};
use crate::scenario::Scenario;
use crate::script::Script;

/// Opens connections, sends a message on each, and measures the server's memory before and after.
pub fn run(server: &Connector, scenario: &Scenario, raw: bool, pid: Option<i32>) -> Result<Report> {
    let pid = pid.context("the scenario measures memory: `--pid` is required")?;
    allow_files(scenario.conns as u64 + 100)?;
    let script = Rc::new(Script::new(scenario, 1)?);
    let open = || Conn::open(server, Rc::clone(&script), raw, scenario.deflate);
    let mut buffer = vec![0; 64 * 1024];
    // The first connection makes the server allocate what all connections share.
    let mut first = open()?;
    first.round_trip(&mut buffer)?;
    let before = settled(pid)?;
    let started = Moment::now(Some(pid))?;
    let mut conns = (0..scenario.conns).map(|_| open()).collect::<Result<Vec<_>>>()?;
    let opened = settled(pid)?;
    conns.iter_mut().try_for_each(|conn| conn.round_trip(&mut buffer))?;
    let used = settled(pid)?;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / scenario.conns as f64;
    let spent = Moment::now(Some(pid))?.since(&started);
    Ok(Report {
        memory: Some(Memory { open: each(opened), used: each(used) }),
        ..Report::of(scenario.conns as u64, &spent)
    })
}

/// The resident memory of a process, once it no longer changes.
fn settled(pid: i32) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(3);
    let mut last = resident_bytes(pid)?;
    loop {
        sleep(Duration::from_millis(100));
        let now = resident_bytes(pid)?;
        if now == last || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}
