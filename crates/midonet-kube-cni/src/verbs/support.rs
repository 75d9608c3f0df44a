//! What several commands need.

use cni::{Error, code};
use naming::alias::PortAlias;
use plumbing::{Link, NetNs};

use crate::request::Request;

/// The container's namespace.
pub(super) fn open_netns(request: &Request) -> Result<NetNs, Error> {
    let path = request.env.netns.as_deref().unwrap_or_default();
    NetNs::open(path.as_ref()).map_err(|error| Error::new(code::NETNS, format!("CNI_NETNS: {error}")))
}

/// The container's namespace may be the plugin's own only if the runtime says so.
pub(super) fn refuse_own(request: &Request, own: bool) -> Result<(), Error> {
    if own && !request.env.netns_override {
        let path = request.env.netns.as_deref().unwrap_or_default();
        let what = format!("CNI_NETNS: {path} is the plugin's own namespace; they should not be the same");
        return Err(Error::new(code::NETNS, what));
    }
    Ok(())
}

/// The owner of a host interface.
pub(super) fn owner(link: &Link) -> Option<PortAlias> {
    PortAlias::parse(&link.alias)
}

/// Whether a host interface belongs to the request's attachment.
pub(super) fn is_ours(link: &Link, request: &Request) -> bool {
    owner(link).is_some_and(|owner| {
        owner.container_id == request.env.container_id && owner.ifname == request.env.ifname
    })
}

/// Reports what is no failure of the call: stderr goes to the runtime's log.
pub(super) fn warn(what: &str, error: &dyn std::fmt::Display) {
    eprintln!("midonet-kube-cni: {what}: {error}");
}
