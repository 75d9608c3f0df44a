//! A row of the table, with what is known besides.

use datapath::drops::Drop;
use objects::Key;

/// A row, and the Pods that had its addresses when its last packet came.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) drop: Drop,
    pub(super) source: Option<Key>,
    pub(super) destination: Option<Key>,
}
