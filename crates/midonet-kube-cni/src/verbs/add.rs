use cni::{Error, code};
use ipam::Ipam;
use naming::pod_host_interface;
use plumbing::Sides;
use serde_json::Value;

use super::{open_netns, owner, refuse_own, warn};
use crate::error::kernel;
use crate::plan::{Pair, Plan, release_request};
use crate::request::Request;
use crate::undo::Undo;
use crate::{agent, host_ports};

/// Attaches the container. The host interface goes up last, when the agent has committed the port; if
/// anything fails, everything is taken back.
pub(super) fn add(request: &Request, began: u64) -> Result<Value, Error> {
    let netns = open_netns(request)?;
    let mut sides = Sides::open(Some(&netns)).map_err(kernel)?;
    refuse_own(request, sides.are_one().map_err(kernel)?)?;
    make_room(request, &mut sides)?;
    let (pair, ipam) = (Pair::new(request)?, Ipam::of_type(&request.conf.net.ipam_type));
    let release = release_request(&request.alias(), &pair.outer);
    let mut undo = Undo::default();

    // An IPAM plugin that is executed works while the pair is made, which needs no addresses.
    let pending = ipam.begin(&request.ipam_call())?;
    let made = sides.create(&pair.attachment(&netns));
    let allocation = pending.finish();
    if allocation.is_ok() {
        undo.push(|| {
            let given = ipam.del(&request.ipam_call());
            given.unwrap_or_else(|error| warn("cannot give the addresses back", &error));
        });
    }
    if let Ok(ends) = made {
        let outer = pair.outer.clone();
        undo.push(move || {
            // By its number: the name may be a newer sandbox's by now.
            let deleted = plumbing::delete(ends.outer_ifindex, &outer);
            deleted.unwrap_or_else(|error| warn("cannot undo the attachment", &error));
        });
    }
    let (allocation, ends) = (allocation?, made.map_err(kernel)?);
    let plan = Plan::new(request, pair, allocation)?;
    let attachment = plan.attachment(&netns);

    // Also if the call fails: the agent may have committed the port and its answer be lost.
    undo.push(|| {
        let _ = agent::release(&request.conf.socket).ask(&release);
    });
    // The agent commits the port while the Pod's side is set up: both know all they have to. Connected only
    // now: each message to an agent that sleeps wakes it, so that few at once are better than one early.
    let mut port = host_ports::complete(request, plan.bind_request(ends.outer_ifindex));
    port.began_monotonic_ns = began;
    let mut bind = agent::bind(&request.conf.socket);
    bind.start(&port);
    sides.configure(&attachment, ends).map_err(kernel)?;
    let sandbox = request.env.netns.as_deref().unwrap_or_default();
    let result = plan.result(sandbox, request.conf.prev_result.as_ref());
    bind.finish_or_retry(&port)?;

    sides.set_up(ends.outer_ifindex, &attachment.outer).map_err(kernel)?;
    undo.push(|| {
        let unmapped = host_ports::run("DEL", request, None);
        unmapped.unwrap_or_else(|error| warn("cannot take the ports of the node back", &error));
    });
    host_ports::run("ADD", request, Some(&result))?;
    undo.keep();
    Ok(result.to_json(request.conf.net.version))
}

/// Takes what an older sandbox of the Pod left out of the way, and refuses what would harm a living
/// attachment, before anything is reserved.
fn make_room(request: &Request, sides: &mut Sides<'_>) -> Result<(), Error> {
    let (ifname, container_id) = (&request.env.ifname, &request.env.container_id);
    let exists = sides.inner(ifname).map_err(kernel)?.is_some();
    let attached = |what: String| Err(Error::new(code::ATTACHED, what));
    let Some(link) = sides.outer(&pod_host_interface(&request.pod)).map_err(kernel)? else {
        return if exists {
            attached(format!("interface {ifname} exists in the container already: delete it or name another"))
        } else {
            Ok(())
        };
    };
    // What a DEL left to be deleted is no attachment any more.
    match owner(&link).filter(|_| !link.is_dead()) {
        Some(old) if old.container_id == *container_id && old.ifname != *ifname => attached(format!(
            "Pod {} has interface {} in container {container_id}: one attachment per Pod",
            request.pod, old.ifname
        )),
        _ if exists => attached(format!(
            "interface {ifname} exists in the container already: send DEL for container {container_id} first"
        )),
        _ => sides.clear(&link).map_err(kernel),
    }
}
