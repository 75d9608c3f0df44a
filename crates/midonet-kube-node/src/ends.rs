//! Who is at the ends of packets: Pods, nodes and Services.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use datapath::drops::Drop;
use model::Desired;
use objects::Key;

use crate::agent::Agent;
use crate::protocols::protocol_number;

/// So many rows get names before others get the policies.
const SLICE: usize = 256;

/// So many Services are named of one endpoint.
const SERVICES: usize = 16;

/// Where something is served: an address, a port, and the protocol's number.
type Endpoint = (IpAddr, u16, u8);

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Pod(Key),
    /// A node, by its name.
    Node(String),
    /// A Service, by its namespace and name.
    Service(Key),
}

impl Who {
    /// The Pod, if it is one.
    pub(crate) fn pod(&self) -> Option<&Key> {
        match self {
            Self::Pod(key) => Some(key),
            Self::Node(_) | Self::Service(_) => None,
        }
    }
}

/// Who is at the source and at the destination of each row: the Pod that had the address when its last packet came, else the
/// node or the Service that has it now.
pub(crate) fn of(agent: &Agent, drops: &[Drop]) -> Vec<[Option<Who>; 2]> {
    let ends = |drop: &Drop| [drop.source, drop.destination].map(|end| end.map(|end| (end, drop.last)));
    let mut pods = Vec::with_capacity(drops.len());
    for drops in drops.chunks(SLICE) {
        let known: Vec<_> = drops.iter().flat_map(ends).flatten().collect();
        let mut named = pods_at(agent, &known).into_iter();
        let mut next = |end: Option<IpAddr>| end.and_then(|_| named.next().flatten());
        pods.extend(drops.iter().map(|drop| [next(drop.source), next(drop.destination)]));
    }
    let unnamed = drops.iter().zip(&pods).flat_map(|(drop, [source, destination])| {
        let source = drop.source.filter(|_| source.is_none());
        source.into_iter().chain(drop.destination.filter(|_| destination.is_none()))
    });
    let unnamed: BTreeSet<IpAddr> = unnamed.collect();
    let own = agent.node_name();
    let others = agent.with_model(|model| Some(nodes_and_services(model.desired()?, own, &unnamed)));
    let others = others.flatten().unwrap_or_default();
    let who = |pod: Option<Key>, address: Option<IpAddr>| {
        pod.map(Who::Pod).or_else(|| others.get(&address?).cloned())
    };
    let rows = drops.iter().zip(pods);
    let rows = rows
        .map(|(drop, [source, destination])| [who(source, drop.source), who(destination, drop.destination)]);
    rows.collect()
}

/// The Pods that had addresses at times since boot. Without policies only those of this node are known, as of now.
pub(crate) fn pods_at(agent: &Agent, ends: &[(IpAddr, Duration)]) -> Vec<Option<Key>> {
    if let Some(policies) = agent.policies() {
        return policies.pods_at(ends.iter().copied());
    }
    let mut local = HashMap::<IpAddr, Key>::new();
    for port in agent.backend().ports() {
        let Some(owner) = port.owner.known().filter(|owner| owner.is_whole()) else { continue };
        let key = Key::namespaced(&owner.pod.namespace, &owner.pod.name);
        local.extend(port.addresses.iter().map(|address| (*address, key.clone())));
    }
    ends.iter().map(|(address, _)| local.get(address).cloned()).collect()
}

/// The Services of which the destinations of these rows are endpoints now, by name.
pub(crate) fn services_of(agent: &Agent, drops: &[Drop]) -> HashMap<Endpoint, Vec<Key>> {
    let wanted: HashSet<Endpoint> = drops
        .iter()
        .filter(|drop| drop.port != 0)
        .filter_map(|drop| Some((drop.destination?, drop.port, drop.protocol)))
        .collect();
    if wanted.is_empty() {
        return HashMap::new();
    }
    let served = agent.with_model(|model| Some(endpoints(model.desired()?, &wanted))).flatten();
    let name = |name: &str| name.split_once('/').map(|(namespace, name)| Key::namespaced(namespace, name));
    let named = |services: BTreeSet<Arc<str>>| services.iter().filter_map(|service| name(service)).collect();
    served.unwrap_or_default().into_iter().map(|(endpoint, services)| (endpoint, named(services))).collect()
}

/// The Services of these endpoints, of each those that come first by name.
fn endpoints(desired: &Desired, wanted: &HashSet<Endpoint>) -> HashMap<Endpoint, BTreeSet<Arc<str>>> {
    let mut found = HashMap::<_, BTreeSet<Arc<str>>>::new();
    for (key, service) in desired.services.iter() {
        for backend in service.serving.iter() {
            let endpoint = (backend.address, backend.port, protocol_number(key.protocol));
            if wanted.contains(&endpoint) {
                let services = found.entry(endpoint).or_default();
                services.insert(Arc::clone(&key.service));
                if services.len() > SERVICES {
                    services.pop_last();
                }
            }
        }
    }
    found
}

/// Which of these addresses are of nodes and Services.
fn nodes_and_services(desired: &Desired, own: &str, wanted: &BTreeSet<IpAddr>) -> HashMap<IpAddr, Who> {
    let mut found = HashMap::new();
    if wanted.is_empty() {
        return found;
    }
    let mut note = |address: IpAddr, who: &dyn Fn() -> Who| {
        if wanted.contains(&address) {
            found.entry(address).or_insert_with(who);
        }
    };
    let mut names = HashMap::new();
    let node = |name: &str| Who::Node(name.to_owned());
    desired.local.node_addresses.iter().for_each(|address| note(address.addr(), &|| node(own)));
    for (name, peer) in desired.peers.iter() {
        names.insert(peer.tunnel_address, name);
        for cidr in &peer.pod_cidrs {
            naming::subnet::node(*cidr).iter().for_each(|address| note(*address, &|| node(name)));
        }
    }
    for (address, end) in desired.nodes.iter() {
        match end {
            None => note(*address, &|| node(own)),
            Some(end) => names.get(end).iter().for_each(|name| note(*address, &|| node(name))),
        }
    }
    for (port, service) in desired.services.iter() {
        let Some((namespace, name)) = port.service.split_once('/') else { continue };
        let addresses = service.frontends.iter().filter_map(|frontend| frontend.address);
        addresses.for_each(|address| note(address, &|| Who::Service(Key::namespaced(namespace, name))));
    }
    found
}
