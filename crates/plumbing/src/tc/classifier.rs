//! A program as a classifier at the ingress or the egress of one interface, for kernels without tcx: a `bpf` filter with
//! direct action below a clsact qdisc, which may have other filters, too. Those are left as they are.
//!
//! The kernel is the record. A filter is ours by its handle and its program's name; one of the two handles also
//! says that the qdisc was made for it and may go with the last of ours.

use std::fmt;
use std::os::fd::BorrowedFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};

use super::block::is_of_block;
use super::clsact::{ALL_PROTOCOLS, bpf_options, clsact, delete_clsact, ingress_qdisc, program_id};
use crate::error::Result;
use crate::link::{self, request};
use crate::netlink::{Netlink, Request};

/// The filter's handle below a qdisc that was there ("mi" in ASCII), and below one that was made for it.
const GUEST: u32 = 0x6d69;
const OWNER: u32 = 0x6d6a;

/// Which packets of an interface a program meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Those that come in.
    Ingress,
    /// Those that go out.
    Egress,
}

impl Direction {
    /// The parent of its filters: TC_H_MIN_INGRESS and TC_H_MIN_EGRESS of the clsact qdisc.
    fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Ingress => 0xfff2,
            Self::Egress => 0xfff3,
        };
        TcHandle { major: u16::MAX, minor }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// The lowest runs first. Filters of one priority are of one kind and protocol, so that others' filters may take
/// some.
const PRIORITIES: std::ops::RangeInclusive<u32> = 1..=8;

/// A filter that is there.
struct Found {
    priority: u32,
    handle: u32,
    program: Option<u32>,
}

/// Makes a program the first that packets into an interface, or out of it, meet, or puts it in the place of the one that
/// has that name there: no packet misses both, and none meets both. What it lets pass (TC_ACT_UNSPEC) meets the other
/// filters.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn attach(direction: Direction, ifindex: u32, program: BorrowedFd<'_>, name: &str) -> Result<()> {
    let mut netlink = Netlink::here()?;
    let made = match netlink.request(Request {
        what: format!("make a clsact qdisc at interface {ifindex}"),
        message: RouteNetlinkMessage::NewQueueDiscipline(clsact(ifindex)),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }) {
        Err(error) if error.is_exists() => false,
        other => other.map(|()| true)?,
    };
    let mut put = |priority, handle, flags| {
        let mut message = filter(direction, ifindex, priority, handle);
        message.attributes.push(TcAttribute::Options(bpf_options(program, name)));
        netlink.request(Request {
            what: format!("put the program {name} at the {direction} of interface {ifindex}"),
            message: RouteNetlinkMessage::NewTrafficFilter(message),
            flags,
        })
    };
    if let Some(old) = find(&mut Netlink::here()?, direction, ifindex, name)? {
        return put(old.priority, old.handle, NLM_F_CREATE);
    }
    let handle = if made { OWNER } else { GUEST };
    // Within a priority a new filter runs before the others.
    let mut outcome = Ok(());
    for priority in PRIORITIES {
        outcome = put(priority, handle, NLM_F_CREATE | NLM_F_EXCL);
        // EINVAL: filters of another kind or protocol have this priority.
        if !outcome.as_ref().is_err_and(|error| error.is(libc::EINVAL)) {
            break;
        }
    }
    outcome
}

/// The id of the program of this name that [`attach`] attached to an interface; `None` without any.
///
/// # Errors
/// The kernel does not answer.
pub fn attached_program(direction: Direction, ifindex: u32, name: &str) -> Result<Option<u32>> {
    Ok(find(&mut Netlink::here()?, direction, ifindex, name)?.and_then(|found| found.program))
}

/// Detaches the programs of these names from every interface but some, and deletes the qdiscs that were created for them
/// and have no other filters. Returns the names of the interfaces that had any.
///
/// # Errors
/// The kernel refuses.
pub fn detach(programs: &[(Direction, &str)], except: &[u32]) -> Result<Vec<String>> {
    let mut netlink = Netlink::here()?;
    let mut had = Vec::new();
    for link in link::list_in(&mut netlink)?.into_iter().filter(|link| !except.contains(&link.ifindex)) {
        // Pods' interfaces share a block, and have no filters of their own.
        if ingress_qdisc(&mut netlink, link.ifindex)?.is_none_or(|qdisc| is_of_block(&qdisc)) {
            continue;
        }
        let (mut any, mut owner) = (false, false);
        for (direction, name) in programs {
            let Some(found) = find(&mut netlink, *direction, link.ifindex, name)? else { continue };
            let message = filter(*direction, link.ifindex, found.priority, found.handle);
            request::ignore_missing(netlink.request(Request {
                what: format!("detach the program {name} from {}", link.name),
                message: RouteNetlinkMessage::DelTrafficFilter(message),
                flags: 0,
            }))?;
            any = true;
            owner |= found.handle == OWNER;
        }
        if owner && !has_filters(&mut netlink, link.ifindex) {
            request::ignore_missing(netlink.request(delete_clsact(link.ifindex, &link.name)))?;
        }
        if any {
            had.push(link.name);
        }
    }
    Ok(had)
}

fn find(netlink: &mut Netlink, direction: Direction, ifindex: u32, name: &str) -> Result<Option<Found>> {
    let what = format!("find the program {name} at the {direction} of interface {ifindex}");
    for priority in PRIORITIES {
        for handle in [OWNER, GUEST] {
            let message = RouteNetlinkMessage::GetTrafficFilter(filter(direction, ifindex, priority, handle));
            match netlink.get(&what, message) {
                Ok(RouteNetlinkMessage::NewTrafficFilter(found)) if is_named(&found, name) => {
                    let program = program_id(&found);
                    return Ok(Some(Found { priority, handle, program }));
                }
                Ok(_) => {}
                // EINVAL: no qdisc there, or filters of another kind; EOPNOTSUPP: a shared block.
                Err(error) if error.is_missing() || error.is(libc::EINVAL) || error.is(libc::EOPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

/// If the kernel does not answer, it is assumed to have filters.
fn has_filters(netlink: &mut Netlink, ifindex: u32) -> bool {
    [Direction::Ingress, Direction::Egress].into_iter().any(|direction| {
        let mut message = TcMessage::default();
        message.header.index = ifindex.cast_signed();
        message.header.parent = direction.parent();
        let all = RouteNetlinkMessage::GetTrafficFilter(message);
        !netlink.dump("list the filters of an interface", &all).is_ok_and(|filters| filters.is_empty())
    })
}

fn filter(direction: Direction, ifindex: u32, priority: u32, handle: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    message.header.parent = direction.parent();
    message.header.handle = TcHandle::from(handle);
    message.header.info = (priority << 16) | u32::from(ALL_PROTOCOLS.to_be());
    message.attributes = vec![TcAttribute::Kind("bpf".into())];
    message
}

fn is_named(filter: &TcMessage, name: &str) -> bool {
    let named = |option: &TcOption| *option == TcOption::Bpf(TcFilterBpfOption::ProgName(name.into()));
    filter.attributes.iter().any(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().any(named),
        _ => false,
    })
}
