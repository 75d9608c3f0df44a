use cni::{Error, Problems, code};
use ipam::Ipam;
use naming::pod_host_interface;
use plumbing::link;
use plumbing::veth::{self, DifferenceKind, Namespaces};

use super::support::{is_ours, open_netns, refuse_own};
use crate::error::kernel;
use crate::plan::Plan;
use crate::request::Request;
use crate::{agent, host_ports};

/// Compares the attachment with the result of ADD: in the kernel, at IPAM and at the agent. Reports all differences.
pub(super) fn check(request: &Request) -> Result<(), Error> {
    let missing = || Error::new(code::CONFIG, "prevResult: missing: CHECK compares with it");
    let result = request.conf.prev_result.as_ref().ok_or_else(missing)?;
    let host_side =
        link::find(&pod_host_interface(&request.pod)).map_err(kernel)?.filter(|link| is_ours(link, request));
    let reserved = Ipam::of_type(&request.conf.net.ipam_type).check(&request.ipam_call());
    if let (None, Err(ipam::Error::NotFound { .. })) = (&host_side, &reserved) {
        let (id, name) = (&request.env.container_id, &request.env.ifname);
        let what =
            format!("container {id} is unknown here: nobody added its interface {name}, or DEL was sent");
        return Err(Error::new(code::UNKNOWN_CONTAINER, what));
    }
    let netns = open_netns(request)?;
    refuse_own(
        request,
        Namespaces::open(Some(&netns)).and_then(|namespaces| namespaces.is_one()).map_err(kernel)?,
    )?;
    let plan = Plan::of_result(request, result)?;

    let mut problems = Problems::default();
    let differences = veth::check(Some(&netns), &plan.pair).map_err(kernel)?;
    let list: Vec<String> = differences
        .iter()
        // A later plugin may have lowered the MTU.
        .filter(|difference| difference.kind != DifferenceKind::SmallerMtu)
        .map(ToString::to_string)
        .collect();
    if !list.is_empty() {
        let what = format!("the attachment is not as it was made: {}", list.join("; "));
        problems.add(code::PLUMBING, what);
    }
    problems.take(reserved);
    if let Some(host_side) = host_side {
        let port = request.conf.runtime.complete(plan.bind_request(host_side.ifindex));
        let checked = problems.take(agent::check(&request.conf.socket, &port));
        if checked.is_some_and(|checked| checked.host_ports_left) && host_ports::are_asked_for(request) {
            problems.take(host_ports::serve("CHECK", request, result));
        }
    }
    problems.into_result()
}
