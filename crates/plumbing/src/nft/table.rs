//! The table as the kernel has it, to compare it with what it was when it was made.

use netlink_packet_core::{NLM_F_DUMP, NlasIterator};

use super::ask::{GET_CHAIN, GET_RULE, ask};
use super::encode::{FAMILY, encode, text};
use crate::error::{Error, Result};

/// NFTA_CHAIN_NAME, _HOOK, _POLICY, _TYPE: not its handle, nor how many use it.
const CHAIN_PARTS: [u16; 4] = [3, 4, 5, 7];

/// NFTA_RULE_CHAIN; NFTA_RULE_EXPRESSIONS.
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;

/// The chain and all rules of a table in the kernel's own form, without what changes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Vec<Vec<u8>>);

/// Reads the table; `None` if it or the chain is not there.
pub(super) fn read(table: &str, chain: &str) -> Result<Option<Table>> {
    let what = || format!("read the nftables table inet {table}");
    let attributes = [text(1, table), text(3, chain)].concat();
    let chain = match ask(&encode(GET_CHAIN, 0, 1, FAMILY, 0, &attributes)) {
        Ok(chain) => chain,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) => return Err(Error::new(what(), error)),
    };
    let dump = encode(GET_RULE, NLM_F_DUMP, 1, FAMILY, 0, &text(1, table));
    let rules = ask(&dump).map_err(|error| Error::new(what(), error))?;
    let chains = chain.iter().map(|attributes| parts(attributes, &CHAIN_PARTS));
    let rules = rules.iter().map(|attributes| rule(attributes));
    Ok(Some(Table(chains.chain(rules).collect())))
}

fn parts(attributes: &[u8], kinds: &[u16]) -> Vec<u8> {
    let known = NlasIterator::new(attributes).flatten().filter(|nla| kinds.contains(&nla.kind()));
    known.flat_map(|nla| [&nla.kind().to_ne_bytes(), nla.value()].concat()).collect()
}

/// A rule's chain and expressions, but for the counters' numbers.
fn rule(attributes: &[u8]) -> Vec<u8> {
    let mut all = parts(attributes, &[RULE_CHAIN]);
    let lists = NlasIterator::new(attributes).flatten().filter(|nla| nla.kind() == RULE_EXPRESSIONS);
    for list in lists {
        for expression in NlasIterator::new(list.value()).flatten() {
            let is_counter = NlasIterator::new(expression.value())
                .flatten()
                .any(|nla| nla.kind() == 1 && nla.value() == b"counter\0");
            all.extend_from_slice(if is_counter { b"counter" } else { expression.value() });
        }
    }
    all
}
