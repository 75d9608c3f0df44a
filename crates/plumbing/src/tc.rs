//! Traffic control: one ingress block that all interfaces of Pods share, with one program in it; and programs at
//! the ingress of single interfaces.

mod ingress;

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};

use crate::netlink::Request;
use crate::{Link, Netlink, Result};

pub use ingress::{attach_ingress, detach_ingress, ingress_program};

/// The number of the shared block ("mi" in ASCII). It exists as long as one interface is in it.
pub const INGRESS_BLOCK: u32 = 0x6d69;

/// TCA_INGRESS_BLOCK.
const ATTR_INGRESS_BLOCK: u16 = 13;

/// ETH_P_ALL, in network byte order in the low half of tcm_info.
const ALL_PROTOCOLS: u16 = 0x0003;

/// The one filter's priority and handle: the same each time, so that a new program replaces the old.
const PRIORITY: u32 = 1;

/// Puts an interface into the shared block; for ever, there is nothing to detach but the interface.
pub(crate) fn join_block(ifindex: u32, ifname: &str) -> Request {
    let mut message = clsact(ifindex);
    message.attributes.push(TcAttribute::Other(block_attribute()));
    Request {
        what: format!("put {ifname} into the datapath's block"),
        message: RouteNetlinkMessage::NewQueueDiscipline(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// An interface's clsact qdisc.
fn clsact(ifindex: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
    message.attributes = vec![TcAttribute::Kind("clsact".into())];
    message
}

/// Takes an interface's clsact qdisc away, and every filter in it.
fn remove_clsact(ifindex: u32, ifname: &str) -> Request {
    let mut message = clsact(ifindex);
    message.attributes.clear();
    Request {
        what: format!("remove the clsact qdisc of {ifname}"),
        message: RouteNetlinkMessage::DelQueueDiscipline(message),
        flags: 0,
    }
}

/// The interfaces of this thread's namespace that are in the shared block, by number. While others vanish some
/// may be left out, since the kernel goes on by their positions (`tc_dump_qdisc`): ask [`in_block`] then.
///
/// # Errors
/// The kernel does not tell.
pub fn block_members() -> Result<BTreeSet<u32>> {
    let all = disciplines(&mut Netlink::here()?)?.into_iter().filter(is_of_block);
    Ok(all.map(|qdisc| qdisc.header.index.cast_unsigned()).collect())
}

/// Every queueing discipline of the namespace.
pub(crate) fn disciplines(netlink: &mut Netlink) -> Result<Vec<TcMessage>> {
    let all = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let all = netlink.dump("list queueing disciplines", &all)?;
    let qdiscs = all.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Some(qdisc),
        _ => None,
    });
    Ok(qdiscs.collect())
}

/// Puts an interface into the block, unless it is there.
pub(crate) fn join(netlink: &mut Netlink, link: &Link) -> Result<()> {
    if is_member(netlink, link.ifindex)? {
        return Ok(());
    }
    match netlink.request(join_block(link.ifindex, &link.name)) {
        // Somebody put a clsact of his own there.
        Err(error) if error.is_exists() => netlink
            .requests(vec![remove_clsact(link.ifindex, &link.name), join_block(link.ifindex, &link.name)]),
        other => other,
    }
}

/// Whether an interface of this thread's namespace is in the shared block.
///
/// # Errors
/// The kernel does not tell.
pub fn in_block(ifindex: u32) -> Result<bool> {
    is_member(&mut Netlink::here()?, ifindex)
}

pub(crate) fn is_member(netlink: &mut Netlink, ifindex: u32) -> Result<bool> {
    Ok(ingress_qdisc(netlink, ifindex)?.is_some_and(|qdisc| is_of_block(&qdisc)))
}

/// The clsact or ingress qdisc of an interface.
fn ingress_qdisc(netlink: &mut Netlink, ifindex: u32) -> Result<Option<TcMessage>> {
    let mut message = clsact(ifindex);
    message.attributes.clear();
    let what = format!("look at the clsact qdisc of interface {ifindex}");
    match netlink.get(&what, RouteNetlinkMessage::GetQueueDiscipline(message)) {
        Ok(RouteNetlinkMessage::NewQueueDiscipline(qdisc)) => Ok(Some(qdisc)),
        Ok(_) => Ok(None),
        // EINVAL: what it once had was removed.
        Err(error) if error.is_missing() || error.is(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_of_block(qdisc: &TcMessage) -> bool {
    qdisc.attributes.contains(&TcAttribute::Other(block_attribute()))
}

/// The kernel's number of the program that packets into a block meet first; `None` without any.
///
/// # Errors
/// The kernel does not tell.
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

/// The kernel's number of a filter's program.
fn program_id(filter: &TcMessage) -> Option<u32> {
    let id = |option: &TcOption| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    };
    filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(id),
        _ => None,
    })
}

/// A filter that is a program, whose verdict is final.
fn bpf_options(program: BorrowedFd<'_>, name: &str) -> Vec<TcOption> {
    vec![
        TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd().unsigned_abs())),
        TcOption::Bpf(TcFilterBpfOption::ProgName(name.into())),
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ]
}

fn block_attribute() -> DefaultNla {
    DefaultNla::new(ATTR_INGRESS_BLOCK, INGRESS_BLOCK.to_ne_bytes().to_vec())
}

/// Makes a program the one that every packet into the block meets, in place of the one before it: no
/// packet misses both. At least one interface must be in the block.
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
