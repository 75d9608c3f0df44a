use ipam::Ipam;
use nodeapi::v1::StatusReply;

use crate::agent;
use crate::error::{Error, Problems, code};
use crate::request::Request;

/// Whether an ADD would work now: the agent is ready and IPAM has addresses.
///
/// An agent that works with the objects it found on disk is ready: it serves every ADD.
pub(super) fn status(request: &Request) -> Result<(), Error> {
    let mut problems = Problems::default();
    // Without an agent packets go on as they did.
    let reply = agent::status(&request.conf.socket)
        .map_err(|error| Error::new(code::UNAVAILABLE, error.to_string()))
        .and_then(|reply| judge(&reply));
    problems.take(reply);
    let ipam = Ipam::of_type(&request.conf.ipam_type).status(&request.ipam_call());
    problems.take(ipam.map_err(|error| match Error::from(error) {
        known @ Error { code: code::UNAVAILABLE | code::LIMITED, .. } => known,
        other => Error { code: code::UNAVAILABLE, ..other },
    }));
    problems.into_result()
}

/// An agent that is there and cannot make the network what it should be: Pods that are attached may miss some
/// of it, too.
fn judge(reply: &StatusReply) -> Result<(), Error> {
    match &reply.agent {
        Some(agent) if !agent.ready => {
            let code = if reply.ports.is_empty() { code::UNAVAILABLE } else { code::LIMITED };
            Err(Error::new(code, format!("the node agent is not ready: {}", agent.not_ready_reason)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nodeapi::v1::{Agent, Port};

    use super::*;

    #[test]
    fn what_an_agent_says_of_itself() {
        for (ready, from_disk, ports, want) in [
            (true, None, 0, None),
            (true, Some(60), 1, None),
            (false, None, 0, Some(50)),
            (false, None, 1, Some(51)),
        ] {
            let agent = Agent { ready, objects_from_disk_seconds: from_disk, ..Agent::default() };
            let ports = vec![Port::default(); ports];
            let reply = StatusReply { agent: Some(agent), ports, ..StatusReply::default() };
            assert_eq!(judge(&reply).err().map(|error| error.code), want, "{reply:?}");
        }
    }
}
