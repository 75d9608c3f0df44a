use cni::{Error, Problems, code};
use ipam::Ipam;
use nodeapi::v1::ReadyReply;

use crate::agent;
use crate::request::Request;

/// Whether an ADD would work now: the agent is ready and IPAM has addresses.
///
/// An agent that works with the objects it found on disk is ready: it serves every ADD.
pub(super) fn status(request: &Request) -> Result<(), Error> {
    let mut problems = Problems::default();
    // Without an agent packets go on as they did.
    let reply = agent::ready(&request.conf.socket)
        .map_err(|error| Error::new(code::UNAVAILABLE, error.to_string()))
        .and_then(|reply| check(&reply));
    problems.take(reply);
    let ipam = Ipam::of_type(&request.conf.net.ipam_type).status(&request.ipam_call());
    problems.take(ipam.map_err(|error| match Error::from(error) {
        known @ Error { code: code::UNAVAILABLE | code::LIMITED, .. } => known,
        other => Error { code: code::UNAVAILABLE, ..other },
    }));
    problems.into_result()
}

fn check(reply: &ReadyReply) -> Result<(), Error> {
    if reply.ready {
        return Ok(());
    }
    let code = if reply.serves { code::UNAVAILABLE } else { code::LIMITED };
    Err(Error::new(code, format!("the node agent is not ready: {}", reply.reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_says_of_itself() {
        for (ready, serves, want) in
            [(true, true, None), (true, false, None), (false, true, Some(50)), (false, false, Some(51))]
        {
            let reply = ReadyReply { ready, serves, reason: "no podCIDR".into() };
            assert_eq!(check(&reply).err().map(|error| error.code), want, "{reply:?}");
        }
    }
}
