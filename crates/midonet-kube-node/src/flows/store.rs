//! The flows of the last hour, as many as there is space for, in the order of their last change.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use datapath::records::Record;

use super::flow::{Flow, Identity};

/// How long a flow is kept after its last packet.
const KEPT: Duration = Duration::from_secs(3600);

/// How many flows a page has: some MiB as a message.
const PAGE: usize = 4096;

/// The flows that changed after a moment.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) flows: Vec<Flow>,
    /// Where the next page begins.
    pub(crate) next: u64,
    /// Whether there is one by now.
    pub(crate) more: bool,
}

/// The flows.
#[derive(Debug)]
pub(super) struct Store {
    space: usize,
    flows: HashMap<Identity, (u64, Flow)>,
    /// By the number of their last change: the first is the one that nothing was heard of for longest.
    changes: BTreeMap<u64, Identity>,
    /// The number of the last change.
    last: u64,
    dropped: u64,
}

impl Store {
    /// An empty one with space for so many; at least one.
    pub(super) fn new(space: usize) -> Self {
        let (flows, changes) = (HashMap::new(), BTreeMap::new());
        Self { space: space.max(1), flows, changes, last: 0, dropped: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn space(&self) -> usize {
        self.space
    }

    /// How many had to go for others before their time.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The flow of a record, as it was last.
    pub(super) fn get(&self, record: &Record) -> Option<&Flow> {
        self.flows.get(&Flow::identity(record)).map(|(_, flow)| flow)
    }

    /// Adds a flow, or puts it in the place of what was known of it. Whoever nothing was heard of for longest may have to go.
    pub(super) fn put(&mut self, flow: Flow) {
        let identity = Flow::identity(&flow.record);
        self.last += 1;
        if let Some((change, _)) = self.flows.insert(identity, (self.last, flow)) {
            self.changes.remove(&change);
        }
        self.changes.insert(self.last, identity);
        while self.flows.len() > self.space {
            let Some((_, oldest)) = self.changes.pop_first() else { return };
            self.flows.remove(&oldest);
            self.dropped += 1;
        }
    }

    /// Forgets what had its last packet more than an hour ago.
    pub(super) fn expire(&mut self, now: Duration) {
        let changes = &mut self.changes;
        self.flows.retain(|_, (change, flow)| {
            let stays = now.saturating_sub(flow.record.last) <= KEPT;
            if !stays {
                changes.remove(change);
            }
            stays
        });
    }

    /// The flows that go on as far as is known.
    pub(super) fn unended(&self) -> impl Iterator<Item = (&Identity, &Flow)> {
        self.flows.iter().map(|(identity, (_, flow))| (identity, flow)).filter(|(_, flow)| !flow.ended)
    }

    /// Those that changed after that number; with `since` only those with a packet in so much time before now.
    pub(super) fn page(&self, after: u64, since: Option<Duration>, now: Duration) -> Page {
        let Some(first) = after.checked_add(1) else { return Page { next: after, ..Page::default() } };
        // Of a store before this one, or of nobody: from the beginning.
        let first = if after > self.last { 0 } else { first };
        let mut page = Page { next: self.last, ..Page::default() };
        for (change, identity) in self.changes.range(first..) {
            let Some((_, flow)) = self.flows.get(identity) else { continue };
            if since.is_some_and(|since| now.saturating_sub(flow.record.last) > since) {
                continue;
            }
            if page.flows.len() == PAGE {
                page.more = true;
                return page;
            }
            page.flows.push(flow.clone());
            page.next = *change;
        }
        page.next = self.last;
        page
    }
}

#[cfg(test)]
mod tests;
