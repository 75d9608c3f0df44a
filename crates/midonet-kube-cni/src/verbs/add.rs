use ipam::Ipam;
use naming::pod_host_interface;
use plumbing::NetNs;
use serde_json::Value;

use super::{open_netns, owner, warn};
use crate::agent;
use crate::error::{Error, code};
use crate::plan::{Plan, release_request};
use crate::request::Request;
use crate::undo::Undo;

/// Attaches the container. The host interface goes up last, when the agent has committed the port; if
/// anything fails, everything is taken back.
pub(super) fn add(request: &Request) -> Result<Value, Error> {
    let netns = open_netns(request)?;
    make_room(request, &netns)?;
    let socket = &request.conf.socket;
    let ipam = Ipam::of_type(&request.conf.ipam_type);
    let (plan, release); // outlive what is to be undone with them
    let mut undo = Undo::default();

    let allocation = ipam.add(&request.ipam_call())?;
    undo.push(|| {
        ipam.del(&request.ipam_call()).unwrap_or_else(|error| warn("cannot give the addresses back", &error));
    });

    plan = Plan::new(request, allocation)?;
    let attached = plumbing::attach(&plan.attachment(&netns))?;
    undo.push(|| {
        plumbing::remove(&plan.outer).unwrap_or_else(|error| warn("cannot undo the attachment", &error));
    });

    release = release_request(&request.alias(), &plan.outer);
    // Also if the call fails: the agent may have committed the port and its answer be lost.
    undo.push(|| {
        let _ = agent::release(socket, &release);
    });
    agent::bind(socket, &plan.bind_request(attached.outer_ifindex))?;

    plumbing::set_up(&plan.outer)?;
    undo.keep();
    let sandbox = request.env.netns.as_deref().unwrap_or_default();
    Ok(plan.result(sandbox, request.conf.prev_result.as_ref()).to_json(request.conf.version))
}

/// Takes what an older sandbox of the Pod left out of the way, and refuses what would harm a living
/// attachment, before anything is reserved.
fn make_room(request: &Request, netns: &NetNs) -> Result<(), Error> {
    let (ifname, container_id) = (&request.env.ifname, &request.env.container_id);
    let outer = pod_host_interface(&request.pod);
    let exists = netns.run(|| plumbing::index(ifname))??.is_some();
    let attached = |what: String| Err(Error::new(code::ATTACHED, what));
    let Some(link) = plumbing::find_port(&outer)? else {
        return if exists {
            attached(format!("interface {ifname} exists in the container already: delete it or name another"))
        } else {
            Ok(())
        };
    };
    match owner(&link) {
        Some(old) if old.container_id == *container_id && old.ifname != *ifname => attached(format!(
            "Pod {} has interface {} in container {container_id}: one attachment per Pod",
            request.pod, old.ifname
        )),
        _ if exists => attached(format!(
            "interface {ifname} exists in the container already: send DEL for container {container_id} first"
        )),
        _ => Ok(plumbing::detach(&outer, None)?),
    }
}
