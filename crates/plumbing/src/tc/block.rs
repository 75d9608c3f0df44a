//! The datapath's block: the ingress block that all host sides of Pods share, with one program in it.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage};

use super::clsact::{ALL_PROTOCOLS, bpf_options, clsact, delete_clsact, ingress_qdisc, program_id};
use super::discipline::disciplines;
use crate::error::Result;
use crate::link::Link;
use crate::netlink::{Netlink, Request};

/// The index of the shared block ("mi" in ASCII). It exists as long as one interface is in it.
pub const INGRESS_BLOCK: u32 = 0x6d69;

/// TCA_INGRESS_BLOCK.
const ATTR_INGRESS_BLOCK: u16 = 13;

/// The filter's priority and handle: always the same, so that a new program replaces the old one.
const PRIORITY: u32 = 1;

/// Puts an interface into the shared block.
pub(crate) fn join_block(ifindex: u32, ifname: &str) -> Request {
    let mut message = clsact(ifindex);
    message.attributes.push(TcAttribute::Other(block_attribute()));
    Request {
        what: format!("put {ifname} into the datapath's block"),
        message: RouteNetlinkMessage::NewQueueDiscipline(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// The interfaces of this thread's namespace that are in the shared block, by ifindex. While others are deleted
/// some may be missing, since the kernel continues by position (`tc_dump_qdisc`): ask [`in_block`] then.
///
/// # Errors
/// The kernel does not answer.
pub fn block_members() -> Result<BTreeSet<u32>> {
    let all = disciplines(&mut Netlink::here()?)?.into_iter().filter(is_of_block);
    Ok(all.map(|qdisc| qdisc.header.index.cast_unsigned()).collect())
}

/// Puts an interface into the block, unless it is there.
pub(crate) fn join(netlink: &mut Netlink, link: &Link) -> Result<()> {
    if is_member(netlink, link.ifindex)? {
        return Ok(());
    }
    match netlink.request(join_block(link.ifindex, &link.name)) {
        // It has another clsact qdisc.
        Err(error) if error.is_exists() => netlink
            .requests(vec![delete_clsact(link.ifindex, &link.name), join_block(link.ifindex, &link.name)]),
        other => other,
    }
}

/// Whether an interface of this thread's namespace is in the shared block.
///
/// # Errors
/// The kernel does not answer.
pub fn in_block(ifindex: u32) -> Result<bool> {
    is_member(&mut Netlink::here()?, ifindex)
}

pub(crate) fn is_member(netlink: &mut Netlink, ifindex: u32) -> Result<bool> {
    Ok(ingress_qdisc(netlink, ifindex)?.is_some_and(|qdisc| is_of_block(&qdisc)))
}

pub(super) fn is_of_block(qdisc: &TcMessage) -> bool {
    qdisc.attributes.contains(&TcAttribute::Other(block_attribute()))
}

/// The id of the first program of a block; `None` without any.
///
/// # Errors
/// The kernel does not answer.
pub fn block_program(block: u32) -> Result<Option<u32>> {
    let mut message = TcMessage::default();
    message.header.index = TcHeader::TCM_IFINDEX_MAGIC_BLOCK.cast_signed();
    message.header.parent = TcHandle::from(block);
    let all = RouteNetlinkMessage::GetTrafficFilter(message);
    let filters = match Netlink::here()?.dump("list the filters of the datapath's block", &all) {
        // Without an interface in it there is no block.
        Err(error) if error.is_missing() || error.is(libc::EINVAL) => return Ok(None),
        other => other?,
    };
    Ok(filters.iter().find_map(|filter| match filter {
        RouteNetlinkMessage::NewTrafficFilter(filter) => program_id(filter),
        _ => None,
    }))
}

/// Removes the program of a block; none is success. Packets of its interfaces then pass as without a block. Returns whether
/// there was one.
///
/// # Errors
/// The kernel refuses.
pub fn clear_block(block: u32) -> Result<bool> {
    if block_program(block)?.is_none() {
        return Ok(false);
    }
    let mut message = TcMessage::default();
    message.header.index = TcHeader::TCM_IFINDEX_MAGIC_BLOCK.cast_signed();
    message.header.parent = TcHandle::from(block);
    message.header.info = (PRIORITY << 16) | u32::from(ALL_PROTOCOLS.to_be());
    Netlink::here()?.request(Request {
        what: "take the program out of the datapath's block".into(),
        message: RouteNetlinkMessage::DelTrafficFilter(message),
        flags: 0,
    })?;
    Ok(true)
}

fn block_attribute() -> DefaultNla {
    DefaultNla::new(ATTR_INGRESS_BLOCK, INGRESS_BLOCK.to_ne_bytes().to_vec())
}

/// Attaches a program to the block, and replaces the former one atomically. At least one interface must be in the
/// block.
///
/// # Errors
/// The kernel refuses, for example since the block does not exist.
pub fn set_block_program(block: u32, program: BorrowedFd<'_>, name: &str) -> Result<()> {
    let mut message = TcMessage::default();
    message.header.index = TcHeader::TCM_IFINDEX_MAGIC_BLOCK.cast_signed();
    message.header.parent = TcHandle::from(block);
    message.header.handle = TcHandle::from(1);
    message.header.info = (PRIORITY << 16) | u32::from(ALL_PROTOCOLS.to_be());
    message.attributes =
        vec![TcAttribute::Kind("bpf".into()), TcAttribute::Options(bpf_options(program, name))];
    Netlink::here()?.request(Request {
        what: format!("put the program {name} into the datapath's block"),
        message: RouteNetlinkMessage::NewTrafficFilter(message),
        flags: NLM_F_CREATE,
    })
}
