//! What the API server knows of a network that a MidoNet is.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, anyhow, bail};
use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::api::core::v1 as core;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use naming::{PodKey, annotation, interface};

use super::topology::{Node, Snapshot, Source};
use crate::name::Name;
use crate::trace::args::{Place, Target};

/// So many objects are asked for at a time.
const PAGE: u32 = 500;

/// The network, who sends, and to which address.
///
/// # Errors
/// The API server does not say, there is no such object, or its network is not MidoNet.
pub(super) async fn read(
    client: &Client,
    from: &Place,
    to: &Target,
) -> Result<(Snapshot, Source, (String, Ipv4Addr))> {
    let mut snapshot = Snapshot::default();
    for translation in translations(client).await? {
        let name = translation.metadata.name.clone().unwrap_or_default();
        let read = serde_json::to_value(&translation).and_then(serde_json::from_value);
        match read {
            Ok(translation) => snapshot.add(&translation),
            Err(error) => snapshot.problems.push(format!("Translation {name}: {error}")),
        }
    }
    if snapshot.resources.is_empty() {
        bail!("there are no Translations any more: midonet-kube-controllers do not work");
    }
    let nodes = Api::<core::Node>::all(client.clone());
    let listed = nodes.list(&ListParams::default()).await.context("cannot list the Nodes")?;
    snapshot.nodes = listed.items.iter().filter_map(node).collect();
    let source = match from {
        Place::Pod(name) => {
            let pod = pod(client, name).await?;
            pod_source(&snapshot, name, &pod)?
        }
        Place::Node(name) => {
            let object = listed.items.iter().find(|node| node.metadata.name.as_deref() == Some(name));
            node_source(&snapshot, name, object.ok_or_else(|| anyhow!("there is no Node {name}"))?)?
        }
    };
    let target = match to {
        Target::Address(IpAddr::V4(address)) => (address.to_string(), *address),
        Target::Address(IpAddr::V6(address)) => bail!("{address}: MidoNet gets IPv4 alone"),
        Target::Service(name) => (format!("Service {name}"), service(client, name).await?),
        Target::Place(place @ Place::Pod(name)) => {
            (place.to_string(), address(name, &pod(client, name).await?)?)
        }
        Target::Place(place @ Place::Node(name)) => {
            let node = listed.items.iter().find(|node| node.metadata.name.as_deref() == Some(name));
            let node = node.ok_or_else(|| anyhow!("there is no {place}"))?;
            (
                place.to_string(),
                internal(node).with_context(|| format!("{place} has no internal IPv4 address"))?,
            )
        }
    };
    Ok((snapshot, source, target))
}

/// Whether a MidoNet is the cluster's network: there are Translations. Who may not list them has another network.
pub(super) async fn is_there(client: &Client) -> bool {
    let first = api(client).list_metadata(&ListParams::default().limit(1)).await;
    first.is_ok_and(|list| !list.items.is_empty())
}

fn api(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("midonet.org", "v1", "Translation");
    let resource = ApiResource::from_gvk_with_plural(&kind, "translations");
    Api::all_with(client.clone(), &resource)
}

async fn translations(client: &Client) -> Result<Vec<DynamicObject>> {
    let api = api(client);
    let (mut all, mut page) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let list = match api.list(&page).await {
            // The definition is not there.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
            list => list.context("cannot list the Translations: the right to list translations is needed")?,
        };
        all.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = ListParams::default().limit(PAGE).continue_token(&token),
            None => return Ok(all),
        }
    }
}

async fn pod(client: &Client, name: &Name) -> Result<core::Pod> {
    let api = Api::<core::Pod>::namespaced(client.clone(), &name.namespace);
    let found = api.get_opt(&name.name).await.with_context(|| format!("cannot read Pod {name}"))?;
    found.with_context(|| format!("there is no Pod {name}; a Service is named service/{name}"))
}

async fn service(client: &Client, name: &Name) -> Result<Ipv4Addr> {
    let api = Api::<core::Service>::namespaced(client.clone(), &name.namespace);
    let found = api.get_opt(&name.name).await.with_context(|| format!("cannot read Service {name}"))?;
    let spec = found.with_context(|| format!("there is no Service {name}"))?.spec.unwrap_or_default();
    let addresses = spec.cluster_ips.into_iter().flatten().chain(spec.cluster_ip);
    let mut addresses = addresses.filter_map(|address| address.parse().ok());
    addresses.next().with_context(|| format!("Service {name} has no IPv4 cluster IP"))
}

/// A Node that is one of MidoNet's hosts; `None`: it is not.
fn node(node: &core::Node) -> Option<Node> {
    let host = node.metadata.annotations.as_ref()?.get(annotation::HOST_ID)?.parse().ok()?;
    let spec = node.spec.as_ref()?;
    let cidrs = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    let cidr = cidrs.filter_map(|cidr| cidr.parse::<Ipv4Net>().ok()).next()?;
    Some(Node { name: node.metadata.name.clone()?, host, cidr })
}

fn pod_source(snapshot: &Snapshot, name: &Name, pod: &core::Pod) -> Result<Source> {
    let on = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let on = on.with_context(|| format!("Pod {name} is on no node yet"))?;
    let node = host(snapshot, &on)?;
    let mac = pod.metadata.annotations.as_ref().and_then(|all| all.get(annotation::MAC_ADDRESS));
    let mac = mac.and_then(|mac| mac.parse().ok()).with_context(|| {
        format!("Pod {name} has no MAC address in {}: the agent of {on} writes it", annotation::MAC_ADDRESS)
    })?;
    let interface = naming::pod_host_interface(&PodKey::new(name.namespace.as_str(), name.name.as_str()));
    Ok(Source { name: format!("Pod {name}"), node, interface, mac, address: address(name, pod)? })
}

fn node_source(snapshot: &Snapshot, name: &str, object: &core::Node) -> Result<Source> {
    let node = host(snapshot, name)?;
    let mac = object.metadata.annotations.as_ref().and_then(|all| all.get(annotation::MAC_ADDRESS));
    let mac = mac.and_then(|mac| mac.parse().ok()).with_context(|| {
        format!("Node {name} has no MAC address in {}: its agent writes it", annotation::MAC_ADDRESS)
    })?;
    let IpAddr::V4(address) = naming::subnet::node(IpNet::V4(node.cidr))? else {
        bail!("the podCIDR {} of Node {name} has no second address", node.cidr)
    };
    Ok(Source { name: format!("Node {name}"), node, interface: interface::MIDO.to_owned(), mac, address })
}

fn host(snapshot: &Snapshot, name: &str) -> Result<Node> {
    let found = snapshot.nodes.iter().find(|node| node.name == name).cloned();
    found.with_context(|| {
        format!(
            "Node {name} is none of MidoNet's hosts: it has no annotation {}, or no IPv4 podCIDR; see its Events",
            annotation::HOST_ID
        )
    })
}

fn address(name: &Name, pod: &core::Pod) -> Result<Ipv4Addr> {
    let status = pod.status.as_ref();
    let all = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    let address = all.filter_map(|one| one.ip.parse().ok()).next();
    address.with_context(|| format!("Pod {name} has no IPv4 address"))
}

fn internal(node: &core::Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?.iter();
    addresses.filter(|one| one.type_ == "InternalIP").filter_map(|one| one.address.parse().ok()).next()
}
