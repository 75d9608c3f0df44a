use std::collections::{BTreeMap, BTreeSet};

use crate::ids::Ids;
use crate::index::Index;
use crate::network::host;
use crate::set::Set;
use crate::wanted::Wanted;
use crate::{
    EndpointSlice, Key, Node, Object, ObjectKind, Owner, Pod, Problem, Service, globals, node, pod, service,
};

/// What is wanted of one owner now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose Translations.
    pub owner: Owner,
    /// All that is wanted of it.
    pub wanted: Wanted,
    /// All that is wrong with it now; what was wrong before and is not here is over.
    pub problems: Vec<Problem>,
}

/// What is known of the cluster, and which owners' Translations may differ from what was last taken.
///
/// A change marks the owners that depend on it, no others: a Node its Pods if their host changes, an EndpointSlice its
/// Service. To be told what is known already marks nothing. Take changes only after everything was told that there is: a
/// Service whose EndpointSlices are not told yet seems to have no endpoints.
#[derive(Debug)]
pub struct Translator {
    ids: Ids,
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<Key, Pod>,
    services: BTreeMap<Key, Service>,
    slices: BTreeMap<Key, EndpointSlice>,
    pods_of_node: Index<String>,
    slices_of_service: Index<Key>,
    dirty: BTreeSet<Mark>,
    gone: BTreeSet<Gone>,
}

/// An owner, in the order in which sets are given: what MidoNet needs of one kind is there before the next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Globals,
    Node(String),
    Pod(Key),
    Service(Key),
}

/// An owner that is no more. In order of the kind first: they are given in the reverse of it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Gone(Object);

impl Translator {
    /// Knows nothing; the globals of this tenant are to be taken.
    pub fn new(tenant: &str) -> Self {
        Self {
            ids: Ids::new(tenant),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            pods_of_node: Index::default(),
            slices_of_service: Index::default(),
            dirty: [Mark::Globals].into(),
            gone: BTreeSet::new(),
        }
    }

    /// There is this Node, or it changed.
    pub fn set_node(&mut self, node: Node) {
        let old = self.nodes.get(&node.name);
        if old == Some(&node) {
            return;
        }
        // A host that is not known and one that is missing are told apart: their Pods have other problems.
        let others = old.map(host) != Some(host(&node));
        let old = old.map(Node::object);
        self.replaced(old, node.object());
        if others {
            self.mark_pods(&node.name);
        }
        self.dirty.insert(Mark::Node(node.name.clone()));
        self.nodes.insert(node.name.clone(), node);
    }

    /// There is no such Node any more.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(old) = self.nodes.remove(name) {
            self.mark_pods(name);
            self.removed(&Mark::Node(old.name.clone()), old.object());
        }
    }

    fn mark_pods(&mut self, node: &str) {
        self.dirty.extend(self.pods_of_node.of(&node.to_owned()).cloned().map(Mark::Pod));
    }

    /// There is this Pod, or it changed.
    pub fn set_pod(&mut self, pod: Pod) {
        let key = pod.key();
        let old = self.pods.get(&key);
        if old == Some(&pod) {
            return;
        }
        let (old, old_node) = (old.map(Pod::object), old.map(|old| old.node.clone()));
        self.replaced(old, pod.object());
        if let Some(old_node) = old_node.filter(|old| *old != pod.node) {
            self.pods_of_node.remove(&old_node, &key);
        }
        self.pods_of_node.add(pod.node.clone(), key.clone());
        self.dirty.insert(Mark::Pod(key.clone()));
        self.pods.insert(key, pod);
    }

    /// There is no such Pod any more.
    pub fn remove_pod(&mut self, key: &Key) {
        if let Some(old) = self.pods.remove(key) {
            self.pods_of_node.remove(&old.node, key);
            self.removed(&Mark::Pod(key.clone()), old.object());
        }
    }

    /// There is this Service, or it changed.
    pub fn set_service(&mut self, service: Service) {
        let key = service.key();
        let old = self.services.get(&key);
        if old == Some(&service) {
            return;
        }
        let old = old.map(Service::object);
        self.replaced(old, service.object());
        self.dirty.insert(Mark::Service(key.clone()));
        self.services.insert(key, service);
    }

    /// There is no such Service any more.
    pub fn remove_service(&mut self, key: &Key) {
        if let Some(old) = self.services.remove(key) {
            self.removed(&Mark::Service(key.clone()), old.object());
        }
    }

    /// There is this EndpointSlice, or it changed.
    pub fn set_slice(&mut self, slice: EndpointSlice) {
        let key = slice.key();
        if self.slices.get(&key) == Some(&slice) {
            return;
        }
        self.remove_slice(&key);
        let service = Key::new(&slice.namespace, &slice.service);
        self.slices_of_service.add(service.clone(), key.clone());
        self.dirty.insert(Mark::Service(service));
        self.slices.insert(key, slice);
    }

    /// There is no such EndpointSlice any more.
    pub fn remove_slice(&mut self, key: &Key) {
        if let Some(old) = self.slices.remove(key) {
            let service = Key::new(old.namespace, old.service);
            self.slices_of_service.remove(&service, key);
            self.dirty.insert(Mark::Service(service));
        }
    }

    /// All owners are to be taken again, so that what was lost or changed by others is found.
    pub fn mark_all(&mut self) {
        self.dirty.insert(Mark::Globals);
        self.dirty.extend(self.nodes.keys().cloned().map(Mark::Node));
        self.dirty.extend(self.pods.keys().cloned().map(Mark::Pod));
        self.dirty.extend(self.services.keys().cloned().map(Mark::Service));
    }

    /// Whether there is this owner, with this UID.
    pub fn knows(&self, owner: &Owner) -> bool {
        let Owner::Object(Object { kind, key, uid }) = owner else { return true };
        let known = match kind {
            ObjectKind::Node => self.nodes.get(&key.name).map(|node| &node.uid),
            ObjectKind::Pod => self.pods.get(key).map(|pod| &pod.uid),
            ObjectKind::Service => self.services.get(key).map(|service| &service.uid),
            ObjectKind::EndpointSlice => None,
        };
        known == Some(uid)
    }

    /// All Nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Whether there is a Service of this name.
    pub fn has_service(&self, key: &Key) -> bool {
        self.services.contains_key(key)
    }

    /// The owner of this kind and name is to be taken again, if there is one: others may have changed what it has.
    pub fn mark(&mut self, kind: ObjectKind, key: &Key) {
        let mark = match kind {
            ObjectKind::Node if self.nodes.contains_key(&key.name) => Mark::Node(key.name.clone()),
            ObjectKind::Pod if self.pods.contains_key(key) => Mark::Pod(key.clone()),
            ObjectKind::Service if self.services.contains_key(key) => Mark::Service(key.clone()),
            _ => return,
        };
        self.dirty.insert(mark);
    }

    /// The globals are to be taken again.
    pub fn mark_globals(&mut self) {
        self.dirty.insert(Mark::Globals);
    }

    /// An object has another one's name: the other one is no more. One that comes back is not gone.
    fn replaced(&mut self, old: Option<Object>, new: Object) {
        if let Some(old) = old.filter(|old| old.uid != new.uid) {
            self.gone.insert(Gone(old));
        }
        self.gone.remove(&Gone(new));
    }

    fn removed(&mut self, mark: &Mark, object: Object) {
        self.dirty.remove(mark);
        self.gone.insert(Gone(object));
    }

    /// The next owner whose Translations may differ from what was last taken, with all that is wanted of it: what MidoNet
    /// needs for others comes first, and owners that are no more last. None if nothing changed since.
    pub fn next_change(&mut self) -> Option<Change> {
        while let Some(mark) = self.dirty.pop_first() {
            if let Some(change) = self.convert(&mark) {
                return Some(change);
            }
        }
        let Gone(object) = self.gone.pop_last()?;
        Some(Change { owner: Owner::Object(object), wanted: Wanted::Set(Vec::new()), problems: Vec::new() })
    }

    /// All that [`Self::next_change`] gives.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.next_change()).collect()
    }

    /// How many owners may differ, at most.
    pub fn pending(&self) -> usize {
        self.dirty.len() + self.gone.len()
    }

    fn convert(&self, mark: &Mark) -> Option<Change> {
        let ids = &self.ids;
        let (set, wanted) = match mark {
            Mark::Globals => {
                let mut set = Set::new(Owner::Globals);
                globals::convert(ids, &mut set);
                let wanted = Wanted::Set(std::mem::take(&mut set.translations));
                (set, wanted)
            }
            Mark::Node(name) => {
                let node = self.nodes.get(name)?;
                let mut set = Set::new(Owner::Object(node.object()));
                let wanted = node::convert(node, ids, &mut set);
                (set, wanted)
            }
            Mark::Pod(key) => {
                let pod = self.pods.get(key)?;
                let mut set = Set::new(Owner::Object(pod.object()));
                let wanted = pod::convert(pod, self.nodes.get(&pod.node), ids, &mut set);
                (set, wanted)
            }
            Mark::Service(key) => {
                let service = self.services.get(key)?;
                let mut set = Set::new(Owner::Object(service.object()));
                let slices = self.slices_of_service.of(key).filter_map(|slice| self.slices.get(slice));
                let wanted = service::convert(service, slices, ids, &mut set);
                (set, wanted)
            }
        };
        Some(Change { owner: set.owner, wanted, problems: set.problems })
    }
}
