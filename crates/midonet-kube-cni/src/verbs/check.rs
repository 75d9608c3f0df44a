use ipam::Ipam;
use plumbing::Sides;

use super::{open_netns, refuse_own};
use crate::agent;
use crate::error::{Error, code};
use crate::plan::Plan;
use crate::request::Request;

/// Compares the attachment with what ADD made: in the kernel, at IPAM and at the agent.
pub(super) fn check(request: &Request) -> Result<(), Error> {
    let missing = || Error::new(code::CONFIG, "prevResult: missing: CHECK compares with it");
    let result = request.conf.prev_result.as_ref().ok_or_else(missing)?;
    let netns = open_netns(request)?;
    refuse_own(request, Sides::open(Some(&netns))?.are_one()?)?;
    let plan = Plan::of_result(request, result)?;
    let attachment = plan.attachment(&netns);
    let differences = plumbing::check(&attachment)?;
    if !differences.is_empty() {
        let list = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return Err(Error::new(code::PLUMBING, format!("the attachment is not as it was made: {list}")));
    }
    Ipam::of_type(&request.conf.ipam_type).check(&request.ipam_call())?;
    let found = plumbing::find(&attachment)?;
    agent::check(&request.conf.socket, &plan.bind_request(found.outer_ifindex)).map(drop)
}
