use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::TcMessage;

use crate::error::Result;
use crate::netlink::Netlink;

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
