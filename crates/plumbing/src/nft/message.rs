//! nf_tables' netlink messages: one batch is one transaction.

use std::io;

use netlink_packet_core::{
    NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer,
};
use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::expression::Expression;
use crate::{Error, Result};

/// NFNL_MSG_BATCH_BEGIN and _END (linux/netfilter/nfnetlink.h).
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// NFT_MSG_* of the subsystem NFNL_SUBSYS_NFTABLES (linux/netfilter/nf_tables.h).
const NEW_TABLE: u16 = 10 << 8;
const DELETE_TABLE: u16 = (10 << 8) | 2;
const NEW_CHAIN: u16 = (10 << 8) | 3;
const NEW_RULE: u16 = (10 << 8) | 6;
/// NFPROTO_INET: both families in one table.
pub(super) const FAMILY: u8 = 1;
/// NFNL_SUBSYS_NFTABLES as the batch's resource, network byte order.
const SUBSYSTEM: u16 = 10;
/// NF_INET_POST_ROUTING.
const POSTROUTING: u32 = 4;
/// NF_IP_PRI_NAT_SRC.
const PRIORITY: u32 = 100;

pub(super) const HEADER: usize = 16;

#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    messages: u32,
}

impl Batch {
    pub(super) fn add_table(&mut self, table: &str) {
        self.message(NEW_TABLE, NLM_F_CREATE, &text(1, table));
    }

    pub(super) fn delete_table(&mut self, table: &str) {
        self.message(DELETE_TABLE, 0, &text(1, table));
    }

    pub(super) fn add_source_nat_chain(&mut self, table: &str, chain: &str) {
        let hook = nested(4, &[word(1, POSTROUTING), word(2, PRIORITY)].concat());
        let attributes = [text(1, table), text(3, chain), hook, text(7, "nat")].concat();
        self.message(NEW_CHAIN, NLM_F_CREATE, &attributes);
    }

    pub(super) fn add_rule(&mut self, table: &str, chain: &str, rule: &[Expression]) {
        let expressions: Vec<u8> =
            rule.iter().flat_map(|expression| nested(1, &expression.encode())).collect();
        let attributes = [text(1, table), text(2, chain), nested(4, &expressions)].concat();
        self.message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, &attributes);
    }

    fn message(&mut self, kind: u16, flags: u16, attributes: &[u8]) {
        self.messages += 1;
        let message = encode(kind, flags | NLM_F_ACK, self.messages, FAMILY, 0, attributes);
        self.bytes.extend(message);
    }

    /// Sends everything; the kernel takes all of it or nothing.
    pub(super) fn commit(self, what: &str) -> Result<()> {
        let begin = encode(BATCH_BEGIN, 0, 0, 0, SUBSYSTEM, &[]);
        let end = encode(BATCH_END, 0, self.messages + 1, 0, SUBSYSTEM, &[]);
        let all = [begin, self.bytes, end].concat();
        send(&all, self.messages).map_err(|error| {
            let missing =
                error.raw_os_error() == Some(libc::EOPNOTSUPP) || error.raw_os_error() == Some(libc::ENOENT);
            let hint =
                missing.then(|| "does the kernel have nf_tables, nft_masq and nft_chain_nat?".to_owned());
            Error::with_hint(what, error, hint)
        })
    }
}

/// Waits for the answer to each message, or the first error: it is the one that counts.
fn send(bytes: &[u8], messages: u32) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.connect(&SocketAddr::new(0, 0))?;
    crate::netlink::set_deadline(&socket)?;
    socket.send(bytes, 0)?;
    let (mut answers, mut buffer) = (0, Vec::new());
    while answers < messages {
        crate::netlink::receive(&socket, &mut buffer)?;
        let mut rest = buffer.as_slice();
        while let Ok(answer) = NetlinkBuffer::new_checked(rest) {
            let length = answer.length() as usize;
            if answer.message_type() == NLMSG_ERROR {
                let code = rest
                    .get(HEADER..HEADER + 4)
                    .and_then(|code| code.try_into().ok())
                    .map(i32::from_ne_bytes);
                match code {
                    Some(0) => answers += 1,
                    Some(code) => return Err(io::Error::from_raw_os_error(-code)),
                    None => return Err(io::Error::from(io::ErrorKind::InvalidData)),
                }
            }
            match rest.get(length.next_multiple_of(4)..) {
                Some(more) if !more.is_empty() && length > 0 => rest = more,
                _ => break,
            }
        }
    }
    Ok(())
}

/// nlmsghdr, nfgenmsg, attributes.
pub(super) fn encode(
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    resource: u16,
    attributes: &[u8],
) -> Vec<u8> {
    let length = u32::try_from(HEADER + 4 + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(super) fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, value)
}

pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

pub(super) fn word(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}
