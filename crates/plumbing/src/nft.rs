//! nftables: one small table of our own, replaced as a whole in one transaction.

mod expression;
mod legacy;
mod look;
mod message;
pub(crate) mod ruleset;
pub(crate) mod step;

use ipnet::IpNet;

use crate::Result;
use expression::Expression;
use message::Batch;

pub use look::Table;

/// The table's name, in the family inet (`nft list table inet midonet-kube`).
pub const TABLE: &str = "midonet-kube";

/// The chain in it.
const CHAIN: &str = "postrouting";

/// Pods' packets to the world leave with the node's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    /// Whose packets.
    pub pod_cidrs: Vec<IpNet>,
    /// The interface that leads to Pods: what leaves there stays in the cluster and is left alone.
    pub inside: String,
}

impl Masquerade {
    /// Makes the table say this, and only this: whatever it said before goes in the same transaction.
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

/// The table as the kernel has it now; `None` if it is not there. Equal as long as nobody changed it.
///
/// # Errors
/// The kernel does not tell.
pub fn look() -> Result<Option<Table>> {
    look::read(TABLE, CHAIN)
}

/// Removes the table; none is success.
///
/// # Errors
/// The kernel refuses.
pub fn remove() -> Result<()> {
    let mut batch = Batch::default();
    batch.add_table(TABLE);
    batch.delete_table(TABLE);
    batch.commit("remove the nftables table inet midonet-kube")
}
