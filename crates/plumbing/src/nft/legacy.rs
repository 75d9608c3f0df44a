//! Rules that iptables made without nf_tables (iptables-legacy), in nf_tables' terms: the table `filter` of each
//! family.
//!
//! The kernel gives them by getsockopt(2) as one block of entries (linux/netfilter_ipv4/ip_tables.h,
//! linux/netfilter_ipv6/ip6_tables.h). A request creates the table, so only existing ones are requested.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::ruleset::{Base, Ruleset, Table};
use super::step::{Comparison, Key, Step, Verdict};
use crate::error::{Error, Result};

/// IPT_SO_GET_INFO and _ENTRIES; IP6T_SO_* are the same.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;

/// struct ipt_getinfo, and the head of struct ipt_get_entries with the padding that its entries need (in the kernel
/// they are aligned to 8 bytes).
const INFO: usize = 84;
const HEAD: usize = 40;

/// The largest table that is read, in bytes.
const MOST: usize = 16 << 20;

/// XT_TABLE_MAXNAMELEN, and the head of struct xt_entry_match and _target.
const TABLE_NAME: usize = 32;
const PART: usize = 32;

/// IPT_INV_*.
const NOT_INPUT: u8 = 0x01;
const NOT_OUTPUT: u8 = 0x02;
const NOT_SOURCE: u8 = 0x08;
const NOT_DESTINATION: u8 = 0x10;
const NOT_PROTOCOL: u8 = 0x40;

/// The table whose rules are read.
const FILTER: &str = "filter";

/// What differs between the families.
struct Layout {
    /// What the table's family is called here.
    family: &'static str,
    /// Which tables there are.
    names: &'static str,
    domain: AddressFamily,
    level: libc::c_int,
    /// An address's length, in bytes, and where source and destination are in an IP header.
    address: usize,
    offsets: (usize, usize),
    /// Where struct ipt_entry has the protocol, its flags, where the target is, and where matches begin.
    protocol: usize,
    flags: usize,
    target: usize,
    matches: usize,
    /// IPT_F_FRAG and the like: conditions that are not known here.
    others: u8,
    goto: u8,
}

const LAYOUTS: [Layout; 2] = [
    Layout {
        family: "iptables-legacy",
        names: "/proc/thread-self/net/ip_tables_names",
        domain: AddressFamily::Inet,
        level: libc::IPPROTO_IP,
        address: 4,
        offsets: (12, 16),
        protocol: 80,
        flags: 82,
        target: 88,
        matches: 112,
        others: 0x01,
        goto: 0x02,
    },
    Layout {
        family: "ip6tables-legacy",
        names: "/proc/thread-self/net/ip6_tables_names",
        domain: AddressFamily::Inet6,
        level: libc::IPPROTO_IPV6,
        address: 16,
        offsets: (8, 24),
        protocol: 128,
        flags: 131,
        target: 140,
        matches: 168,
        others: 0x02,
        goto: 0x04,
    },
];

/// Whether there is such a table.
pub(super) fn is_there() -> bool {
    LAYOUTS.iter().any(Layout::is_there)
}

/// The chains that users made in those of these tables that are there: the family, the table, and the chain's name.
pub(super) fn chains(tables: &[&'static str]) -> Result<Vec<(&'static str, &'static str, String)>> {
    let mut chains = Vec::new();
    for (layout, table) in LAYOUTS.iter().flat_map(|layout| tables.iter().map(move |table| (layout, *table)))
    {
        if layout.has(table) {
            let what = || format!("read the table {table} of {}", layout.family);
            let (_, entries) = block(layout, table).map_err(|error| Error::new(what(), error))?;
            let names = layout.starts(&entries, &BTreeMap::new()).into_values();
            // The last entry of a table has no name of a chain.
            chains.extend(names.filter(|name| name != "ERROR").map(|name| (layout.family, table, name)));
        }
    }
    Ok(chains)
}

/// Adds the rules of these tables.
pub(super) fn read(ruleset: &mut Ruleset, hooks: &[u32]) -> Result<()> {
    for layout in LAYOUTS.iter().filter(|layout| layout.is_there()) {
        let what = || format!("read the table filter of {}", layout.family);
        let (info, entries) = block(layout, FILTER).map_err(|error| Error::new(what(), error))?;
        layout.add(ruleset, hooks, &info, &entries);
    }
    Ok(())
}

fn block(layout: &Layout, table: &str) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let socket = socket(layout.domain, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .or_else(|_| socket(layout.domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None))?;
    let mut info = vec![0; INFO];
    ask(&socket, layout.level, GET_INFO, table, &mut info)?;
    let size = word(&info, INFO - 4).unwrap_or_default();
    if size as usize > MOST {
        return Err(io::Error::other(format!("it has {size} bytes")));
    }
    let mut entries = vec![0; HEAD + size as usize];
    if let Some(to) = entries.get_mut(TABLE_NAME..TABLE_NAME + 4) {
        to.copy_from_slice(&size.to_ne_bytes());
    }
    ask(&socket, layout.level, GET_ENTRIES, table, &mut entries)?;
    Ok((info, entries.split_off(HEAD)))
}

fn ask(
    socket: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    table: &str,
    buffer: &mut [u8],
) -> io::Result<()> {
    if let Some(name) = buffer.get_mut(..table.len()) {
        name.copy_from_slice(table.as_bytes());
    }
    let mut length = libc::socklen_t::try_from(buffer.len()).unwrap_or_default();
    // SAFETY: the buffer is as long as the kernel is told, and lives until the call is over.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The hooks of the table (NF_INET_*).
const HOOKS: [(u32, &str); 3] = [(1, "INPUT"), (2, "FORWARD"), (3, "OUTPUT")];

impl Layout {
    fn is_there(&self) -> bool {
        self.has(FILTER)
    }

    fn has(&self, table: &str) -> bool {
        fs::read_to_string(self.names).is_ok_and(|names| names.lines().any(|name| name == table))
    }

    fn add(&self, ruleset: &mut Ruleset, hooks: &[u32], info: &[u8], entries: &[u8]) {
        let table: Table = (self.family, FILTER.to_owned());
        // struct ipt_getinfo: name, valid_hooks, hook_entry[5], underflow[5].
        let begins: BTreeMap<usize, (u32, &str)> = HOOKS
            .into_iter()
            .filter_map(|(hook, name)| Some((word(info, 36 + 4 * hook as usize)? as usize, (hook, name))))
            .collect();
        let policies: Vec<usize> = HOOKS
            .iter()
            .filter_map(|(hook, _)| Some(word(info, 56 + 4 * *hook as usize)? as usize))
            .collect();
        // Names first: the target of a jump is where a chain begins.
        let starts = self.starts(entries, &begins);
        let (mut chain, mut at) = (String::new(), 0);
        while let Some((entry, next)) = self.entry(entries, at) {
            if let Some(name) = starts.get(&at) {
                chain.clone_from(name);
                ruleset.names.insert((table.clone(), chain.clone()));
                ruleset.chains.entry((table.clone(), chain.clone())).or_default();
            }
            let rule = self.rule(entry, &starts);
            if policies.contains(&at) {
                let drops = rule.contains(&Step::Verdict(Verdict::Drop));
                let hook = HOOKS.iter().find(|(_, name)| *name == chain).map_or(u32::MAX, |(hook, _)| *hook);
                if hooks.contains(&hook) {
                    ruleset.base.push(Base { table: table.clone(), chain: chain.clone(), hook, drops });
                }
            } else if let Some(rules) = ruleset.chains.get_mut(&(table.clone(), chain.clone())) {
                rules.push(rule);
            }
            at = next;
        }
    }

    /// Where chains begin: at a hook's entry, or after the entry with their name.
    fn starts(&self, entries: &[u8], begins: &BTreeMap<usize, (u32, &str)>) -> BTreeMap<usize, String> {
        let mut starts: BTreeMap<usize, String> =
            begins.iter().map(|(at, (_, name))| (*at, (*name).to_owned())).collect();
        let mut at = 0;
        while let Some((entry, next)) = self.entry(entries, at) {
            let target =
                half(entry, self.target).map_or(&[][..], |target| entry.get(target..).unwrap_or_default());
            if name(target) == "ERROR" {
                starts.insert(next, text(target.get(PART..PART + 30).unwrap_or_default()));
            }
            at = next;
        }
        starts
    }

    /// The entry there, and where the next one is.
    fn entry<'a>(&self, entries: &'a [u8], at: usize) -> Option<(&'a [u8], usize)> {
        let length = half(entries.get(at..)?, self.target + 2)?;
        let entry = entries.get(at..at + length)?;
        (length >= self.matches).then_some((entry, at + length))
    }

    fn rule(&self, entry: &[u8], starts: &BTreeMap<usize, String>) -> Vec<Step> {
        let mut steps = Vec::new();
        let (flags, inverted) = (byte(entry, self.flags), byte(entry, self.flags + 1));
        let how = |flag: u8| if inverted & flag == 0 { Comparison::Equal } else { Comparison::NotEqual };
        let length = self.address;
        for (offset, value, flag) in
            [(self.offsets.0, 0, NOT_SOURCE), (self.offsets.1, length, NOT_DESTINATION)]
        {
            let part = |at: usize| entry.get(at..at + length).map(<[u8]>::to_vec).unwrap_or_default();
            let load = Step::Payload { to: 0, base: 1, offset, length };
            masked(&mut steps, load, &part(value), part(2 * length + value), how(flag));
        }
        for (key, value, flag) in [(Key::InputName, 0, NOT_INPUT), (Key::OutputName, 16, NOT_OUTPUT)] {
            let at = 4 * length + value;
            let part = |at: usize| entry.get(at..at + 16).map(<[u8]>::to_vec).unwrap_or_default();
            masked(&mut steps, Step::Load { to: 0, key }, &part(at), part(at + 32), how(flag));
        }
        // A 16-bit number in the host's order, of which one byte is used.
        let protocol =
            half(entry, self.protocol).and_then(|protocol| u8::try_from(protocol).ok()).unwrap_or_default();
        if protocol != 0 {
            steps.push(Step::Load { to: 0, key: Key::Protocol });
            steps.push(Step::Compare { from: 0, how: how(NOT_PROTOCOL), value: vec![protocol] });
        }
        if flags & self.others != 0 {
            steps.push(Step::Unknown);
        }
        let target = half(entry, self.target).unwrap_or_default();
        let mut at = self.matches;
        while let Some(part) = entry.get(at..target).filter(|part| part.len() > PART) {
            let length = half(part, 0).unwrap_or_default().max(PART);
            let info = part.get(PART..length).unwrap_or_default().to_vec();
            steps.push(Step::Match { name: name(part), revision: byte(part, PART - 1).into(), info });
            at += length;
        }
        let target = entry.get(target..).unwrap_or_default();
        steps.push(match name(target).as_str() {
            "" => Step::Verdict(verdict(target, flags & self.goto != 0, starts)),
            name => Step::Target(name.to_owned()),
        });
        steps
    }
}

/// What a target without a name says (struct xt_standard_target).
fn verdict(target: &[u8], goto: bool, starts: &BTreeMap<usize, String>) -> Verdict {
    match word(target, PART).unwrap_or_default().cast_signed() {
        -1 => Verdict::Drop,
        -2 => Verdict::Accept,
        -5 => Verdict::Return,
        to @ 0.. => match starts.get(&usize::try_from(to).unwrap_or(usize::MAX)) {
            Some(chain) if goto => Verdict::Goto(chain.clone()),
            Some(chain) => Verdict::Jump(chain.clone()),
            // The next rule (iptables makes this of a rule without a target).
            None => Verdict::Continue,
        },
        _ => Verdict::Elsewhere,
    }
}

fn masked(steps: &mut Vec<Step>, load: Step, value: &[u8], mask: Vec<u8>, how: Comparison) {
    if mask.iter().all(|byte| *byte == 0) {
        return;
    }
    let xor = vec![0; mask.len()];
    let value = value.iter().zip(&mask).map(|(value, mask)| value & mask).collect();
    steps.extend([load, Step::Bitwise { from: 0, to: 0, mask, xor }, Step::Compare { from: 0, how, value }]);
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The name of a match or target.
fn name(part: &[u8]) -> String {
    text(part.get(2..PART - 1).unwrap_or_default())
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}
