use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcHandle, TcMessage};

use super::bucket::{Bucket, Queue};
use super::discipline::{discipline, root};
use super::options;
use crate::error::Result;
use crate::netlink::{Netlink, Request};
use crate::tc;

/// Limits what an interface of this thread's namespace sends, or deletes the limit.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn limit(ifindex: u32, bucket: Option<Bucket>) -> Result<()> {
    let mut netlink = Netlink::here()?;
    match bucket {
        Some(bucket) => netlink.request(Request {
            what: format!("limit what interface {ifindex} sends"),
            ..discipline(ifindex, TcHandle::ROOT, TcHandle::UNSPEC, "tbf", options::tbf(bucket))
        }),
        None if root(&mut netlink, ifindex, "tbf")?.is_none() => Ok(()),
        None => {
            let mut message = TcMessage::with_index(ifindex.cast_signed());
            message.header.parent = TcHandle::ROOT;
            netlink.request(Request {
                what: format!("remove the limit of what interface {ifindex} sends"),
                message: RouteNetlinkMessage::DelQueueDiscipline(message),
                flags: 0,
            })
        }
    }
}

/// The interfaces of this thread's namespace that have a token bucket at their root.
///
/// # Errors
/// The kernel does not answer.
pub fn limited() -> Result<BTreeMap<u32, Queue>> {
    let at_root =
        tc::disciplines(&mut Netlink::here()?)?.into_iter().filter(|d| d.header.parent == TcHandle::ROOT);
    Ok(at_root.filter_map(|d| Some((d.header.index.cast_unsigned(), options::read_tbf(&d)?))).collect())
}
