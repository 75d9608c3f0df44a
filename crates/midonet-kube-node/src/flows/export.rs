//! The file of flows: a line of JSON for each one that is over, and now and then for one that goes on.

use std::path::Path;
use std::time::Duration;

use model::Problem;

use super::flow::Flow;
use super::line::line;
use crate::clock::Clock;
use crate::config::FlowLog;
use crate::outcomes::{Outcome, Outcomes};
use crate::rotated::Rotated;

/// How often one that goes on has a line.
const EVERY: Duration = Duration::from_secs(60);

/// How many lines wait to be written: those of one look.
const WAITING: usize = 65_536;

/// The file, and what is to be written to it.
#[derive(Debug)]
pub(super) struct Export {
    node: String,
    file: Rotated,
    lines: Vec<String>,
    outcomes: Outcomes,
}

impl Export {
    pub(super) fn new(node: &str, path: &Path, log: &FlowLog, outcomes: &Outcomes) -> Self {
        let file = Rotated::new(path, log.size.0, log.files);
        Self { node: node.to_owned(), file, lines: Vec::new(), outcomes: outcomes.clone() }
    }

    /// Whether a flow that goes on is to have a line again.
    pub(super) fn is_due(&self, flow: &Flow) -> bool {
        let since = flow.written.max(flow.record.began);
        flow.record.last.saturating_sub(since) >= EVERY
    }

    /// Adds a line, the last one of its flow or not.
    pub(super) fn add(&mut self, flow: &Flow, last: bool) {
        if self.lines.len() >= WAITING {
            self.outcomes.add(Outcome::Limited, 1);
            return;
        }
        self.lines.push(line(&self.node, flow, last, Clock::now()));
    }

    /// Writes them. What cannot be written is counted and gone: the flows stay in memory. Returns what is wrong.
    pub(super) fn write(&mut self) -> Option<Problem> {
        let lines = std::mem::take(&mut self.lines);
        let (written, result) = self.file.append(&lines);
        self.outcomes.add(Outcome::Written, written);
        self.outcomes.add(Outcome::Failed, lines.len().saturating_sub(written));
        let error = result.err()?;
        Some(Problem::new(
            "flow_log",
            format!("the file of flows {}", self.file.path().display()),
            format!("flows are not written: {error}"),
            "free space, remove what is in its place, or give another --flow-log: the agent tries again by itself",
        ))
    }
}
