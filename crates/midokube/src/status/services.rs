//! What a node serves of Services, in its status.

use nodeapi::v1;
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Services {
    /// Whether all Services and their endpoints are known.
    pub(super) complete: bool,
    pub(super) services: u32,
    pub(super) ports: u32,
    pub(super) backends: u32,
    pub(super) ports_without_backends: u32,
    pub(super) tables: Vec<Table>,
}

/// A table of the datapath that can get full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) used: u64,
    pub(super) limit: u64,
}

impl From<v1::ServiceSummary> for Services {
    fn from(summary: v1::ServiceSummary) -> Self {
        let v1::ServiceSummary { complete, services, ports, backends, ports_without_backends, tables } =
            summary;
        let tables = tables.into_iter().map(Table::from).collect();
        Self { complete, services, ports, backends, ports_without_backends, tables }
    }
}

impl From<v1::Table> for Table {
    fn from(v1::Table { name, used, limit }: v1::Table) -> Self {
        Self { name, used, limit }
    }
}
