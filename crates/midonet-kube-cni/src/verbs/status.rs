use ipam::Ipam;

use crate::agent;
use crate::error::{Error, code};
use crate::request::Request;

/// Whether an ADD would work now: the agent is ready and IPAM has addresses.
pub(super) fn status(request: &Request) -> Result<(), Error> {
    let unavailable = |what: String| Error::new(code::UNAVAILABLE, what);
    let reply = agent::status(&request.conf.socket).map_err(|error| unavailable(error.to_string()))?;
    match reply.agent {
        Some(agent) if !agent.ready => {
            return Err(unavailable(format!("the node agent is not ready: {}", agent.not_ready_reason)));
        }
        _ => {}
    }
    let ipam = Ipam::of_type(&request.conf.ipam_type).status(&request.ipam_call());
    ipam.map_err(|error| match Error::from(error) {
        known @ Error { code: 50 | 51, .. } => known,
        other => Error { code: code::UNAVAILABLE, ..other },
    })
}
