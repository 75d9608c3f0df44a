//! What the kernel has of the table now, to compare with what it had when it was made.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlasIterator,
};
use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::message::{FAMILY, HEADER, encode, text};
use crate::{Error, Result};

/// NFT_MSG_GETCHAIN and NFT_MSG_GETRULE of NFNL_SUBSYS_NFTABLES.
pub(super) const GET_CHAIN: u16 = (10 << 8) | 4;
pub(super) const GET_RULE: u16 = (10 << 8) | 7;

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

/// The attributes of each object of the answer. EINTR: a dump changed while it was read.
pub(super) fn ask(request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.connect(&SocketAddr::new(0, 0))?;
    crate::netlink::set_deadline(&socket)?;
    socket.send(request, 0)?;
    let dumps = NetlinkBuffer::new_checked(request).is_ok_and(|buffer| buffer.flags() & NLM_F_DUMP != 0);
    let (mut objects, mut datagram) = (Vec::new(), Vec::new());
    loop {
        crate::netlink::receive(&socket, &mut datagram)?;
        let mut rest = datagram.as_slice();
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let length = message.length() as usize;
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                return Err(io::Error::from_raw_os_error(libc::EINTR));
            }
            match message.message_type() {
                NLMSG_DONE => return Ok(objects),
                NLMSG_ERROR => {
                    let code = rest.get(HEADER..HEADER + 4).and_then(|code| code.try_into().ok());
                    let code = code.map_or(-libc::EIO, i32::from_ne_bytes);
                    return Err(io::Error::from_raw_os_error(-code));
                }
                // nfgenmsg has four bytes; the last two count the tables' changes.
                _ => objects.push(rest.get(HEADER + 4..length).unwrap_or_default().to_vec()),
            }
            match rest.get(length.next_multiple_of(4)..) {
                Some(more) if !more.is_empty() && length > 0 => rest = more,
                _ => break,
            }
        }
        if !dumps && !objects.is_empty() {
            return Ok(objects);
        }
    }
}
