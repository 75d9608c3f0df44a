//! nftables: the table of this project, and reading all rules.
//!
//! The rules of the table ([`Rules`]) change seldom and are replaced as a whole, in one transaction. What changes often
//! are elements of its sets ([`Element`]): they are added and removed one by one.

mod ask;
mod batch;
mod element;
mod encode;
mod expression;
mod legacy;
mod others;
pub(crate) mod read;
mod rules;
pub(crate) mod ruleset;
mod set;
pub(crate) mod step;
mod table;

use crate::error::Result;
use batch::Batch;

pub use element::{Element, Elements, change, elements};
pub use others::{
    Chain, LegacyChain, Removal, TableName, chains, delete_table, legacy_chains, plan_removal, tables,
};
pub use read::generation;
pub use rules::{LocalServices, Rules};
pub use table::Table;

/// The table's name, in the family inet (`nft list table inet midonet-kube`).
pub const TABLE: &str = "midonet-kube";

/// Its chains.
const POSTROUTING: &str = "postrouting";
const OUTPUT: &str = "output";

/// The rules, chains and sets of the table as the kernel has them; `None` if there is no table. Equal as long as nobody
/// changed them; the elements of sets are not part of it.
///
/// # Errors
/// The kernel does not answer.
pub fn find() -> Result<Option<Table>> {
    table::read(TABLE, POSTROUTING, &[OUTPUT])
}

/// Deletes the table; none is success.
///
/// # Errors
/// The kernel refuses.
pub fn delete() -> Result<()> {
    let mut batch = Batch::default();
    batch.add_table(TABLE);
    batch.delete_table(TABLE);
    batch.commit("delete the nftables table inet midonet-kube")
}
