//! How the Translations of an owner have to change so that they are those that are wanted. Pure.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use midonet::{Body, Entry, Kind, Resource};
use objects::Key;
use serde_json::{Value, json};
use translation::{
    CustomResource, FINALIZER, GLOBAL_LABEL, Metadata, OWNER_LABEL, ObjectKind, Owner, Translation,
};
use uuid::Uuid;

use crate::inventory::{Inventory, readable};
use crate::kinds::{OwnedBy, REPLACED, Stored};

/// What is to be done with one Translation.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is as it is wanted.
    Nothing,
    /// It is to be created.
    Create,
    /// It is to be changed by this merge patch, which holds for the known version alone.
    Change(Value),
    /// It is being deleted: another one of its name can be created afterwards.
    Wait,
}

/// What names a Translation.
pub fn key(translation: &Translation) -> Key {
    Key::namespaced(&translation.namespace, &translation.name)
}

/// How an owner's Translations are labelled.
pub fn owned_by(owner: &Owner) -> OwnedBy {
    match owner {
        Owner::Globals => OwnedBy::Globals,
        Owner::Object(object) => OwnedBy::Uid(object.uid.clone()),
    }
}

/// Tells one content of a Translation from another.
pub fn content(entries: &[Entry]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Entry { kind, parent, body } in entries {
        (kind, parent, body).hash(&mut hasher);
    }
    hasher.finish()
}

/// What is to be done so that there is this Translation.
pub fn step(wanted: &Translation, known: Option<&Stored>) -> Step {
    let Some(known) = known else { return Step::Create };
    if known.deleting {
        return Step::Wait;
    }
    let CustomResource { metadata: Metadata { labels, owner_references, .. }, resources, .. } =
        CustomResource::from(wanted);
    let mut metadata = serde_json::Map::new();
    if known.owner != owned_by(&wanted.owner) {
        let mut new: serde_json::Map<String, Value> =
            labels.into_iter().map(|(label, value)| (label, value.into())).collect();
        for label in [OWNER_LABEL, GLOBAL_LABEL] {
            new.entry(label).or_insert(Value::Null);
        }
        metadata.insert("labels".into(), new.into());
    }
    if known.reference.as_ref() != owner_references.first() {
        metadata.insert("ownerReferences".into(), json!(owner_references));
    }
    if !known.has_finalizer() {
        let all: Vec<&str> = known.finalizers.iter().map(String::as_str).chain([FINALIZER]).collect();
        metadata.insert("finalizers".into(), json!(all));
    }
    let mut patch = serde_json::Map::new();
    if *known.resources != *resources {
        let replaced = replaced(known, wanted);
        if *replaced != *known.replaced {
            metadata.insert("annotations".into(), json!({REPLACED: annotation(&replaced)}));
        }
        patch.insert("resources".into(), json!(resources));
    }
    if metadata.is_empty() && patch.is_empty() {
        return Step::Nothing;
    }
    metadata.insert("resourceVersion".into(), known.version.clone().into());
    patch.insert("metadata".into(), metadata.into());
    Step::Change(patch.into())
}

/// The annotation's text, or nothing if there is nothing to say.
pub fn annotation(replaced: &[Entry]) -> Value {
    if replaced.is_empty() { Value::Null } else { serde_json::to_string(replaced).unwrap_or_default().into() }
}

/// What a Translation has replaced once it is as it is wanted.
pub fn replaced(known: &Stored, wanted: &Translation) -> Box<[Entry]> {
    let new: Vec<Entry> = wanted.resources.iter().map(Entry::from).collect();
    if *known.resources == *new {
        return known.replaced.clone();
    }
    not_wanted(&known.resources, &known.replaced, &wanted.resources).into()
}

/// The annotation is not longer, in bytes: all of an object's annotations have 256 KiB.
const LONGEST: usize = 200 << 10;

/// What MidoNet may still have and is not wanted any more, oldest first. Rules of a chain that goes are left out: they go with
/// it. If it is too much all the same, the oldest stay in MidoNet.
fn not_wanted(before: &[Entry], replaced: &[Entry], wanted: &[Resource]) -> Vec<Entry> {
    let mut kept: BTreeSet<String> = wanted.iter().filter_map(Resource::item_path).collect();
    let mut old = Vec::new();
    for entry in replaced.iter().chain(before) {
        // What cannot be read was never pushed.
        let Some(resource) = readable(std::slice::from_ref(entry)).pop() else { continue };
        if resource.item_path().is_some_and(|path| kept.insert(path)) {
            old.push((entry, resource));
        }
    }
    let chain = |resource: &Resource| match &resource.body {
        Body::Chain(chain) => Some(chain.id),
        _ => None,
    };
    let chains: BTreeSet<Uuid> = old.iter().filter_map(|(_, resource)| chain(resource)).collect();
    let goes_with_it = |resource: &Resource| {
        resource.kind() == Kind::Rule && resource.parent.is_some_and(|parent| chains.contains(&parent))
    };
    old.retain(|(_, resource)| !goes_with_it(resource));
    let length = |entry: &Entry| 2 * (entry.body.len() + entry.parent.len() + entry.kind.len()) + 40;
    let mut space = LONGEST;
    let newest = old.iter().rev().map_while(|(entry, _)| {
        space = space.checked_sub(length(entry))?;
        Some((*entry).clone())
    });
    let mut newest: Vec<Entry> = newest.collect();
    newest.reverse();
    newest
}

/// The owner's Translations that are not among these: to be deleted once those are pushed. A Service has those of its Endpoints
/// object, too, which midonet-kubernetes made.
pub fn stale(owner: &Owner, wanted: &BTreeSet<Key>, inventory: &Inventory) -> Vec<Key> {
    let mut all: Vec<_> = inventory.of(&owned_by(owner)).collect();
    if let Owner::Object(object) = owner
        && object.kind == ObjectKind::Service
    {
        let endpoints = Key::namespaced(&object.key.namespace, &object.key.name);
        all.extend(inventory.of_endpoints(&endpoints));
    }
    let stale = all.into_iter().filter(|stored| !stored.deleting && !wanted.contains(&stored.key));
    stale.map(|stored| stored.key.clone()).collect()
}

#[cfg(test)]
mod tests;
