//! Which endpoints of a Service's port are in which list, and why the others are not: as kube-proxy chooses them
//! (KEP-1669 terminating endpoints, KEP-2433 and KEP-3015 topology hints, KEP-2086 internal traffic policy).

use std::fmt;
use std::sync::{Arc, LazyLock};

use objects::{Endpoint, EndpointSlice, Family, Protocol};

use crate::service::Backend;

/// An endpoint as a Service's port has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// Its port; `None`: its slice has no port of that name and protocol.
    pub(crate) port: Option<u16>,
}

/// Where endpoints are chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) node: &'a str,
    pub(crate) zone: Option<&'a str>,
}

/// In which lists an endpoint is. `None`: it is in that list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) cluster: Option<Unused>,
    pub(crate) local: Option<Unused>,
}

/// Why an endpoint is not in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unused {
    /// Its EndpointSlice has no port of the name and protocol of the Service's.
    NoPort,
    /// The same address and port is there another time, and that one counts: of two the one that does not terminate.
    Duplicate,
    /// It is not ready.
    NotReady,
    /// It is being deleted, and does not serve any more.
    Stopped,
    /// It is being deleted, and others are ready.
    Terminating,
    /// The hints give it to other nodes.
    OtherNode,
    /// The hints give it to other zones.
    OtherZone,
    /// It does not run on this node.
    NotLocal,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPort => "its EndpointSlice has no such port",
            Self::Duplicate => "the same address and port is listed twice, and the other one counts",
            Self::NotReady => "not ready",
            Self::Stopped => "terminating, and serving no more",
            Self::Terminating => "terminating, while others are ready",
            Self::OtherNode => "topology hints: for other nodes",
            Self::OtherZone => "topology hints: for other zones",
            Self::NotLocal => "not on this node",
        })
    }
}

/// Which hints count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topology {
    Off,
    Node,
    Zone,
}

/// All endpoints that a Service's port has in a family.
pub(crate) fn candidates<'a>(
    slices: &'a [Arc<EndpointSlice>],
    name: &'a str,
    protocol: Protocol,
    family: Family,
) -> Vec<Candidate<'a>> {
    let mut all = Vec::new();
    for slice in slices.iter().filter(|slice| slice.family == family) {
        let ports = slice.ports.iter().filter(|port| *port.name == *name && port.protocol == protocol);
        let mut ports = ports.map(|port| Some(port.port)).peekable();
        let none = ports.peek().is_none().then_some(None);
        for port in ports.chain(none) {
            all.extend(slice.endpoints.iter().map(|endpoint| Candidate { endpoint, port }));
        }
    }
    all
}

impl Candidate<'_> {
    pub(crate) fn backend(&self) -> Option<Backend> {
        Some(Backend { address: self.endpoint.address, port: self.port? })
    }

    /// Whether it may get connections while nothing is ready.
    fn is_last_resort(&self) -> bool {
        self.endpoint.serving && self.endpoint.terminating
    }

    fn is_local(&self, here: Here<'_>) -> bool {
        self.endpoint.node.as_deref() == Some(here.node)
    }

    fn hints<'a>(&'a self, of: impl Fn(&'a objects::Hints) -> &'a [Arc<str>]) -> &'a [Arc<str>] {
        self.endpoint.hints.as_deref().map_or(&[], of)
    }

    fn nodes(&self) -> &[Arc<str>] {
        self.hints(|hints| &hints.nodes)
    }

    fn zones(&self) -> &[Arc<str>] {
        self.hints(|hints| &hints.zones)
    }

    /// Why it is in no list for its own sake.
    fn unused(&self) -> Unused {
        match (self.endpoint.terminating, self.endpoint.serving) {
            (true, true) => Unused::Terminating,
            (true, false) => Unused::Stopped,
            (false, _) => Unused::NotReady,
        }
    }
}

/// What becomes of each candidate, in the same order.
pub(crate) fn choose(candidates: &[Candidate<'_>], here: Here<'_>) -> Vec<Choice> {
    let out = |why| Choice { cluster: Some(why), local: Some(why) };
    let counting = counting(candidates);
    let counted = || candidates.iter().zip(&counting).filter(|(_, counts)| **counts).map(|(one, _)| one);
    let is_any_ready = counted().any(|one| one.endpoint.ready);
    let is_local_ready = counted().any(|one| one.endpoint.ready && one.is_local(here));
    let topology = topology(counted().filter(|one| one.endpoint.ready), here);
    let choose = |(one, counts): (&Candidate<'_>, &bool)| {
        if one.port.is_none() {
            return out(Unused::NoPort);
        }
        if !counts {
            return out(Unused::Duplicate);
        }
        let in_list = |is_any_ready: bool| {
            let is_in = if is_any_ready { one.endpoint.ready } else { one.is_last_resort() };
            if is_in { Ok(()) } else { Err(one.unused()) }
        };
        let hinted = || match topology {
            Topology::Node if !names(one.nodes(), here.node) => Err(Unused::OtherNode),
            Topology::Zone if !here.zone.is_some_and(|zone| names(one.zones(), zone)) => {
                Err(Unused::OtherZone)
            }
            _ => Ok(()),
        };
        let cluster = in_list(is_any_ready).and_then(|()| if is_any_ready { hinted() } else { Ok(()) });
        let local = if one.is_local(here) { in_list(is_local_ready) } else { Err(Unused::NotLocal) };
        Choice { cluster: cluster.err(), local: local.err() }
    };
    candidates.iter().zip(&counting).map(choose).collect()
}

/// Which candidates count: of several with one address and port the one that does not terminate; then, as it has to be
/// the same every time, one that is ready, one that serves, the first.
fn counting(candidates: &[Candidate<'_>]) -> Vec<bool> {
    let mut order: Vec<_> = candidates.iter().enumerate().filter(|(_, one)| one.port.is_some()).collect();
    order.sort_by_key(|(place, one)| {
        let Endpoint { address, ready, serving, terminating, .. } = one.endpoint;
        (*address, one.port, *terminating, !ready, !serving, *place)
    });
    order.dedup_by_key(|(_, one)| one.backend());
    let mut counting = vec![false; candidates.len()];
    for (place, _) in order {
        if let Some(counts) = counting.get_mut(place) {
            *counts = true;
        }
    }
    counting
}

/// Hints count if every ready endpoint has them and one of them names this node, or else its zone.
fn topology<'a>(ready: impl Iterator<Item = &'a Candidate<'a>>, here: Here<'_>) -> Topology {
    let (mut all_nodes, mut all_zones, mut this_node, mut this_zone) = (true, true, false, false);
    for one in ready {
        all_nodes &= !one.nodes().is_empty();
        all_zones &= !one.zones().is_empty();
        this_node |= names(one.nodes(), here.node);
        this_zone |= here.zone.is_some_and(|zone| names(one.zones(), zone));
    }
    if all_nodes && this_node {
        Topology::Node
    } else if all_zones && this_zone {
        Topology::Zone
    } else {
        Topology::Off
    }
}

fn names(hints: &[Arc<str>], name: &str) -> bool {
    hints.iter().any(|hint| **hint == *name)
}

static NONE: LazyLock<Arc<[Backend]>> = LazyLock::new(|| Arc::new([]));

/// A port's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lists {
    pub(crate) cluster: Arc<[Backend]>,
    pub(crate) local: Arc<[Backend]>,
    pub(crate) serving: Arc<[Backend]>,
}

impl Lists {
    pub(crate) fn of(candidates: &[Candidate<'_>], here: Here<'_>) -> Self {
        let choices = choose(candidates, here);
        let list = |is_in: &dyn Fn(&Candidate<'_>, &Choice) -> bool| -> Vec<Backend> {
            let all = candidates.iter().zip(&choices).filter(|(one, choice)| is_in(one, choice));
            let mut list: Vec<Backend> = all.filter_map(|(one, _)| one.backend()).collect();
            list.sort_unstable();
            list
        };
        let counts = |choice: &Choice| choice.cluster != Some(Unused::Duplicate);
        let cluster: Arc<[Backend]> = list(&|_, choice| choice.cluster.is_none()).into();
        // Mostly they are equal, or there is nothing local: then they are there once.
        let shared = |list: Vec<Backend>| match &*list {
            [] => Arc::clone(&NONE),
            list if *list == *cluster => Arc::clone(&cluster),
            _ => list.into(),
        };
        let local = shared(list(&|_, choice| choice.local.is_none()));
        // With publishNotReadyAddresses an endpoint is ready that does not serve.
        let serving =
            shared(list(&|one, choice| counts(choice) && (one.endpoint.serving || one.endpoint.ready)));
        Self { cluster, local, serving }
    }
}
