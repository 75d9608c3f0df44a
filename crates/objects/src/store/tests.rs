use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::kind::{Invalid, Metadata, Resource};

/// An object with one field that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Thing {
    name: String,
    uid: Option<String>,
    value: u8,
}

impl Kind for Thing {
    const RESOURCE: Resource =
        Resource { group: "example.org", version: "v1", kind: "Thing", plural: "things", namespaced: false };
    type Api = u8;

    fn trim(metadata: Metadata, value: u8) -> Result<Self, Invalid> {
        Ok(Self { name: metadata.name, uid: metadata.uid, value })
    }

    fn key(&self) -> Key {
        Key::new(&self.name)
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

fn entry(name: u8, uid: u8, value: Option<u8>) -> Entry<Thing> {
    let (name, uid) = (name.to_string(), Some(uid.to_string()));
    let object = value.map(|value| Thing { name: name.clone(), uid: uid.clone(), value });
    Entry { key: Key::new(&name), uid, object: object.ok_or_else(|| Invalid::field("value", "is missing")) }
}

/// What there is to take now.
fn poll(changes: &mut Changes<Thing>) -> Option<Delta<Thing>> {
    let next = pin!(changes.next());
    match next.poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(delta) => Some(delta.expect("the source is there")),
        std::task::Poll::Pending => None,
    }
}

/// A store as nobody would write it, to compare with.
#[derive(Debug, Default)]
struct Naive {
    objects: BTreeMap<Key, Thing>,
    invalid: BTreeMap<Key, bool>,
}

impl Naive {
    fn set(&mut self, entry: &Entry<Thing>) {
        let key = entry.key.clone();
        match &entry.object {
            Ok(object) => {
                self.invalid.remove(&key);
                self.objects.insert(key, object.clone());
            }
            Err(_) => {
                let stays = self.objects.get(&key).is_some_and(|known| known.uid == entry.uid);
                if !stays {
                    self.objects.remove(&key);
                }
                self.invalid.insert(key, stays);
            }
        }
    }

    fn delete(&mut self, key: &Key) {
        self.objects.remove(key);
        self.invalid.remove(key);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8, Option<u8>),
    Delete(u8),
    Replace(Vec<(u8, u8, Option<u8>)>),
    Restore(u8, u8, u8),
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    let object = || (0u8..6, 0u8..2, proptest::option::weighted(0.8, 0u8..3));
    prop_oneof![
        6 => object().prop_map(|(name, uid, value)| Step::Set(name, uid, value)),
        2 => (0u8..6).prop_map(Step::Delete),
        1 => proptest::collection::vec(object(), 0..6).prop_map(Step::Replace),
        1 => (0u8..6, 0u8..2, 0u8..3).prop_map(|(name, uid, value)| Step::Restore(name, uid, value)),
        3 => Just(Step::Take),
    ]
}

proptest! {
    #[test]
    fn deltas_lead_to_the_same_objects_and_none_of_them_is_in_vain(
        steps in proptest::collection::vec(step(), 0..60)
    ) {
        let health = Health::default();
        let (store, mut changes) = Store::new(health.clone());
        let (mut naive, mut consumer) = (Naive::default(), BTreeMap::<Key, Thing>::new());
        let (mut known, mut synced, mut told) = (false, false, None);
        for step in steps.into_iter().chain([Step::Take]) {
            match step {
                Step::Set(name, uid, value) => {
                    naive.set(&entry(name, uid, value));
                    store.update([Update::Set(entry(name, uid, value))], false);
                    known = true;
                }
                Step::Delete(name) => {
                    let key = Key::new(&name.to_string());
                    naive.delete(&key);
                    store.update([Update::Delete(key)], false);
                    known = true;
                }
                Step::Replace(all) => {
                    let entries = || all.iter().map(|(name, uid, value)| entry(*name, *uid, *value));
                    let gone: Vec<Key> = naive.objects.keys().chain(naive.invalid.keys()).cloned().collect();
                    for key in gone.iter().filter(|key| !entries().any(|entry| entry.key == **key)) {
                        naive.delete(key);
                    }
                    entries().for_each(|entry| naive.set(&entry));
                    store.replace(entries().collect());
                    (known, synced) = (true, true);
                }
                Step::Restore(name, uid, value) => {
                    let object = entry(name, uid, Some(value)).object.unwrap();
                    naive.objects.insert(object.key(), object.clone());
                    store.restore(vec![object], false);
                }
                Step::Take => {
                    let delta = poll(&mut changes);
                    let expected = known && (naive.objects != consumer || told != Some(synced));
                    prop_assert_eq!(delta.is_some(), expected);
                    let Some(delta) = delta else { continue };
                    for object in &delta.deleted {
                        let before = consumer.remove(&object.key());
                        prop_assert_eq!(before.as_ref(), Some(&**object));
                    }
                    for object in &delta.upserted {
                        let before = consumer.insert(object.key(), (**object).clone());
                        prop_assert_ne!(before.as_ref(), Some(&**object));
                    }
                    prop_assert_eq!(&consumer, &naive.objects);
                    prop_assert_eq!(delta.synced, synced);
                    told = Some(synced);
                }
            }
            let invalid = health.invalid_objects().borrow().get("Thing").cloned().unwrap_or_default();
            let stays: BTreeMap<Key, bool> =
                invalid.into_iter().map(|(key, what)| (key, what.problem.contains("last valid form"))).collect();
            prop_assert_eq!(&stays, &naive.invalid);
            let (objects, _) = store.view().objects();
            prop_assert!(objects.iter().map(|object| &**object).eq(naive.objects.values()));
        }
    }
}

#[test]
fn equal_objects_count_as_no_change() {
    let (store, mut changes) = Store::new(Health::default());
    let difference = store.replace(vec![entry(1, 0, Some(1)), entry(2, 0, Some(2)), entry(3, 0, Some(3))]);
    assert_eq!(difference, Difference { same: 0, new: 3, replaced: 0 });
    assert_eq!(poll(&mut changes).unwrap().upserted.len(), 3);
    let revision = store.view().revision();
    store.update([Update::Set(entry(1, 0, Some(1)))], false);
    assert_eq!((poll(&mut changes), store.view().revision()), (None, revision));
    let difference = store.replace(vec![entry(1, 0, Some(1)), entry(2, 0, Some(9))]);
    assert_eq!(difference, Difference { same: 1, new: 1, replaced: 2 });
    assert_eq!(store.view().revision(), revision + 2);
}

#[tokio::test]
async fn changes_end_with_the_source() {
    let (store, mut changes) = Store::new(Health::default());
    store.replace(vec![entry(1, 0, Some(1))]);
    drop(store);
    assert_eq!(changes.next().await.unwrap().upserted.len(), 1, "what was there is given first");
    assert_eq!(changes.next().await, None);
}
