//! nf_tables' netlink messages: one batch is one transaction.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::encode::{FAMILY, HEADER, encode, nested, text, word};
use super::expression::Expression;
use super::set::Set;
use crate::error::{Error, Result};
use crate::netlink;

/// NFNL_MSG_BATCH_BEGIN and _END (linux/netfilter/nfnetlink.h).
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// NFT_MSG_* of the subsystem NFNL_SUBSYS_NFTABLES (linux/netfilter/nf_tables.h).
const NEW_TABLE: u16 = 10 << 8;
pub(super) const DELETE_TABLE: u16 = (10 << 8) | 2;
const NEW_CHAIN: u16 = (10 << 8) | 3;
const NEW_RULE: u16 = (10 << 8) | 6;
/// NFNL_SUBSYS_NFTABLES as the batch's resource, network byte order.
const SUBSYSTEM: u16 = 10;
const NEW_SET: u16 = (10 << 8) | 9;

/// Where a chain that translates is: the hook (NF_INET_*), and its priority there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    number: u32,
    priority: i32,
}

impl Hook {
    /// NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC.
    pub(super) const SOURCE: Self = Self { number: 4, priority: 100 };
    /// NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST.
    pub(super) const DESTINATION_OF_OWN: Self = Self { number: 3, priority: -100 };
}

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

    pub(super) fn add_nat_chain(&mut self, table: &str, chain: &str, hook: Hook) {
        let hook = nested(4, &[word(1, hook.number), word(2, hook.priority.cast_unsigned())].concat());
        let attributes = [text(1, table), text(3, chain), hook, text(7, "nat")].concat();
        self.message(NEW_CHAIN, NLM_F_CREATE, &attributes);
    }

    pub(super) fn add_set(&mut self, table: &str, set: Set, id: u32) {
        self.message(NEW_SET, NLM_F_CREATE, &set.definition(table, id));
    }

    pub(super) fn add_rule(&mut self, table: &str, chain: &str, rule: &[Expression]) {
        let expressions: Vec<u8> =
            rule.iter().flat_map(|expression| nested(1, &expression.encode())).collect();
        let attributes = [text(1, table), text(2, chain), nested(4, &expressions)].concat();
        self.message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, &attributes);
    }

    /// A request without flags, about a table of another family.
    pub(super) fn add_of(&mut self, family: u8, kind: u16, attributes: &[u8]) {
        self.message_of(family, kind, 0, attributes);
    }

    pub(super) fn message(&mut self, kind: u16, flags: u16, attributes: &[u8]) {
        self.message_of(FAMILY, kind, flags, attributes);
    }

    fn message_of(&mut self, family: u8, kind: u16, flags: u16, attributes: &[u8]) {
        self.messages += 1;
        let message = encode(kind, flags | NLM_F_ACK, self.messages, family, 0, attributes);
        self.bytes.extend(message);
    }

    /// Sends the batch, which the kernel executes as a whole or not at all.
    pub(super) fn commit(self, what: &str) -> Result<()> {
        if self.messages == 0 {
            return Ok(());
        }
        let begin = encode(BATCH_BEGIN, 0, 0, 0, SUBSYSTEM, &[]);
        let end = encode(BATCH_END, 0, self.messages + 1, 0, SUBSYSTEM, &[]);
        let all = [begin, self.bytes, end].concat();
        send(&all, self.messages).map_err(|error| {
            let missing =
                error.raw_os_error() == Some(libc::EOPNOTSUPP) || error.raw_os_error() == Some(libc::ENOENT);
            let hint = missing.then(|| {
                "does the kernel have nf_tables, nft_chain_nat, nft_masq, nft_nat and nft_fib_inet?"
                    .to_owned()
            });
            Error::with_hint(what, error, hint)
        })
    }
}

/// Sends a batch; returns the first error, or success once all messages are acknowledged.
fn send(bytes: &[u8], messages: u32) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.connect(&SocketAddr::new(0, 0))?;
    netlink::set_deadline(&socket)?;
    netlink::set_send_buffer(&socket, bytes.len())?;
    socket.send(bytes, 0)?;
    let (mut answers, mut buffer) = (0, Vec::new());
    while answers < messages {
        netlink::receive(&socket, &mut buffer)?;
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
