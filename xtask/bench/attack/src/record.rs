//! What was measured during a long load, and does it show a leak?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::runtime::Handle;

use crate::plot::Line;
use crate::target::{Target, status};

/// How long connections, files and tasks may take to end.
const LIMIT: Duration = Duration::from_secs(30);

/// What was measured, once per second.
pub(crate) struct Record {
    began: Instant,
    /// In minutes.
    pub(crate) times: Vec<f64>,
    /// Resident memory in MiB, of each server and of the clients.
    pub(crate) memory: Vec<Line>,
    /// Files and tasks of each server before the load.
    start: Vec<(usize, usize)>,
    open: usize,
    tasks: usize,
}

impl Record {
    pub(crate) fn new(targets: &mut [Target]) -> Result<Self> {
        let mut memory: Vec<_> = targets.iter().map(|it| Line::new(&it.name)).collect();
        memory.push(Line::new("clients"));
        let start: Result<_> =
            targets.iter_mut().map(|it| Ok((it.files()?, it.stats()?.tasks))).collect();
        let (times, began) = (Vec::new(), Instant::now());
        Ok(Self { began, times, memory, start: start?, open: 0, tasks: 0 })
    }

    pub(crate) fn sample(&mut self, targets: &mut [Target], handle: &Handle) -> Result<()> {
        self.times.push(self.began.elapsed().as_secs_f64() / 60.0);
        self.open = 0;
        for (target, line) in targets.iter_mut().zip(&mut self.memory) {
            line.values.push(target.memory()? as f64 / 1024.0);
            self.open += target.stats()?.open;
            let (panics, first) = target.panics()?;
            ensure!(panics == 0, "{} has panicked: {first}", target.name);
        }
        if let Some(line) = self.memory.last_mut() {
            let own = std::process::id().cast_signed();
            line.values.push(status(own, "VmRSS:")? as f64 / 1024.0);
        }
        self.tasks = handle.metrics().num_alive_tasks();
        Ok(())
    }

    pub(crate) fn line(&self, finished: &str) -> String {
        let memory = self.memory.iter().filter_map(|it| it.values.last()).sum::<f64>();
        format!(
            "{:>5.1} min: {finished}; {} open, {} client tasks; {memory:.0} MiB",
            self.began.elapsed().as_secs_f64() / 60.0,
            self.open,
            self.tasks,
        )
    }

    /// After the load: nothing is open, and memory did not grow in the second half.
    pub(crate) fn judge(&self, targets: &mut [Target]) -> Result<()> {
        for (target, (files, tasks)) in targets.iter_mut().zip(&self.start) {
            target.wait_open(0, LIMIT)?;
            let left = target.wait_files(*files, LIMIT)?.saturating_sub(*files);
            ensure!(left == 0, "{}: {left} files are left", target.name);
            // Those of sessions and devices that wait for their clients end later.
            let left = target.wait_tasks(*tasks, LIMIT)?.saturating_sub(*tasks);
            ensure!(left == 0, "{}: {left} tasks are left", target.name);
        }
        for Line { name, values } in &self.memory {
            let quarter = values.len() / 4;
            let middle = mean(&values[quarter..2 * quarter]);
            let last = mean(&values[3 * quarter..]);
            println!("{name}: {middle:.1} MiB in the second quarter, {last:.1} MiB in the last");
            ensure!(last < middle * 1.15 + 3.0, "the memory of {name} grows");
        }
        println!("no connection, file or task is left, and memory is flat");
        Ok(())
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len().max(1)) as f64
}
