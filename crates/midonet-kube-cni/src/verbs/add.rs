use cni::{Error, code};
use ipam::Ipam;
use naming::pod_host_interface;
use plumbing::link;
use plumbing::veth::Namespaces;
use serde_json::Value;

use super::support::{open_netns, owner, refuse_own, warn};
use crate::error::kernel;
use crate::plan::{Plan, release_request, veth_pair};
use crate::request::Request;
use crate::undo::Undo;
use crate::{agent, host_ports};

/// Attaches the container. The host side is set up last, when the agent has committed the port; if anything fails,
/// everything is undone.
pub(super) fn add(request: &Request, began: u64) -> Result<Value, Error> {
    let netns = open_netns(request)?;
    let mut namespaces = Namespaces::open(Some(&netns)).map_err(kernel)?;
    refuse_own(request, namespaces.is_one().map_err(kernel)?)?;
    replace_old(request, &mut namespaces)?;
    let (pair, ipam) = (veth_pair(request)?, Ipam::of_type(&request.conf.net.ipam_type));
    let release = release_request(&request.alias(), &pair.host_ifname);
    let mut undo = Undo::default();

    // An executed IPAM plugin works while the pair is created, which needs no addresses.
    let pending = ipam.begin(&request.ipam_call())?;
    let made = namespaces.create(&pair);
    let allocated = pending.finish();
    if allocated.is_ok() {
        undo.push(|| {
            let released = ipam.del(&request.ipam_call());
            released.unwrap_or_else(|error| warn("cannot release the addresses", &error));
        });
    }
    if let Ok(indexes) = made {
        let host_ifname = pair.host_ifname.clone();
        undo.push(move || {
            // By ifindex: a newer sandbox may have the name by now.
            let deleted = link::delete(indexes.host_ifindex, &host_ifname);
            deleted.unwrap_or_else(|error| warn("cannot undo the attachment", &error));
        });
    }
    let (allocated, indexes) = (allocated?, made.map_err(kernel)?);
    let plan = Plan::new(request, pair, allocated)?;

    // Also if the call fails: the agent may have committed the port, and its answer be lost.
    undo.push(|| {
        let _ = agent::release(&request.conf.socket).ask(&release);
    });
    // The agent commits the port while the container side is configured: each has all it needs. The connection is not
    // made earlier: each message to a sleeping agent wakes it, so that one wake-up with all messages is cheaper.
    let mut port = request.conf.runtime.complete(plan.bind_request(indexes.host_ifindex));
    port.began_monotonic_ns = began;
    let mut bind = agent::bind(&request.conf.socket);
    bind.start(&port);
    namespaces.configure(&plan.pair, indexes.ifindex).map_err(kernel)?;
    let sandbox = request.env.netns.as_deref().unwrap_or_default();
    let result = plan.result(sandbox, request.conf.prev_result.as_ref());
    let bound = bind.finish_or_retry(&port)?;

    namespaces.set_up(indexes.host_ifindex, &plan.pair.host_ifname).map_err(kernel)?;
    if bound.host_ports_left && host_ports::are_asked_for(request) {
        undo.push(|| {
            let unmapped = host_ports::delete(request);
            unmapped.unwrap_or_else(|error| warn("cannot delete the host ports", &error));
        });
        host_ports::serve("ADD", request, &result)?;
    }
    undo.keep();
    Ok(result.to_json(request.conf.net.version))
}

/// Retires the host side of an older sandbox of the Pod, and refuses to replace an attachment in use, before anything
/// is reserved.
fn replace_old(request: &Request, namespaces: &mut Namespaces<'_>) -> Result<(), Error> {
    let (ifname, container_id) = (&request.env.ifname, &request.env.container_id);
    let exists = namespaces.container_link(ifname).map_err(kernel)?.is_some();
    let attached = |what: String| Err(Error::new(code::ATTACHED, what));
    let Some(link) = namespaces.host_link(&pod_host_interface(&request.pod)).map_err(kernel)? else {
        return if exists {
            attached(format!("interface {ifname} exists in the container already: delete it or name another"))
        } else {
            Ok(())
        };
    };
    // A retired host side is no attachment any more.
    match owner(&link).filter(|_| !link.is_retired()) {
        Some(old) if old.container_id == *container_id && old.ifname != *ifname => attached(format!(
            "Pod {} has interface {} in container {container_id}: one attachment per Pod",
            request.pod, old.ifname
        )),
        _ if exists => attached(format!(
            "interface {ifname} exists in the container already: send DEL for container {container_id} first"
        )),
        _ => namespaces.retire_and_rename(&link).map_err(kernel),
    }
}
