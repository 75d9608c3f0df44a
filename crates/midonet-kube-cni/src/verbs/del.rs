use cni::{Error, Problems};
use ipam::Ipam;
use naming::pod_host_interface;
use nodeapi::v1::ReleasePortRequest;
use plumbing::veth::Namespaces;
use plumbing::{Link, NetNs};

use super::support::{is_ours, owner, refuse_own, warn};
use crate::error::kernel;
use crate::plan::release_request;
use crate::request::Request;
use crate::{agent, host_ports};

/// Deletes the attachment, as far as there is one. Without an agent everything on this node is released all the
/// same; the agent releases the port when it is back.
pub(super) fn del(request: &Request, began: u64) -> Result<(), Error> {
    let host_ifname = pod_host_interface(&request.pod);
    // The agent compares the container's id, so that a late DEL harms no newer sandbox of the Pod.
    let mut release = agent::release(&request.conf.socket);
    let port = release_request(&request.alias(), &host_ifname);
    release.start(&ReleasePortRequest { began_monotonic_ns: began, ..port });
    let mut problems = Problems::default();
    let retired = problems.take(retire(request, &host_ifname)).is_some();
    let released = release.finish();
    if let Err(error) = &released {
        warn("the agent will release the port when it is back", error);
    }
    // Without an agent nobody knows who served them.
    let left = released.as_ref().map_or(true, |released| released.host_ports_left);
    let unmapped =
        !(left && host_ports::are_asked_for(request)) || problems.take(host_ports::delete(request)).is_some();
    // The addresses last: no port, interface or host port of the old owner may be left when they are allocated again.
    if unmapped && (retired || released.is_ok()) {
        problems.take(Ipam::of_type(&request.conf.net.ipam_type).del(&request.ipam_call()));
    }
    problems.into_result()
}

fn retire(request: &Request, host_ifname: &str) -> Result<(), Error> {
    let netns = netns(request)?;
    let mut namespaces = Namespaces::open(netns.as_ref()).map_err(kernel)?;
    let Some(link) = find(&mut namespaces, host_ifname, request)? else { return Ok(()) };
    let ifname =
        refuse_own(request, namespaces.is_one().map_err(kernel)?).ok().map(|()| request.env.ifname.as_str());
    namespaces.retire(&link, ifname).map_err(kernel)?;
    if link.name == host_ifname {
        return Ok(());
    }
    // Somebody renamed it: retired interfaces are deleted only if their names are ours.
    namespaces.retire_and_rename(&link).map_err(kernel)
}

/// The attachment's host side: by its name and alias, or, where somebody changed these, as the peer of the
/// container side.
fn find(
    namespaces: &mut Namespaces<'_>,
    host_ifname: &str,
    request: &Request,
) -> Result<Option<Link>, Error> {
    let ifname = &request.env.ifname;
    if let Some(link) = namespaces.host_link(host_ifname).map_err(kernel)?
        && (is_ours(&link, request) || is_half_made(namespaces, &link, ifname)?)
    {
        return Ok(Some(link));
    }
    let Some(link) = namespaces.host_side_of(ifname).map_err(kernel)? else { return Ok(None) };
    // Another network's interface is not in the datapath's block.
    let ours = is_ours(&link, request) || owner(&link).is_none();
    Ok(if ours && plumbing::tc::in_block(link.ifindex).map_err(kernel)? { Some(link) } else { None })
}

/// The container's namespace; `None` if it is gone.
fn netns(request: &Request) -> Result<Option<NetNs>, Error> {
    let Some(path) = request.env.netns.as_deref() else { return Ok(None) };
    match NetNs::open(path.as_ref()) {
        // It may exist.
        Err(error)
            if matches!(error.errno(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EIO)) =>
        {
            Err(kernel(error))
        }
        opened => Ok(opened.ok()),
    }
}

/// Whether an ADD for this container was killed before it set the alias.
fn is_half_made(namespaces: &mut Namespaces<'_>, host_side: &Link, ifname: &str) -> Result<bool, Error> {
    if !host_side.alias.is_empty() {
        return Ok(false);
    }
    Ok(namespaces.container_link(ifname).map_err(kernel)?.is_some_and(|link| link.is_peer_of(host_side)))
}
