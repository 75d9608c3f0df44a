use ipam::Ipam;
use naming::pod_host_interface;
use plumbing::{NetNs, Sides};

use super::{is_ours, refuse_own, warn};
use crate::agent;
use crate::error::{Error, Problems};
use crate::plan::release_request;
use crate::request::Request;

/// Detaches the container, as far as there is anything to detach. Without an agent everything on this
/// node is released all the same; the agent drops the port when it is back.
pub(super) fn del(request: &Request) -> Result<(), Error> {
    let outer = pod_host_interface(&request.pod);
    // The agent compares the container's id, so that a late DEL harms no newer sandbox of the Pod.
    let mut release = agent::release(&request.conf.socket);
    release.start(&release_request(&request.alias(), &outer));
    let mut problems = Problems::default();
    problems.take(detach(request, &outer));
    if let Err(error) = release.finish() {
        warn("the agent will release the port when it is back", &error);
    }
    // The addresses last, and in any case: who gets them next must not meet the old port or interface.
    problems.take(Ipam::of_type(&request.conf.ipam_type).del(&request.ipam_call()));
    problems.into_result()
}

fn detach(request: &Request, outer: &str) -> Result<(), Error> {
    // A namespace that is gone has taken its interface along.
    let netns = request.env.netns.as_deref().and_then(|path| NetNs::open(path.as_ref()).ok());
    let mut sides = Sides::open(netns.as_ref())?;
    let Some(link) = sides.outer(outer)? else { return Ok(()) };
    if !is_ours(&link, request) {
        return Ok(());
    }
    let inner = refuse_own(request, sides.are_one()?).ok().map(|()| request.env.ifname.as_str());
    Ok(sides.detach(&link, inner)?)
}
