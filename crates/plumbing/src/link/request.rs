//! The messages that create and change links.

use netlink_packet_core::{DefaultNla, Emitable as _, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage,
};

use crate::error::Result;
use crate::netlink::Request;
use crate::sysctl;

/// IFLA_INET_CONF (linux/if_link.h).
const INET_CONF: u16 = 1;

/// IPV4_DEVCONF_FORWARDING (linux/ip.h).
const DEVCONF_FORWARDING: u16 = 1;

/// RFC 8200, section 5: on an interface with a smaller MTU the kernel has no IPv6.
const LEAST_MTU_OF_IPV6: u32 = 1280;

/// Success also if the object does not exist.
pub(crate) fn ignore_missing(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}

/// Creates a link with these attributes.
pub(crate) fn create(name: &str, attributes: Vec<LinkAttribute>) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    Request {
        what: format!("create interface {name}"),
        message: RouteNetlinkMessage::NewLink(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Changes a link's attributes.
pub(crate) fn change(
    ifindex: u32,
    what: &str,
    attributes: impl IntoIterator<Item = LinkAttribute>,
) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes = attributes.into_iter().collect();
    Request { what: what.to_owned(), message: RouteNetlinkMessage::SetLink(message), flags: 0 }
}

/// Sets a link up or down, and changes attributes in the same message.
pub(crate) fn switch(
    ifindex: u32,
    up: bool,
    what: &str,
    attributes: impl IntoIterator<Item = LinkAttribute>,
) -> Request {
    let mut request = change(ifindex, what, attributes);
    if let RouteNetlinkMessage::SetLink(message) = &mut request.message {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    request
}

/// Deletes a link, and its peer with it.
pub(crate) fn delete(ifindex: u32, name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    Request {
        what: format!("delete interface {name}"),
        message: RouteNetlinkMessage::DelLink(message),
        flags: 0,
    }
}

/// Packets for others that come in here are not forwarded over IPv4, whatever the namespace's setting was when
/// the link was made. Without a look-up in /proc/sys, which takes long on a node with many Pods.
pub(crate) fn no_forwarding() -> LinkAttribute {
    let value = DefaultNla::new(DEVCONF_FORWARDING, 0u32.to_ne_bytes().to_vec());
    let mut nested = vec![0; value.buffer_len()];
    value.emit(&mut nested);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::Other(DefaultNla::new(
        INET_CONF, nested,
    ))])])
}

/// No IPv6 address of its own: on an interface that only leads into the network it would answer for the
/// node, and its router solicitations would be noise. Nothing is needed, nor possible, where the kernel has no IPv6:
/// nowhere, or on this interface, whose MTU is too small for it.
pub(crate) fn no_link_local(mtu: u32) -> Option<LinkAttribute> {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    (mtu >= LEAST_MTU_OF_IPV6 && sysctl::has_ipv6())
        .then(|| LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]))
}
