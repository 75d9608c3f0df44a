//! Reading all rules.

use std::io;

use netlink_packet_core::NLM_F_DUMP;

use super::ask::{GET_CHAIN, GET_RULE, ask};
use super::encode::{encode, text};
use super::legacy;
use super::ruleset::{Base, Element, Ruleset, Set, Table};
use super::step::{Fields, Step, Verdict, attributes, steps};
use crate::error::{Error, Result};

/// NFT_MSG_GETSET, NFT_MSG_GETSETELEM and NFT_MSG_GETGEN of NFNL_SUBSYS_NFTABLES.
pub(super) const GET_SET: u16 = (10 << 8) | 10;
pub(super) const GET_ELEMENTS: u16 = (10 << 8) | 13;
const GET_GENERATION: u16 = (10 << 8) | 16;

/// How often a dump that changes while it is read is read again.
const TRIES: usize = 10;

/// The most chains, rules and elements that are read.
const MOST: usize = 50_000;

/// NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET.
const FAMILIES: [(u8, &str); 3] = [(2, "ip"), (10, "ip6"), (1, "inet")];

/// NFT_SET_INTERVAL.
const INTERVAL: u32 = 4;

/// NFT_SET_ELEM_INTERVAL_END and _CATCHALL.
const INTERVAL_END: u32 = 1;
const CATCHALL: u32 = 2;

/// The generation of the ruleset: it grows with each change. `None`: the kernel has no nf_tables.
///
/// # Errors
/// The kernel does not answer.
pub fn generation() -> Result<Option<u32>> {
    match ask(&encode(GET_GENERATION, 0, 1, 0, 0, &[])) {
        Ok(answer) => Ok(answer.first().and_then(|attributes| Fields(attributes).word(1))),
        Err(error) if is_without(&error) => Ok(None),
        Err(error) => Err(Error::new("read the generation of the nftables ruleset", error)),
    }
}

/// Whether there may be rules of iptables-legacy.
pub(crate) fn has_legacy() -> bool {
    legacy::is_there()
}

/// Reads what filters at these hooks (NF_INET_*).
pub(crate) fn read(hooks: &[u32]) -> Result<Ruleset> {
    let mut ruleset = Ruleset::default();
    legacy::read(&mut ruleset, hooks)?;
    for (family, name) in FAMILIES {
        for chain in dump("read the nftables chains", GET_CHAIN, family, &[])? {
            ruleset.add_chain(name, &Fields(&chain), hooks);
        }
    }
    let mut todo: Vec<_> = ruleset
        .base
        .iter()
        .filter(|base| !base.is_legacy())
        .map(|base| (base.table.clone(), base.chain.clone()))
        .collect();
    let mut rules = 0;
    while let Some((table, chain)) = todo.pop() {
        if rules > MOST || ruleset.chains.contains_key(&(table.clone(), chain.clone())) {
            continue;
        }
        let what = format!("read the rules of the nftables chain {} {} {chain}", table.0, table.1);
        let attributes = [text(1, &table.1), text(2, &chain)].concat();
        let found = dump(&what, GET_RULE, number(table.0), &attributes)?;
        let found: Vec<_> =
            found.iter().map(|rule| steps(Fields(rule).bytes(4).unwrap_or_default())).collect();
        rules += found.len();
        for step in found.iter().flatten() {
            match step {
                Step::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => {
                    todo.push((table.clone(), to.clone()));
                }
                Step::Lookup { set, .. } => todo.extend(ruleset.add_set(&table, set)?),
                _ => {}
            }
        }
        ruleset.chains.insert((table, chain), found);
    }
    Ok(ruleset)
}

impl Ruleset {
    fn add_chain(&mut self, family: &'static str, chain: &Fields<'_>, hooks: &[u32]) {
        let (Some(table), Some(name)) = (chain.text(1), chain.text(3)) else { return };
        let table = (family, table);
        self.names.insert((table.clone(), name.clone()));
        let hook = chain.bytes(4).and_then(|hook| Fields(hook).word(1));
        let Some(hook) = hook.filter(|hook| hooks.contains(hook)) else { return };
        // Translation sees a connection's first packet alone, and does not drop.
        if chain.text(7).as_deref() == Some("nat") {
            return;
        }
        let drops = chain.word(5) == Some(0);
        self.base.push(Base { table, chain: name, hook, drops });
    }

    /// Reads a set, if it is not known; returns the chains that it leads to.
    fn add_set(&mut self, table: &Table, name: &str) -> Result<Vec<(Table, String)>> {
        let key = (table.clone(), name.to_owned());
        if self.sets.contains_key(&key) {
            return Ok(Vec::new());
        }
        let what = || format!("read the nftables set {} {} {name}", table.0, table.1);
        let about = [text(1, &table.1), text(2, name)].concat();
        let family = number(table.0);
        let flags = match ask(&encode(GET_SET, 0, 1, family, 0, &about)) {
            Ok(answer) => answer.first().and_then(|set| Fields(set).word(3)).unwrap_or_default(),
            Err(error) => return Err(Error::new(what(), error)),
        };
        let mut set = Set { interval: flags & INTERVAL != 0, ..Set::default() };
        for list in dump(&what(), GET_ELEMENTS, family, &about)? {
            let list = Fields(&list);
            for (_, element) in attributes(list.bytes(3).unwrap_or_default()) {
                set.add(&Fields(element));
            }
        }
        let chains = set.elements.values().filter_map(|element| match &element.verdict {
            Some(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some((table.clone(), chain.clone())),
            _ => None,
        });
        let chains = chains.collect();
        self.sets.insert(key, set);
        Ok(chains)
    }
}

impl Set {
    fn add(&mut self, element: &Fields<'_>) {
        let flags = element.word(3).unwrap_or_default();
        let key = element.value(1);
        // An interval of concatenated keys (NFTA_SET_ELEM_KEY_END), or one that any key finds.
        let is_plain = flags & CATCHALL == 0 && element.bytes(10).is_none();
        match key.filter(|_| is_plain && self.elements.len() < MOST) {
            Some(key) => {
                let end = flags & INTERVAL_END != 0;
                let found = Element { end, value: element.value(2), verdict: element.verdict(2) };
                // Where one interval ends and the next begins, there are both: the beginning counts.
                let known = self.elements.entry(key).or_insert_with(|| found.clone());
                if known.end {
                    *known = found;
                }
            }
            None => self.partial = true,
        }
    }
}

pub(super) fn number(family: &str) -> u8 {
    FAMILIES.iter().find(|(_, name)| *name == family).map_or(0, |(number, _)| *number)
}

pub(super) fn dump(what: &str, kind: u16, family: u8, attributes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let request = encode(kind, NLM_F_DUMP, 1, family, 0, attributes);
    for _ in 0..TRIES {
        match ask(&request) {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            // A chain or set that has gone meanwhile, or a kernel without nf_tables.
            Err(error) if is_without(&error) => return Ok(Vec::new()),
            other => return other.map_err(|error| Error::new(what, error)),
        }
    }
    Err(Error::other(what, "it changes faster than it can be read"))
}

fn is_without(error: &io::Error) -> bool {
    let without = [libc::ENOENT, libc::EINVAL, libc::EOPNOTSUPP, libc::EPROTONOSUPPORT];
    error.raw_os_error().is_some_and(|errno| without.contains(&errno))
}
