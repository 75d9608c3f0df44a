//! Tables and chains of other programs: which there are, and removing some of them by name.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{GET_CHAIN, GET_RULE};
use super::batch::{Batch, DELETE_TABLE};
use super::encode::{attribute, text};
use super::legacy;
use super::read::{dump, number};
use super::step::{Fields, Step, Verdict, steps};
use crate::error::Result;

/// NFT_MSG_* of NFNL_SUBSYS_NFTABLES.
const GET_TABLE: u16 = (10 << 8) | 1;
const DELETE_CHAIN: u16 = (10 << 8) | 5;
const DELETE_RULE: u16 = (10 << 8) | 8;

/// So many requests are one transaction: the kernel's answers to them fit into the socket's buffer.
const TRANSACTION: usize = 200;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// `ip`, `ip6` or `inet`, as `nft` prints it.
    pub family: &'static str,
    /// Its name.
    pub name: String,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub name: String,
    /// Whether the kernel has packets pass it (a base chain), and not only rules of other chains.
    pub is_base: bool,
}

/// A chain that iptables made without nf_tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LegacyChain {
    /// `iptables-legacy` or `ip6tables-legacy`.
    pub program: &'static str,
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub name: String,
}

/// What [`delete_chains`] does, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// The chains that go.
    pub chains: Vec<String>,
    /// In which other chains there are rules that lead to one of these and go with them, one for each rule.
    pub jumps: Vec<String>,
    /// The chains that stay, each with one that leads there and is not to go.
    pub kept: Vec<(String, String)>,
    requests: Vec<(u16, Vec<u8>)>,
    family: u8,
}

/// All tables of the families ip, ip6 and inet.
///
/// # Errors
/// The kernel does not answer. Without nf_tables there are none.
pub fn tables() -> Result<Vec<TableName>> {
    let mut tables = Vec::new();
    for family in FAMILIES {
        for table in dump("read the nftables tables", GET_TABLE, number(family), &[])? {
            tables.extend(Fields(&table).text(1).map(|name| TableName { family, name }));
        }
    }
    Ok(tables)
}

/// All chains of these tables' families.
///
/// # Errors
/// As [`tables`].
pub fn chains() -> Result<Vec<Chain>> {
    let mut chains = Vec::new();
    for family in FAMILIES {
        for chain in dump("read the nftables chains", GET_CHAIN, number(family), &[])? {
            let fields = Fields(&chain);
            let (Some(table), Some(name)) = (fields.text(1), fields.text(3)) else { continue };
            let is_base = fields.bytes(4).is_some();
            chains.push(Chain { table: TableName { family, name: table }, name, is_base });
        }
    }
    Ok(chains)
}

/// All chains that iptables-legacy's users made in the tables nat, filter and mangle.
///
/// # Errors
/// The kernel does not answer.
pub fn legacy_chains() -> Result<Vec<LegacyChain>> {
    let chains = legacy::chains(&["nat", "filter", "mangle"])?;
    let chain = |(program, table, name)| LegacyChain { program, table, name };
    Ok(chains.into_iter().map(chain).collect())
}

/// Deletes a table with everything in it.
///
/// # Errors
/// The kernel refuses; there is no such table.
pub fn delete_table(table: &TableName) -> Result<()> {
    let mut batch = Batch::default();
    batch.add_of(number(table.family), DELETE_TABLE, &text(1, &table.name));
    batch.commit(&format!("delete the nftables table {} {}", table.family, table.name))
}

/// What has to go with the chains of a table that `goes` names: the rules of base chains that lead to them. A chain stays
/// to which a rule of another program's chain leads, and so does what that chain leads to.
///
/// # Errors
/// The kernel does not answer.
pub fn plan_removal(table: &TableName, chains: &[Chain], goes: impl Fn(&str) -> bool) -> Result<Removal> {
    let family = number(table.family);
    let here = || chains.iter().filter(|chain| chain.table == *table);
    let mut going: BTreeSet<&str> =
        here().map(|chain| chain.name.as_str()).filter(|name| goes(name)).collect();
    let (mut jumps, mut kept) = (BTreeMap::new(), Vec::new());
    let mut needed = Vec::new();
    for chain in here().filter(|chain| !goes(&chain.name)) {
        for (handle, to) in rules(table, &chain.name)? {
            if chain.is_base {
                jumps.insert((chain.name.as_str(), handle), to);
            } else {
                needed.extend(to.into_iter().map(|to| (to, chain.name.clone())));
            }
        }
    }
    while let Some((name, by)) = needed.pop() {
        if going.remove(name.as_str()) {
            let leads = rules(table, &name)?.into_iter().flat_map(|(_, to)| to);
            needed.extend(leads.map(|to| (to, name.clone())));
            kept.push((name, by));
        }
    }
    jumps.retain(|_, to| to.iter().any(|to| going.contains(to.as_str())));
    kept.sort();
    let chain = |name: &str, number: u16| [text(1, &table.name), text(number, name)].concat();
    let of_jump = |(name, handle): &(&str, Vec<u8>)| [chain(name, 2), attribute(3, handle)].concat();
    let requests = jumps.keys().map(|jump| (DELETE_RULE, of_jump(jump)));
    // First all rules, so that none leads to a chain that is being deleted.
    let requests = requests.chain(going.iter().map(|name| (DELETE_RULE, chain(name, 2))));
    let requests = requests.chain(going.iter().map(|name| (DELETE_CHAIN, chain(name, 3)))).collect();
    Ok(Removal {
        jumps: jumps.keys().map(|(chain, _)| (*chain).to_owned()).collect(),
        chains: going.into_iter().map(str::to_owned).collect(),
        kept,
        requests,
        family,
    })
}

impl Removal {
    /// Does it: in one transaction, if there are few chains; else packets are led there no more from the first on.
    ///
    /// # Errors
    /// The kernel refuses: somebody changed these chains meanwhile.
    pub fn execute(&self, table: &TableName) -> Result<()> {
        for requests in self.requests.chunks(TRANSACTION) {
            let mut batch = Batch::default();
            for (kind, attributes) in requests {
                batch.add_of(self.family, *kind, attributes);
            }
            batch.commit(&format!("delete chains of the nftables table {} {}", table.family, table.name))?;
        }
        Ok(())
    }
}

const FAMILIES: [&str; 3] = ["ip", "ip6", "inet"];

/// A chain's rules: the handle of each, and the chains that it leads to by itself.
fn rules(table: &TableName, chain: &str) -> Result<Vec<(Vec<u8>, Vec<String>)>> {
    let what = format!("read the rules of the nftables chain {} {} {chain}", table.family, table.name);
    let about = [text(1, &table.name), text(2, chain)].concat();
    let found = dump(&what, GET_RULE, number(table.family), &about)?;
    let rule = |rule: Vec<u8>| {
        let fields = Fields(&rule);
        let steps = steps(fields.bytes(4).unwrap_or_default());
        let to = steps.into_iter().filter_map(|step| match step {
            Step::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => Some(to),
            _ => None,
        });
        Some((fields.bytes(3)?.to_vec(), to.collect()))
    };
    Ok(found.into_iter().filter_map(rule).collect())
}
