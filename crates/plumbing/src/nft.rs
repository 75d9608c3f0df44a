//! nftables: the table of this project, which is replaced as a whole in one transaction; and reading all rules.

mod ask;
mod batch;
mod encode;
mod expression;
mod legacy;
mod others;
pub(crate) mod read;
pub(crate) mod ruleset;
pub(crate) mod step;
mod table;

use ipnet::IpNet;

use crate::error::Result;
use batch::Batch;
use expression::Expression;

pub use others::{
    Chain, LegacyChain, Removal, TableName, chains, delete_table, legacy_chains, plan_removal, tables,
};
pub use read::generation;
pub use table::Table;

/// The table's name, in the family inet (`nft list table inet midonet-kube`).
pub const TABLE: &str = "midonet-kube";

/// The chain in it.
const CHAIN: &str = "postrouting";

/// Packets of Pods to the outside get the node's own address as their source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    /// The addresses of these Pods.
    pub pod_cidrs: Vec<IpNet>,
    /// The interface that leads to Pods: packets that leave there are not masqueraded.
    pub inside: String,
}

impl Masquerade {
    /// Creates the table, or replaces it in one transaction.
    ///
    /// # Errors
    /// The kernel refuses; it may lack nf_tables or its NAT.
    pub fn apply(&self) -> Result<()> {
        let mut batch = Batch::default();
        batch.add_table(TABLE);
        batch.delete_table(TABLE);
        batch.add_table(TABLE);
        batch.add_source_nat_chain(TABLE, CHAIN);
        for cidr in &self.pod_cidrs {
            batch.add_rule(TABLE, CHAIN, &self.rule(*cidr));
        }
        batch.commit("replace the nftables table inet midonet-kube")
    }

    fn rule(&self, source: IpNet) -> Vec<Expression> {
        let mut rule = Expression::source_in(source);
        rule.extend(Expression::output_interface_is_not(&self.inside));
        rule.extend([Expression::Counter, Expression::Masquerade]);
        rule
    }
}

/// The table as the kernel has it; `None` if there is none. Equal as long as nobody changed it.
///
/// # Errors
/// The kernel does not answer.
pub fn find() -> Result<Option<Table>> {
    table::read(TABLE, CHAIN)
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
