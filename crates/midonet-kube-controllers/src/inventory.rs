//! The Translations that there are, and what of MidoNet they stand for. Pure.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use midonet::{Body, Entry, Resource};
use objects::Key;
use uuid::Uuid;

use crate::kinds::{OwnedBy, Stored};

/// A Translation, and what is found out of its resources once.
#[derive(Debug)]
struct Record {
    stored: Arc<Stored>,
    /// The paths in MidoNet of its resources, as hashes. Of one that is being deleted none: it claims nothing.
    paths: Box<[u64]>,
    /// The devices and chains that it makes.
    makes: Box<[Uuid]>,
    /// What others make and its resources belong to.
    needs: Box<[Uuid]>,
}

/// All Translations by name, by owner, and by what they make and need in MidoNet.
#[derive(Debug, Default)]
pub struct Inventory {
    records: BTreeMap<Key, Record>,
    owners: HashMap<OwnedBy, BTreeSet<Key>>,
    /// Those that midonet-kubernetes made for an Endpoints object, by that object's key.
    endpoints: HashMap<Key, BTreeSet<Key>>,
    /// How many Translations claim each path.
    claims: HashMap<u64, u32>,
    makers: HashMap<Uuid, Key>,
    dependents: HashMap<Uuid, BTreeSet<Key>>,
}

impl Inventory {
    /// There is this Translation, or it changed. An older state than the known one is passed over: a watch may lag behind what
    /// was written. Returns whether anything is new.
    pub fn upsert(&mut self, stored: Arc<Stored>) -> bool {
        if let Some(Record { stored: known, .. }) = self.records.get(&stored.key) {
            let older = known.uid == stored.uid && !stored.is_not_before(known);
            if older || **known == *stored {
                return false;
            }
        }
        self.remove(&stored.key.clone());
        let record = Record::of(stored);
        let key = record.stored.key.clone();
        self.owners.entry(record.stored.owner.clone()).or_default().insert(key.clone());
        if let Some(endpoints) = endpoints_of(&record.stored) {
            self.endpoints.entry(endpoints).or_default().insert(key.clone());
        }
        for path in &record.paths {
            *self.claims.entry(*path).or_default() += 1;
        }
        for id in &record.makes {
            self.makers.insert(*id, key.clone());
        }
        for id in &record.needs {
            self.dependents.entry(*id).or_default().insert(key.clone());
        }
        self.records.insert(key, record);
        true
    }

    /// There is no such Translation any more; as it last was.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Stored>> {
        let record = self.records.remove(key)?;
        take(&mut self.owners, &record.stored.owner, key);
        if let Some(endpoints) = endpoints_of(&record.stored) {
            take(&mut self.endpoints, &endpoints, key);
        }
        for path in &record.paths {
            if let Some(count) = self.claims.get_mut(path) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.claims.remove(path);
                }
            }
        }
        for id in &record.makes {
            if self.makers.get(id) == Some(key) {
                self.makers.remove(id);
            }
        }
        for id in &record.needs {
            take(&mut self.dependents, id, key);
        }
        Some(record.stored)
    }

    /// The Translation of this name.
    pub fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.records.get(key).map(|record| &record.stored)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.records.values().map(|record| &record.stored)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// So many names behind this one, or from the beginning.
    pub fn after(&self, key: Option<&Key>, count: usize) -> Vec<Key> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.range((from, Bound::Unbounded)).take(count).map(|(key, _)| key.clone()).collect()
    }

    /// Those with this label.
    pub fn of(&self, owner: &OwnedBy) -> impl Iterator<Item = &Arc<Stored>> {
        self.owners.get(owner).into_iter().flatten().filter_map(|key| self.get(key))
    }

    /// Those that midonet-kubernetes made for the Endpoints object of this key.
    pub fn of_endpoints(&self, endpoints: &Key) -> impl Iterator<Item = &Arc<Stored>> {
        self.endpoints.get(endpoints).into_iter().flatten().filter_map(|key| self.get(key))
    }

    /// Who is labelled as an owner.
    pub fn owners(&self) -> impl Iterator<Item = &OwnedBy> {
        self.owners.keys()
    }

    /// Of these resources, those that no Translation wants.
    pub fn unclaimed(&self, resources: Vec<Resource>) -> Vec<Resource> {
        let is_free =
            |resource: &Resource| path_hash(resource).is_none_or(|path| !self.claims.contains_key(&path));
        resources.into_iter().filter(is_free).collect()
    }

    /// The Translations that make what this one needs.
    pub fn needed_by(&self, key: &Key) -> Vec<Key> {
        let needs = self.records.get(key).map(|record| &record.needs);
        let makers = needs.into_iter().flatten().filter_map(|id| self.makers.get(id));
        makers.filter(|maker| *maker != key).cloned().collect()
    }

    /// The Translations that need what this one makes.
    pub fn dependent_on(&self, key: &Key) -> Vec<Key> {
        let makes = self.records.get(key).map(|record| &record.makes);
        let dependents = makes.into_iter().flatten().filter_map(|id| self.dependents.get(id)).flatten();
        dependents.filter(|dependent| *dependent != key).cloned().collect()
    }
}

impl Record {
    fn of(stored: Arc<Stored>) -> Self {
        let resources = readable(&stored.resources);
        let mut paths: Vec<u64> = Vec::new();
        if !stored.deleting {
            paths = resources.iter().filter_map(path_hash).collect();
            paths.sort_unstable();
            paths.dedup();
        }
        let makes: BTreeSet<Uuid> = resources.iter().filter_map(made).collect();
        let needs: BTreeSet<Uuid> =
            resources.iter().filter_map(|one| one.parent).filter(|id| !makes.contains(id)).collect();
        let (makes, needs) = (makes.into_iter().collect(), needs.into_iter().collect());
        Self { stored, paths: paths.into(), makes, needs }
    }
}

/// The device or chain that a resource is, which others may belong to.
fn made(resource: &Resource) -> Option<Uuid> {
    match &resource.body {
        Body::TunnelZone(zone) => zone.id,
        Body::Router(router) => Some(router.id),
        Body::Bridge(bridge) => Some(bridge.id),
        Body::Port(port) => Some(port.id),
        Body::Chain(chain) => Some(chain.id),
        _ => None,
    }
}

/// The resources of these entries that can be read. Others were never pushed by this program.
pub fn readable(entries: &[Entry]) -> Vec<Resource> {
    entries.iter().filter_map(|entry| Resource::try_from(entry).ok()).collect()
}

/// Names a resource's path in MidoNet in eight bytes: there are hundreds of thousands. That two have the same hash is one in
/// a billion then, and means that something stays in MidoNet which nobody wants.
fn path_hash(resource: &Resource) -> Option<u64> {
    let path = resource.item_path()?;
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    Some(hasher.finish())
}

/// The Endpoints object that a Translation of midonet-kubernetes was made for.
fn endpoints_of(stored: &Stored) -> Option<Key> {
    let reference = stored.reference.as_ref().filter(|reference| reference.kind == "Endpoints")?;
    Some(Key::namespaced(stored.key.namespace()?, &reference.name))
}

fn take<K: Hash + Eq>(map: &mut HashMap<K, BTreeSet<Key>>, of: &K, key: &Key) {
    if let Some(keys) = map.get_mut(of) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(of);
        }
    }
}

#[cfg(test)]
mod tests;
