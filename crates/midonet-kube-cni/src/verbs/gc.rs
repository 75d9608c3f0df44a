use cni::{Attachment, Call, Error, Problems, code};
use ipam::Ipam;
use naming::alias::PortAlias;
use plumbing::Link;
use plumbing::veth::Namespaces;

use super::support::{owner, warn};
use crate::agent;
use crate::error::kernel;
use crate::plan::release_request;
use crate::request::Request;

/// Releases whatever belongs to no valid attachment. Goes on after errors and reports them all.
pub(super) fn gc(request: &Request) -> Result<(), Error> {
    let ipam = Ipam::of_type(&request.conf.net.ipam_type);
    let mut problems = Problems::default();
    let released = release_stale(request, &ipam, &mut problems);
    problems.take(released.map_err(kernel));
    problems.take(ipam.gc(&request.ipam_call(), &request.conf.net.valid_attachments));
    problems.into_result()
}

/// Retires stale interfaces, and releases their ports and addresses.
fn release_stale(request: &Request, ipam: &Ipam, problems: &mut Problems) -> plumbing::Result<()> {
    let mut namespaces = Namespaces::open(None)?;
    let links = plumbing::link::list()?;
    let mut agent_is_there = true;
    for (link, owner) in stale(links, request.network(), &request.conf.net.valid_attachments) {
        if agent_is_there {
            match agent::release(&request.conf.socket).ask(&release_request(&owner, &link.name)) {
                Err(error) if error.code == code::TRY_AGAIN => {
                    warn("the agent will release the ports when it is back", &error);
                    agent_is_there = false;
                }
                released => {
                    problems.take(released);
                }
            }
        }
        // By ifindex: a newer sandbox may have the name by now.
        problems.take(namespaces.retire(&link, None).map_err(kernel));
        // One by one, too: an IPAM plugin need not know GC (host-local does not).
        let call = Call { container_id: &owner.container_id, ifname: &owner.ifname, ..request.ipam_call() };
        problems.take(ipam.del(&call));
    }
    Ok(())
}

/// The host sides of Pods that are not attached to that network any more.
fn stale(links: Vec<Link>, network: Option<&str>, valid: &[Attachment]) -> Vec<(Link, PortAlias)> {
    let is_valid = |owner: &PortAlias| {
        valid.iter().any(|v| v.container_id == owner.container_id && v.ifname == owner.ifname)
    };
    let in_use = links.into_iter().filter(|link| !link.is_retired());
    let owned = in_use.filter_map(|link| owner(&link).map(|owner| (link, owner)));
    owned.filter(|(_, owner)| owner.network.as_deref() == network && !is_valid(owner)).collect()
}

#[cfg(test)]
mod tests {
    use naming::PodKey;

    use super::*;

    fn port(name: &str, container_id: &str, group: u32, network: Option<&str>) -> Link {
        let alias = PortAlias {
            pod: PodKey::new("default", name),
            container_id: container_id.into(),
            ifname: "eth0".into(),
            pod_uid: None,
            network: network.map(str::to_owned),
        };
        Link { name: name.into(), alias: alias.encode(), group, ..Link::default() }
    }

    #[test]
    fn only_this_networks_that_are_in_use_and_not_valid() {
        let links = vec![
            port("valid", "a", 0, None),
            port("stale", "b", 0, None),
            port("elsewhere", "d", 0, Some("other")),
            port("retired", "c", plumbing::link::RETIRED_GROUP, None),
            Link { name: "eth0".into(), alias: "uplink".into(), ..Link::default() },
            Link { name: "lo".into(), ..Link::default() },
        ];
        let valid = [Attachment { container_id: "a".into(), ifname: "eth0".into() }];
        let names = |network| {
            let stale = stale(links.clone(), network, &valid).into_iter();
            stale.map(|(link, _)| link.name).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["stale"]);
        assert_eq!(names(Some("other")), ["elsewhere"]);
        assert!(names(Some("third")).is_empty());
    }
}
