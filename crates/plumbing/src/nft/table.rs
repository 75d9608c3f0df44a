//! The table as the kernel has it, to compare it with what it was when it was made.

use netlink_packet_core::{NLM_F_DUMP, NlasIterator};

use super::ask::{GET_CHAIN, GET_RULE, ask};
use super::encode::{FAMILY, encode, text};
use super::read::GET_SET;
use crate::error::{Error, Result};

/// NFTA_CHAIN_NAME, _HOOK, _POLICY, _TYPE: not its handle, nor how many use it.
const CHAIN_PARTS: [u16; 4] = [3, 4, 5, 7];

/// NFTA_SET_NAME, _FLAGS, _KEY_TYPE, _KEY_LEN, _DATA_TYPE, _DATA_LEN.
const SET_PARTS: [u16; 6] = [2, 3, 4, 5, 6, 7];

/// NFTA_RULE_CHAIN; NFTA_RULE_EXPRESSIONS.
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;

/// The chains, sets and all rules of a table in the kernel's own form, without what changes by itself, and without the
/// elements of sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Vec<Vec<u8>>);

/// Reads the table with its chains; `None` if it or the first of them is not there.
pub(super) fn read(table: &str, chain: &str, others: &[&str]) -> Result<Option<Table>> {
    let failed = |error| Error::new(format!("read the nftables table inet {table}"), error);
    let one = |chain: &str| {
        let attributes = [text(1, table), text(3, chain)].concat();
        match ask(&encode(GET_CHAIN, 0, 1, FAMILY, 0, &attributes)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            other => other.map(Some).map_err(failed),
        }
    };
    let all = |kind| ask(&encode(kind, NLM_F_DUMP, 1, FAMILY, 0, &text(1, table))).map_err(failed);
    let Some(mut chains) = one(chain)? else { return Ok(None) };
    for chain in others {
        chains.extend(one(chain)?.into_iter().flatten());
    }
    let chains = chains.iter().map(|attributes| parts(attributes, &CHAIN_PARTS));
    let (sets, rules) = (all(GET_SET)?, all(GET_RULE)?);
    let sets = sets.iter().map(|attributes| parts(attributes, &SET_PARTS));
    let rules = rules.iter().map(|attributes| rule(attributes));
    Ok(Some(Table(chains.chain(sets).chain(rules).collect())))
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
