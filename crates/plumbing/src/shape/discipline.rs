use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::options;
use crate::error::Result;
use crate::netlink::{Netlink, Request};
use crate::tc;

/// The root qdisc of an interface, if it is of this kind.
pub(super) fn root(netlink: &mut Netlink, ifindex: u32, kind: &str) -> Result<Option<TcMessage>> {
    let kind = TcAttribute::Kind(kind.to_owned());
    Ok(tc::disciplines(netlink)?.into_iter().find(|d| {
        d.header.index == ifindex.cast_signed()
            && d.header.parent == TcHandle::ROOT
            && d.attributes.contains(&kind)
    }))
}

/// Creates a queueing discipline in place of one of another kind, or changes one of the same kind.
pub(super) fn discipline(
    ifindex: u32,
    parent: TcHandle,
    handle: TcHandle,
    kind: &str,
    options: Vec<u8>,
) -> Request {
    let mut message = message(ifindex, parent, handle, kind);
    message.attributes.push(attribute(options));
    Request {
        what: format!("make the {kind} of interface {ifindex}"),
        message: RouteNetlinkMessage::NewQueueDiscipline(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}

pub(super) fn message(ifindex: u32, parent: TcHandle, handle: TcHandle, kind: &str) -> TcMessage {
    let mut message = TcMessage::with_index(ifindex.cast_signed());
    (message.header.parent, message.header.handle) = (parent, handle);
    message.attributes = vec![TcAttribute::Kind(kind.to_owned())];
    message
}

/// TCA_OPTIONS, whose content depends on the discipline.
pub(super) fn attribute(options: Vec<u8>) -> TcAttribute {
    TcAttribute::Other(DefaultNla::new(options::TCA_OPTIONS, options))
}
