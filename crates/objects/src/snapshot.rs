use std::collections::BTreeMap;

use crate::{Key, Node, Object};

/// A change of the cluster's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An object is new or changed.
    Upsert(Object),
    /// An object is gone.
    Delete(Key),
    /// These are all objects: the source was read from end to end.
    Replace(Vec<Object>),
    /// These objects are known, but there may be others: something of the source could not be read, or the
    /// source is away and these were last known.
    Known(Vec<Object>),
}

/// The objects as of now.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: BTreeMap<Key, Object>,
    known: bool,
    synced: bool,
}

impl Snapshot {
    /// Takes a change in; returns whether anything is different now.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Upsert(object) => self.upsert(object),
            Change::Delete(key) => self.objects.remove(&key).is_some(),
            Change::Replace(all) => {
                let all: BTreeMap<Key, Object> =
                    all.into_iter().map(|object| (object.key(), object)).collect();
                let changed = !self.synced || self.objects != all;
                self.objects = all;
                (self.known, self.synced) = (true, true);
                changed
            }
            Change::Known(some) => {
                let first = !std::mem::replace(&mut self.known, true);
                some.into_iter().fold(first, |changed, object| self.upsert(object) || changed)
            }
        }
    }

    fn upsert(&mut self, object: Object) -> bool {
        let key = object.key();
        if self.objects.get(&key) == Some(&object) {
            return false;
        }
        self.objects.insert(key, object);
        true
    }

    /// Whether there is something to go on with.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Whether the source was read from end to end at least once: what is not here does not exist.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.objects.values().map(|object| match object {
            Object::Node(node) => node,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, cidr: &str) -> Object {
        Object::Node(Node {
            name: name.into(),
            uid: None,
            created: None,
            pod_cidrs: vec![cidr.parse().unwrap()],
            internal_ips: Vec::new(),
            annotations: BTreeMap::new(),
        })
    }

    fn names(snapshot: &Snapshot) -> Vec<&str> {
        snapshot.nodes().map(|node| node.name.as_str()).collect()
    }

    #[test]
    fn tells_whether_anything_changed() {
        let mut snapshot = Snapshot::default();
        assert!(!snapshot.is_synced());
        assert!(snapshot.apply(Change::Upsert(node("b", "10.244.1.0/24"))));
        assert!(!snapshot.apply(Change::Upsert(node("b", "10.244.1.0/24"))));
        assert!(snapshot.apply(Change::Upsert(node("b", "10.244.2.0/24"))));
        assert!(!snapshot.is_synced(), "single changes are no full sync");
        assert!(!snapshot.apply(Change::Delete(Key::Node("a".into()))));

        let all = vec![node("a", "10.244.3.0/24"), node("b", "10.244.2.0/24")];
        assert!(snapshot.apply(Change::Replace(all.clone())));
        assert!(snapshot.is_synced());
        assert_eq!(names(&snapshot), ["a", "b"]);
        assert!(!snapshot.apply(Change::Replace(all)));
        assert!(snapshot.apply(Change::Delete(Key::Node("a".into()))));
        assert!(snapshot.apply(Change::Replace(Vec::new())));
        assert!(names(&snapshot).is_empty());
    }

    #[test]
    fn what_is_only_known_removes_nothing() {
        let mut snapshot = Snapshot::default();
        assert!(snapshot.apply(Change::Known(vec![node("a", "10.244.1.0/24")])));
        assert!(snapshot.is_known() && !snapshot.is_synced());
        assert!(!snapshot.apply(Change::Known(vec![node("a", "10.244.1.0/24")])));
        assert!(snapshot.apply(Change::Known(vec![node("b", "10.244.2.0/24")])));
        assert_eq!(names(&snapshot), ["a", "b"]);
        assert!(snapshot.apply(Change::Replace(vec![node("b", "10.244.2.0/24")])));
        assert!(snapshot.is_synced());
        assert!(!snapshot.apply(Change::Known(Vec::new())));
        assert_eq!((names(&snapshot), snapshot.is_synced()), (vec!["b"], true));
    }

    #[test]
    fn an_empty_cluster_is_a_full_sync_too() {
        let mut snapshot = Snapshot::default();
        assert!(snapshot.apply(Change::Replace(Vec::new())));
        assert!(snapshot.is_synced());
    }
}
