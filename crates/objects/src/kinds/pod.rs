mod api;

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fields::quoted;
use super::labels::Labels;
use crate::kind::{Invalid, Key, Kind, Metadata, Resource};
use crate::network::Protocol;
use crate::shared::Shared;
use api::{ApiPod, Container, ContainerPort, Spec, Status};

/// The annotation of a Pod that stands for a static one (a mirror Pod): the UID that the kubelet has made up of its file,
/// and tells the runtime.
const STATIC: &str = "kubernetes.io/config.mirror";

/// The annotation of a Pod with its addresses, as its node's agent writes it.
const ADDRESSES: &str = "midonet.org/ip-addresses";

/// A Pod has no more addresses than these, in an annotation.
const ANNOUNCED: usize = 8;

/// A Pod of any node, for policies. It needs about 540 bytes with six labels, 50,000 Pods 27 MB (`tests/memory.rs`).
///
/// Pods are not cached on disk: of 50,000 the file would be written anew without end. While the API server is away from the
/// agent's start on, policies that were written before for Pods that run are in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// What names it.
    pub key: Key,
    /// The UID that the runtime and the CNI plugin know it by: of a static Pod that of its file
    /// (`kubernetes.io/config.mirror`). A manifest may leave it out.
    pub uid: Option<Box<str>>,
    /// Its labels.
    pub labels: Labels,
    /// The node that it is bound to.
    pub node: Option<Arc<str>>,
    /// Its addresses (`status.podIPs`), empty until they are known.
    pub addresses: Box<[IpAddr]>,
    /// Whether they are what its annotation `midonet.org/ip-addresses` says: its node's agent writes it when it adds the Pod,
    /// about a second before the kubelet writes the status. Whoever may write the Pod can write it, too.
    pub early: bool,
    /// Whether it uses its node's addresses: no policy applies to it or selects it.
    pub host_network: bool,
    /// Whether it has ended (`Succeeded`, `Failed`): it has no addresses any more. A terminating Pod has not ended.
    pub ended: bool,
    /// The ports of its containers that have names, sidecars (init containers with `restartPolicy: Always`) included.
    pub ports: Box<[NamedPort]>,
}

/// A port of a container that has a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamedPort {
    /// Its name.
    pub name: Arc<str>,
    /// What it is of.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

impl Kind for Pod {
    const RESOURCE: Resource =
        Resource { group: "", version: "v1", kind: "Pod", plural: "pods", namespaced: true };

    const CACHED: bool = false;

    type Api = ApiPod;

    fn trim(mut metadata: Metadata, api: ApiPod) -> Result<Self, Invalid> {
        let (spec, status) = (api.spec.unwrap_or_default(), api.status.unwrap_or_default());
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let annotated = metadata.annotations.remove(ADDRESSES);
        let known = if ended { Box::default() } else { addresses(status)? };
        let announced = annotated.filter(|_| known.is_empty() && !ended).and_then(|text| announced(&text));
        let early = announced.is_some();
        let uid = metadata.annotations.remove(STATIC).filter(|uid| !uid.is_empty()).or(metadata.uid.take());
        Ok(Self {
            key: Key::of_metadata(&Self::RESOURCE, &metadata),
            uid: uid.map(String::into_boxed_str),
            labels: metadata.labels.into_iter().collect(),
            node: spec
                .node_name
                .as_ref()
                .map(|Shared(name)| Arc::clone(name))
                .filter(|name| !name.is_empty()),
            addresses: announced.unwrap_or(known),
            early,
            host_network: spec.host_network.unwrap_or_default(),
            ended,
            ports: ports(spec)?,
        })
    }

    fn key(&self) -> Key {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

fn addresses(status: Status) -> Result<Box<[IpAddr]>, Invalid> {
    let all = status.pod_ips.into_iter().flatten().filter_map(|one| one.ip).filter(|ip| !ip.is_empty());
    let mut all: Vec<String> = all.collect();
    if all.is_empty() {
        all.extend(status.pod_ip.filter(|ip| !ip.is_empty()));
    }
    let address = |text: String| match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if is_unusable(address) => Err(format!("{address} is no address of one host")),
        Ok(address) => Ok(address),
        Err(_) => Err(format!("{} is no IP address", quoted(&text))),
    };
    let addresses: Result<_, _> = all.into_iter().map(address).collect();
    addresses.map_err(|wrong| Invalid::field("status.podIPs", wrong))
}

/// The addresses of an annotation; `None` if it has anything else.
fn announced(text: &str) -> Option<Box<[IpAddr]>> {
    let address = |text: &str| Some(text.parse::<IpAddr>().ok()?.to_canonical());
    let all: Option<Vec<IpAddr>> = text.split(',').map(address).collect();
    all.filter(|all| all.len() <= ANNOUNCED && !all.iter().copied().any(is_unusable))
        .map(Vec::into_boxed_slice)
}

fn is_unusable(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback() || address.is_multicast()
}

/// Containers' come first, as Kubernetes itself looks a name up.
fn ports(spec: Spec) -> Result<Box<[NamedPort]>, Invalid> {
    let is_sidecar = |container: &Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.into_iter().flatten().filter(is_sidecar);
    let containers = spec.containers.into_iter().flatten().chain(sidecars);
    let mut ports = Vec::new();
    for ContainerPort { name, container_port, protocol } in
        containers.flat_map(|container| container.ports.into_iter().flatten())
    {
        let Some(Shared(name)) = name.filter(|Shared(name)| !name.is_empty()) else { continue };
        let wrong =
            |problem| Err(Invalid::field(&format!("spec.containers.ports[{}]", quoted(&name)), problem));
        let protocol = protocol.as_deref().unwrap_or("TCP");
        let Some(protocol) = Protocol::named(protocol) else {
            return wrong(format!("the protocol {} is none of TCP, UDP and SCTP", quoted(protocol)));
        };
        let number = container_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let Some(port) = number else { return wrong("its containerPort is not 1 to 65535".to_owned()) };
        let port = NamedPort { name, protocol, port };
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports.into())
}

#[cfg(test)]
mod tests;
