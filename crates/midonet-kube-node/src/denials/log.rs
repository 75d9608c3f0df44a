//! The deny log: which drops get a line, and what is said of the others.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use datapath::drops::Drop;
use model::Problem;

use super::bucket::Bucket;
use super::denial::Denial;
use super::differences::{Difference, Differences};
use super::line;
use crate::outcomes::{Outcome, Outcomes};
use crate::rotated::Rotated;

/// The log of a node.
#[derive(Debug)]
pub(super) struct DenyLog {
    node: String,
    file: Rotated,
    rate: Bucket,
    outcomes: Outcomes,
    /// Lines that are missing, and not said to be.
    missing: u64,
    /// Packets that were counted, less those in lines. It is below zero while the counters lag behind the table.
    untold: i64,
    /// Why it cannot be written.
    error: Option<String>,
}

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits<'a> {
    /// Where it is.
    pub(super) path: &'a Path,
    /// How long a file gets, in bytes.
    pub(super) size: u64,
    /// How many former files are kept.
    pub(super) files: u32,
    /// Lines a second.
    pub(super) rate: u32,
}

impl DenyLog {
    /// The log of the node of this name.
    pub(super) fn new(
        node: &str,
        Limits { path, size, files, rate }: Limits<'_>,
        outcomes: &Outcomes,
    ) -> Self {
        Self {
            node: node.to_owned(),
            file: Rotated::new(path, size, files),
            rate: Bucket::new(rate, Duration::from_secs(1) / rate.max(1)),
            outcomes: outcomes.clone(),
            missing: 0,
            untold: 0,
            error: None,
        }
    }

    /// Writes what was found, in this order, as much as may be; says how much is missing. `counted` packets were denied since
    /// the last time: those of rows that were evicted before anybody saw them are in no row.
    pub(super) fn write(
        &mut self,
        found: &[Difference],
        differences: &mut Differences,
        counted: u64,
        (now, time): (Instant, SystemTime),
        name: impl Fn(&Drop, u64) -> Denial,
    ) {
        if found.is_empty() && counted == 0 {
            // The table is not ahead of the counters any more: what seemed so was not counted at all.
            self.untold = self.untold.max(0);
        }
        self.untold = self.untold.saturating_add(signed(counted));
        let (mut lines, mut chosen) = (Vec::new(), Vec::new());
        let mut limited = 0;
        for one in found {
            if self.rate.take(now) {
                lines.push(line::line(&self.node, time, &name(&one.row, one.untold)));
                chosen.push(one);
            } else {
                limited += 1;
            }
        }
        let untold = chosen.iter().fold(self.untold, |left, one| left.saturating_sub(signed(one.untold)));
        let missing = self.missing.saturating_add(limited);
        if missing > 0 || untold > 0 {
            let packets = u64::try_from(untold).unwrap_or(0);
            lines.push(line::missing(&self.node, time, missing, packets));
        }
        let (written, result) = self.file.append(&lines);
        let told = chosen.iter().take(written);
        for one in told.clone() {
            differences.tell(one);
            self.untold = self.untold.saturating_sub(signed(one.untold));
        }
        let (told, failed) = (told.len(), chosen.len().saturating_sub(written));
        self.missing = self.missing.saturating_add(limited).saturating_add(failed as u64);
        if written > chosen.len() {
            self.missing = 0;
            self.untold = self.untold.min(0);
            differences.tell_all();
        }
        self.outcomes.add(Outcome::Written, told);
        self.outcomes.add(Outcome::Limited, usize::try_from(limited).unwrap_or(usize::MAX));
        self.outcomes.add(Outcome::Failed, failed);
        self.error = result.err().map(|error| error.to_string());
    }

    /// Why it cannot be written, if it cannot.
    pub(super) fn problem(&self) -> Option<Problem> {
        let error = self.error.as_ref()?;
        Some(Problem::new(
            "deny_log",
            format!("the deny log {}", self.file.path().display()),
            format!("what is dropped is not logged: {error}"),
            "free space, remove what is in its place, or give another --deny-log: the agent tries again by itself",
        ))
    }
}

fn signed(packets: u64) -> i64 {
    i64::try_from(packets).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
