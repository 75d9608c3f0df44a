//! Traffic control: one ingress block that all interfaces of Pods share, with one program in it.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};

use crate::netlink::Request;
use crate::{Netlink, Result};

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
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
    message.attributes = vec![TcAttribute::Kind("clsact".into()), TcAttribute::Other(block_attribute())];
    Request {
        what: format!("put {ifname} into the datapath's block"),
        message: RouteNetlinkMessage::NewQueueDiscipline(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Whether an interface is in the shared block.
pub(crate) fn in_block(netlink: &mut Netlink, ifindex: u32) -> Result<bool> {
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    let all = netlink.dump("list queueing disciplines", &RouteNetlinkMessage::GetQueueDiscipline(message))?;
    Ok(all.into_iter().any(|message| {
        let RouteNetlinkMessage::NewQueueDiscipline(qdisc) = message else { return false };
        qdisc.header.index == ifindex.cast_signed()
            && qdisc.attributes.iter().any(|attribute| match attribute {
                TcAttribute::Other(other) => *other == block_attribute(),
                _ => false,
            })
    }))
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
    message.attributes = vec![
        TcAttribute::Kind("bpf".into()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd().unsigned_abs())),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.into())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    Netlink::here()?.request(Request {
        what: format!("put the program {name} into the datapath's block"),
        message: RouteNetlinkMessage::NewTrafficFilter(message),
        flags: NLM_F_CREATE,
    })
}
