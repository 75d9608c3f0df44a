//! Flows told to others: a line of the file of flows, and a record for an OpenTelemetry collector, for each one that is over,
//! and now and then for one that goes on.

use std::time::Duration;

use model::Problem;

use super::flow::Flow;
use super::line::Line;
use super::otlp::{self, Queue};
use crate::clock::Clock;
use crate::config::FlowLog;
use crate::outcomes::{Outcome, Outcomes};
use crate::rotated::Rotated;

/// How often one that goes on is told.
const EVERY: Duration = Duration::from_secs(60);

/// How many lines wait to be written: those of one look.
const WAITING: usize = 65_536;

/// Whom flows are told to.
#[derive(Debug)]
pub(super) struct Export {
    node: String,
    file: Option<File>,
    collector: Option<Queue>,
}

/// The file, and what is to be written to it.
#[derive(Debug)]
struct File {
    file: Rotated,
    lines: Vec<String>,
    outcomes: Outcomes,
    /// What was wrong when lines were written last.
    problem: Option<Problem>,
}

impl Export {
    /// To the file that is wanted, whose lines are counted there, and to who sends on what is in the queue.
    pub(super) fn new(node: &str, log: &FlowLog, outcomes: &Outcomes, collector: Option<Queue>) -> Self {
        let file = log.file.as_deref().map(|path| File {
            file: Rotated::new(path, log.size.0, log.files),
            lines: Vec::new(),
            outcomes: outcomes.clone(),
            problem: None,
        });
        Self { node: node.to_owned(), file, collector }
    }

    /// Tells of a flow: for the last time, or if it goes on and was not told of for a while.
    pub(super) fn tell(&mut self, flow: &mut Flow, last: bool) {
        if self.file.is_none() && self.collector.is_none() {
            return;
        }
        let since = flow.written.max(flow.record.began);
        if !last && flow.record.last.saturating_sub(since) < EVERY {
            return;
        }
        let line = Line::new(&self.node, flow, last, Clock::now());
        if let Some(file) = &mut self.file {
            file.add(&line);
        }
        if let Some(collector) = &self.collector {
            collector.add(otlp::record(&line));
        }
        flow.written = flow.record.last;
    }

    /// Writes the lines. What cannot be written is counted and gone: the flows stay in memory. Returns what is wrong.
    pub(super) fn write(&mut self) -> Vec<Problem> {
        let collector = self.collector.as_ref().and_then(Queue::problem);
        self.file.as_mut().and_then(File::write).into_iter().chain(collector).collect()
    }
}

impl File {
    fn add(&mut self, line: &Line<'_>) {
        if self.lines.len() >= WAITING {
            self.outcomes.add(Outcome::Limited, 1);
            return;
        }
        self.lines.push(line.json());
    }

    fn write(&mut self) -> Option<Problem> {
        let lines = std::mem::take(&mut self.lines);
        let (written, result) = self.file.append(&lines);
        self.outcomes.add(Outcome::Written, written);
        self.outcomes.add(Outcome::Failed, lines.len().saturating_sub(written));
        if let Err(error) = result {
            self.problem = Some(Problem::new(
                "flow_log",
                format!("the file of flows {}", self.file.path().display()),
                format!("flows are not written: {error}"),
                "free space, remove what is in its place, or give another --flow-log: the agent tries again by itself",
            ));
        } else if written > 0 {
            self.problem = None;
        }
        // A file that can be opened may still have no space for a line: that shows when there is one.
        self.problem.clone()
    }
}
