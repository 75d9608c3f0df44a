use cni::{Error, Problems};
use ipam::Ipam;
use naming::pod_host_interface;
use nodeapi::v1::ReleasePortRequest;
use plumbing::{Link, NetNs, Sides};

use super::{is_ours, owner, refuse_own, warn};
use crate::error::kernel;
use crate::plan::release_request;
use crate::request::Request;
use crate::{agent, host_ports};

/// Detaches the container, as far as there is anything to detach. Without an agent everything on this
/// node is released all the same; the agent drops the port when it is back.
pub(super) fn del(request: &Request, began: u64) -> Result<(), Error> {
    let outer = pod_host_interface(&request.pod);
    // The agent compares the container's id, so that a late DEL harms no newer sandbox of the Pod.
    let mut release = agent::release(&request.conf.socket);
    let port = release_request(&request.alias(), &outer);
    release.start(&ReleasePortRequest { began_monotonic_ns: began, ..port });
    let mut problems = Problems::default();
    let unmapped = problems.take(host_ports::run("DEL", request, None)).is_some();
    let detached = problems.take(detach(request, &outer)).is_some();
    let released = release.finish();
    if let Err(error) = &released {
        warn("the agent will release the port when it is back", error);
    }
    // The addresses last: who gets them next must not meet a port, an interface or a port of the
    // node that passes the old ones.
    if unmapped && (detached || released.is_ok()) {
        problems.take(Ipam::of_type(&request.conf.net.ipam_type).del(&request.ipam_call()));
    }
    problems.into_result()
}

fn detach(request: &Request, outer: &str) -> Result<(), Error> {
    let netns = netns(request)?;
    let mut sides = Sides::open(netns.as_ref()).map_err(kernel)?;
    let Some(link) = find(&mut sides, outer, request)? else { return Ok(()) };
    let inner =
        refuse_own(request, sides.are_one().map_err(kernel)?).ok().map(|()| request.env.ifname.as_str());
    sides.detach(&link, inner).map_err(kernel)?;
    if link.name == outer {
        return Ok(());
    }
    // Dead interfaces are known by their names, too.
    sides.clear(&link).map_err(kernel)
}

/// The attachment's host interface: by its name and alias, or, where somebody changed these, by the pair's other end.
fn find(sides: &mut Sides<'_>, outer: &str, request: &Request) -> Result<Option<Link>, Error> {
    let ifname = &request.env.ifname;
    if let Some(link) = sides.outer(outer).map_err(kernel)?
        && (is_ours(&link, request) || is_half_made(sides, &link, ifname)?)
    {
        return Ok(Some(link));
    }
    let Some(link) = sides.outer_of(ifname).map_err(kernel)? else { return Ok(None) };
    // Another network's interface is not in the datapath's block.
    let ours = is_ours(&link, request) || owner(&link).is_none();
    Ok(if ours && plumbing::tc::in_block(link.ifindex).map_err(kernel)? { Some(link) } else { None })
}

/// The container's namespace; one that is gone, or never was one, has no interface.
fn netns(request: &Request) -> Result<Option<NetNs>, Error> {
    let Some(path) = request.env.netns.as_deref() else { return Ok(None) };
    match NetNs::open(path.as_ref()) {
        // It may be there: it cannot be seen.
        Err(error)
            if matches!(error.errno(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EIO)) =>
        {
            Err(kernel(error))
        }
        opened => Ok(opened.ok()),
    }
}

/// Whether it is what an ADD for this very container left that was killed before the pair said whose it is.
fn is_half_made(sides: &mut Sides<'_>, outer: &Link, ifname: &str) -> Result<bool, Error> {
    if !outer.alias.is_empty() {
        return Ok(false);
    }
    Ok(sides.inner(ifname).map_err(kernel)?.is_some_and(|end| end.is_other_end_of(outer)))
}
