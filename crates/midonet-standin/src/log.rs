use std::collections::{BTreeMap, VecDeque};

/// So many of the last requests are kept with their paths.
const KEPT: usize = 10_000;

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its method.
    pub method: String,
    /// Its path below the base URL, with the query.
    pub path: String,
    /// What it is for, see [`crate::resource_of`].
    pub resource: &'static str,
    /// The status of the answer, 0 if there was none.
    pub status: u16,
}

/// The requests that arrived.
#[derive(Debug, Clone, Default)]
pub struct Log {
    counts: BTreeMap<(String, &'static str, u16), u64>,
    last: VecDeque<Entry>,
}

impl Log {
    pub(crate) fn add(&mut self, entry: Entry) {
        *self.counts.entry((entry.method.clone(), entry.resource, entry.status)).or_default() += 1;
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(entry);
    }

    /// How many there were of each method, resource and status; 0 is the status of what was not answered.
    pub fn counts(&self) -> &BTreeMap<(String, &'static str, u16), u64> {
        &self.counts
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many there were of this method and resource, whatever the status.
    pub fn count(&self, method: &str, resource: &str) -> u64 {
        let fitting = self.counts.iter().filter(|((of, name, _), _)| of == method && *name == resource);
        fitting.map(|(_, count)| count).sum()
    }

    /// How many were answered with this status; 0: were not answered.
    pub fn with_status(&self, status: u16) -> u64 {
        self.counts.iter().filter(|((.., of), _)| *of == status).map(|(_, count)| count).sum()
    }

    /// The last of them, at most ten thousand, the oldest first.
    pub fn last(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.last.iter()
    }
}
