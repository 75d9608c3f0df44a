//! Making Nodes MidoNet's hosts: a Node gets the annotations that it lacks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use midonet_client::{Client, Host};
use objects::{Key, Kind, Patch};
use serde_json::json;
use tracing::{debug, warn};
use translation::Node;

use crate::kinds::{NODE_ANNOTATIONS, Watched};
use crate::object_events;
use crate::shared::Shared;
use crate::writing::Writing;

/// How often Nodes without annotations are looked for; ever less often while MidoNet does not know them.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// What a Node lacks, if it lacks anything and all of it is known: as midonet-kubernetes had it, all or nothing.
fn missing(node: &Node, hosts: &[Host]) -> Result<BTreeMap<&'static str, String>, &'static str> {
    let [host_id, zone_id, endpoint] = NODE_ANNOTATIONS;
    let mut annotations = BTreeMap::new();
    if node.host_id.is_none() {
        let host = hosts.iter().find(|host| host.name == node.name);
        let host = host
            .ok_or("MidoNet has no host of its name: start the MidoNet agent there under the Node's name")?;
        annotations.insert(host_id, host.id.to_string());
    }
    if node.tunnel_zone_id.is_none() {
        // The default tunnel zone.
        annotations.insert(zone_id, String::new());
    }
    if node.tunnel_endpoint_ip.is_none() {
        // MidoNet's tunnels are over IPv4; a Node of two families may name its IPv6 address first.
        let mut internal = node.addresses.iter().filter(|address| address.kind == "InternalIP");
        let internal = internal.find(|address| address.address.parse::<Ipv4Addr>().is_ok());
        let internal = internal.ok_or("it has no IPv4 address of type InternalIP")?;
        annotations.insert(endpoint, internal.address.clone());
    }
    Ok(annotations)
}

fn lacks(node: &Node) -> bool {
    node.host_id.is_none() || node.tunnel_zone_id.is_none() || node.tunnel_endpoint_ip.is_none()
}

/// Annotates Nodes, for ever.
pub async fn annotate(shared: Arc<Shared>, client: Client, writing: Writing) {
    let [shortest, longest] = WAITS;
    let mut wait = shortest;
    let mut before = Vec::new();
    loop {
        tokio::time::sleep(wait).await;
        let nodes = shared.look(|reconciler| reconciler.nodes_that(lacks));
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        // Others than those that there was nothing to do for.
        wait = if names == before { (wait * 2).min(longest) } else { shortest };
        before = names;
        if nodes.is_empty() {
            wait = shortest;
            continue;
        }
        match client.hosts().await {
            Ok(hosts) => {
                for node in nodes {
                    annotate_one(&writing, &node, &hosts).await;
                }
            }
            Err(error) => debug!(%error, "MidoNet's hosts are not known; Nodes are annotated later"),
        }
    }
}

async fn annotate_one(writing: &Writing, node: &Node, hosts: &[Host]) {
    let annotations = match missing(node, hosts) {
        Ok(annotations) => annotations,
        Err(why) => return debug!(node = node.name, why, "a Node is not annotated yet"),
    };
    let patch = json!({"metadata": {"uid": node.uid, "annotations": annotations}});
    let key = Key::new(&node.name);
    let resource = <Watched<Node> as Kind>::RESOURCE;
    let patched = writing.writer.patch(&resource, &key, Patch::Strategic, &patch).await;
    writing.count("annotate", &patched).await;
    match patched {
        Ok(_) => {
            let list: Vec<_> = annotations.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            let note = format!("Annotated map[{}]", list.join(" "));
            writing.events.tell(object_events::of_object(
                &node.object(),
                false,
                "Annotate",
                "MidoNetHostIDAnnotated",
                note,
            ));
        }
        Err(fault) => warn!(node = node.name, %fault, "a Node was not annotated; it is tried again"),
    }
}

#[cfg(test)]
mod tests {
    use translation::NodeAddress;

    use super::*;

    fn host(name: &str) -> Host {
        Host {
            id: "44fb4381-c99d-4389-86c3-fdca765bcbde".parse().unwrap(),
            name: name.into(),
            alive: true,
            addresses: Vec::new(),
        }
    }

    fn address(kind: &str, address: &str) -> NodeAddress {
        NodeAddress { kind: kind.into(), address: address.into() }
    }

    #[test]
    fn only_what_is_missing_is_filled_in() {
        let node = Node {
            name: "n".into(),
            addresses: vec![
                address("ExternalIP", "192.0.2.9"),
                address("InternalIP", "2001:db8::1"),
                address("InternalIP", "192.0.2.1"),
            ],
            ..Node::default()
        };
        let all = missing(&node, &[host("other"), host("n")]).unwrap();
        let want = [
            ("midonet.org/host-id", "44fb4381-c99d-4389-86c3-fdca765bcbde"),
            ("midonet.org/tunnel-endpoint-ip", "192.0.2.1"),
            ("midonet.org/tunnel-zone-id", ""),
        ];
        assert_eq!(all, want.map(|(name, value)| (name, value.to_owned())).into());
        let own = Node { host_id: Some("x".into()), tunnel_endpoint_ip: Some("y".into()), ..node.clone() };
        assert_eq!(missing(&own, &[]).unwrap(), [("midonet.org/tunnel-zone-id", String::new())].into());
        assert!(!lacks(&Node { tunnel_zone_id: Some(String::new()), ..own }));
        assert!(missing(&node, &[host("other")]).unwrap_err().contains("no host of its name"));
        let without = Node { addresses: vec![address("Hostname", "n")], ..node };
        assert!(missing(&without, &[host("n")]).unwrap_err().contains("InternalIP"));
    }
}
