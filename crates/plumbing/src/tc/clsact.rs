//! The clsact qdisc of an interface, and eBPF programs as its filters.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption};

use crate::error::Result;
use crate::netlink::{Netlink, Request};

/// ETH_P_ALL, in network byte order in the low half of tcm_info.
pub(super) const ALL_PROTOCOLS: u16 = 0x0003;

/// An interface's clsact qdisc.
pub(super) fn clsact(ifindex: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
    message.attributes = vec![TcAttribute::Kind("clsact".into())];
    message
}

/// Deletes an interface's clsact qdisc, and every filter in it.
pub(super) fn delete_clsact(ifindex: u32, ifname: &str) -> Request {
    let mut message = clsact(ifindex);
    message.attributes.clear();
    Request {
        what: format!("delete the clsact qdisc of {ifname}"),
        message: RouteNetlinkMessage::DelQueueDiscipline(message),
        flags: 0,
    }
}

/// The clsact or ingress qdisc of an interface.
pub(super) fn ingress_qdisc(netlink: &mut Netlink, ifindex: u32) -> Result<Option<TcMessage>> {
    let mut message = clsact(ifindex);
    message.attributes.clear();
    let what = format!("read the clsact qdisc of interface {ifindex}");
    match netlink.get(&what, RouteNetlinkMessage::GetQueueDiscipline(message)) {
        Ok(RouteNetlinkMessage::NewQueueDiscipline(qdisc)) => Ok(Some(qdisc)),
        Ok(_) => Ok(None),
        // EINVAL: it had one, which was deleted.
        Err(error) if error.is_missing() || error.is(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The options of a filter that is a program with direct action.
pub(super) fn bpf_options(program: BorrowedFd<'_>, name: &str) -> Vec<TcOption> {
    vec![
        TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd().unsigned_abs())),
        TcOption::Bpf(TcFilterBpfOption::ProgName(name.into())),
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ]
}

/// The id of a filter's program.
pub(super) fn program_id(filter: &TcMessage) -> Option<u32> {
    let id = |option: &TcOption| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    };
    filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(id),
        _ => None,
    })
}
