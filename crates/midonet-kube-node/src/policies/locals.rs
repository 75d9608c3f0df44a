//! The ports of this node's Pods, as the judge is told of them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use objects::{Key, Pod};
use policy::{Judge, LocalId, LocalPod};

/// The ports, by the index of the host side.
#[derive(Debug)]
pub(super) struct Locals {
    node: Arc<str>,
    ports: BTreeMap<LocalId, Local>,
    /// The Pods of this node by their addresses: for ports of which nobody knows whose they are.
    by_address: HashMap<IpAddr, (Key, Option<Box<str>>)>,
}

/// A port.
#[derive(Debug, Clone)]
pub(super) struct Local {
    /// The namespace of its Pod, if it is known whose it is.
    pub(super) namespace: Option<Arc<str>>,
    /// The name of the host side.
    interface: String,
    addresses: Box<[IpAddr]>,
    /// Whether nobody says whose it is.
    is_unnamed: bool,
    /// Whether it is being bound, so that nobody else has it yet.
    is_new: bool,
}

impl Locals {
    /// Of a node, without any.
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.into(), ports: BTreeMap::new(), by_address: HashMap::new() }
    }

    /// A Pod gets a port. Of one that is there already, nothing but what differs changes.
    pub(super) fn set(
        &mut self,
        id: LocalId,
        interface: &str,
        addresses: &[IpAddr],
        pod: Option<LocalPod>,
        judge: &mut Judge,
    ) {
        let is_new = self.ports.get(&id).is_none_or(|port| port.is_new);
        let port = Local {
            namespace: pod.as_ref().and_then(|pod| pod.key.namespace().map(Into::into)),
            interface: interface.to_owned(),
            addresses: addresses.into(),
            is_unnamed: pod.is_none(),
            is_new,
        };
        if let Some(pod) = pod.or_else(|| self.named(&port.addresses)) {
            judge.set_local(id, pod);
        }
        self.ports.insert(id, port);
    }

    /// A port is bound: others with its interface's name are gone. Whether there were any.
    pub(super) fn bound(&mut self, id: LocalId, judge: &mut Judge) -> bool {
        let former = self.former(id);
        if let Some(port) = self.ports.get_mut(&id) {
            port.is_new = false;
        }
        former.iter().filter(|other| self.unset(**other, judge)).count() > 0
    }

    /// The bound ports with the name of another one's interface.
    pub(super) fn former(&self, id: LocalId) -> Vec<LocalId> {
        let Some(interface) = self.ports.get(&id).map(|port| &port.interface) else { return Vec::new() };
        let is_former = |(other, port): &(&LocalId, &Local)| {
            **other != id && !port.is_new && port.interface == *interface
        };
        self.ports.iter().filter(is_former).map(|(other, _)| *other).collect()
    }

    /// A port's addresses.
    pub(super) fn addresses(&self, id: LocalId) -> impl Iterator<Item = &IpAddr> {
        self.ports.get(&id).into_iter().flat_map(|port| &port.addresses)
    }

    /// A port is gone. Whether it was there.
    pub(super) fn unset(&mut self, id: LocalId, judge: &mut Judge) -> bool {
        judge.unset_local(id);
        self.ports.remove(&id).is_some()
    }

    /// Those that are bound.
    pub(super) fn bound_ones(&self) -> impl Iterator<Item = LocalId> {
        self.ports.iter().filter(|(_, port)| !port.is_new).map(|(id, _)| *id)
    }

    /// A port.
    pub(super) fn get(&self, id: LocalId) -> Option<&Local> {
        self.ports.get(&id)
    }

    /// Those that are there now.
    pub(super) fn copied(&self) -> Vec<(LocalId, Local)> {
        self.ports.iter().map(|(id, port)| (*id, port.clone())).collect()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LocalId, &Local)> {
        self.ports.iter().map(|(id, port)| (*id, port))
    }

    /// A Pod is new or different: a port of which nobody knew whose it is may be its.
    pub(super) fn upsert_pod(&mut self, pod: &Pod, judge: &mut Judge) {
        if pod.node.as_ref() != Some(&self.node) || pod.host_network {
            return;
        }
        for address in &pod.addresses {
            self.by_address.insert(*address, (pod.key.clone(), pod.uid.clone()));
        }
        for (id, port) in self.ports.iter().filter(|(_, port)| port.is_unnamed) {
            if let Some(pod) = self.named(&port.addresses) {
                judge.set_local(*id, pod);
            }
        }
    }

    /// A Pod is gone.
    pub(super) fn delete_pod(&mut self, pod: &Pod) {
        for address in &pod.addresses {
            // Another Pod may have it by now.
            if self.by_address.get(address).is_some_and(|(key, uid)| *key == pod.key && *uid == pod.uid) {
                self.by_address.remove(address);
            }
        }
    }

    /// The one Pod that has all of these addresses.
    fn named(&self, addresses: &[IpAddr]) -> Option<LocalPod> {
        let mut owners = addresses.iter().map(|address| self.by_address.get(address));
        let (key, uid) = owners.next()??;
        let is_same = owners.all(|other| other.is_some_and(|(other, _)| other == key));
        is_same.then(|| LocalPod { key: key.clone(), uid: uid.clone(), addresses: addresses.into() })
    }
}
