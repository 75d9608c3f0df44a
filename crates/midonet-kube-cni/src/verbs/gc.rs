use ipam::{Attachment, Ipam};
use naming::alias::PortAlias;
use plumbing::{DEAD_GROUP, Link};

use super::owner;
use crate::agent;
use crate::error::{Error, Problems};
use crate::plan::release_request;
use crate::request::Request;

/// Releases whatever belongs to no valid attachment. Goes on past errors and tells them all.
pub(super) fn gc(request: &Request) -> Result<(), Error> {
    let valid = request.conf.valid_attachments.as_deref().unwrap_or_default();
    let mut problems = Problems::default();
    for (link, owner) in
        problems.take(plumbing::list_ports().map(|links| stale(links, valid))).unwrap_or_default()
    {
        // Without the agent, as in DEL: it drops the port when it is back.
        let mut release = agent::release(&request.conf.socket);
        release.start(&release_request(&owner, &link.name));
        let _ = release.finish();
        problems.take(plumbing::detach(&link.name));
    }
    problems.take(Ipam::of_type(&request.conf.ipam_type).gc(&request.ipam_call(), valid));
    problems.into_result()
}

/// The host interfaces of Pods that are attached no more.
fn stale(links: Vec<Link>, valid: &[Attachment]) -> Vec<(Link, PortAlias)> {
    let is_valid = |owner: &PortAlias| {
        valid.iter().any(|v| v.container_id == owner.container_id && v.ifname == owner.ifname)
    };
    let living = links.into_iter().filter(|link| link.group != DEAD_GROUP);
    let owned = living.filter_map(|link| owner(&link).map(|owner| (link, owner)));
    owned.filter(|(_, owner)| !is_valid(owner)).collect()
}

#[cfg(test)]
mod tests {
    use naming::PodKey;

    use super::*;

    fn port(name: &str, container_id: &str, group: u32) -> Link {
        let alias = PortAlias {
            pod: PodKey::new("default", name),
            container_id: container_id.into(),
            ifname: "eth0".into(),
            pod_uid: None,
        };
        Link { name: name.into(), alias: alias.encode(), group, ..Link::default() }
    }

    #[test]
    fn only_ours_that_are_alive_and_not_valid() {
        let links = vec![
            port("valid", "a", 0),
            port("stale", "b", 0),
            port("dead", "c", DEAD_GROUP),
            Link { name: "eth0".into(), alias: "uplink".into(), ..Link::default() },
            Link { name: "lo".into(), ..Link::default() },
        ];
        let valid = [Attachment { container_id: "a".into(), ifname: "eth0".into() }];
        let names: Vec<String> = stale(links, &valid).into_iter().map(|(link, _)| link.name).collect();
        assert_eq!(names, ["stale"]);
    }
}
