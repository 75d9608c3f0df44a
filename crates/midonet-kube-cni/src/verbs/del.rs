use ipam::Ipam;
use naming::pod_host_interface;
use plumbing::NetNs;

use super::{is_own, owner, warn};
use crate::agent;
use crate::error::Error;
use crate::plan::release_request;
use crate::request::Request;

/// Detaches the container, as far as there is anything to detach. Without an agent everything on this
/// node is released all the same; the agent drops the port when it is back.
pub(super) fn del(request: &Request) -> Result<(), Error> {
    let outer = pod_host_interface(&request.pod);
    let release = release_request(&request.alias(), &outer);
    // The agent compares the container's id, so that a late DEL harms no newer sandbox of the Pod.
    if let Err(error) = agent::release(&request.conf.socket, &release) {
        warn("the agent will release the port when it is back", &error);
    }
    let detached = detach(request, &outer);
    // The addresses last, and in any case: who gets them next must not meet the old interface.
    let released = Ipam::of_type(&request.conf.ipam_type).del(&request.ipam_call());
    detached?;
    Ok(released?)
}

fn detach(request: &Request, outer: &str) -> Result<(), Error> {
    let Some(link) = plumbing::find_port(outer)? else { return Ok(()) };
    let ours = owner(&link).is_some_and(|owner| {
        owner.container_id == request.env.container_id && owner.ifname == request.env.ifname
    });
    if !ours {
        return Ok(());
    }
    // A namespace that is gone has taken its interface along.
    let netns = request.env.netns.as_deref().and_then(|path| NetNs::open(path.as_ref()).ok());
    let netns = match netns {
        Some(netns) if request.env.netns_override || !is_own(&netns)? => Some(netns),
        _ => None,
    };
    let inner = netns.as_ref().map(|netns| (netns, request.env.ifname.as_str()));
    Ok(plumbing::detach(outer, inner)?)
}
