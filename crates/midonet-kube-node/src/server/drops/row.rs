//! A row of the table, with what is known besides.

use datapath::drops::Drop;
use objects::Key;

use crate::ends::Who;

/// A row, and who is at its ends.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) drop: Drop,
    pub(super) source: Option<Who>,
    pub(super) destination: Option<Who>,
    /// The Services of which the destination is an endpoint.
    pub(super) endpoint_of: Vec<Key>,
}

impl Row {
    /// The Pods at its ends.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Key> {
        self.source.iter().chain(&self.destination).filter_map(Who::pod)
    }
}
