//! A row of the table, with what is known besides.

use std::time::{Duration, SystemTime};

use datapath::drops::Drop;
use objects::Key;

/// A row, and the Pods that had its addresses when its last packet came.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) drop: Drop,
    pub(super) source: Option<Key>,
    pub(super) destination: Option<Key>,
}

/// The clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// Since boot, as the table has it.
    pub(super) boot: Duration,
    pub(super) wall: SystemTime,
}
