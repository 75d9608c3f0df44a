//! What a node enforces of policies, in its status.

use nodeapi::v1;
use serde::Serialize;

use super::services::Table;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policy {
    /// Whether all objects that it is made of are known.
    pub(super) complete: bool,
    /// Whether all that is known is in force.
    pub(super) in_force: bool,
    pub(super) generation: u32,
    pub(super) sets: u32,
    pub(super) classes: u32,
    pub(super) rules: u32,
    pub(super) pods_policed: u32,
    pub(super) pods_closed: u32,
    pub(super) tables: Vec<Table>,
}

impl From<v1::PolicySummary> for Policy {
    fn from(summary: v1::PolicySummary) -> Self {
        Self {
            complete: summary.complete,
            in_force: summary.in_force,
            generation: summary.generation,
            sets: summary.sets,
            classes: summary.classes,
            rules: summary.rules,
            pods_policed: summary.pods_policed,
            pods_closed: summary.pods_closed,
            tables: summary.tables.into_iter().map(Table::from).collect(),
        }
    }
}
