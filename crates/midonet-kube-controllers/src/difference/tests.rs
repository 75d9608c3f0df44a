use std::sync::Arc;

use midonet::{Resource, Rule, RuleType};
use translation::{Object, ObjectKind, OwnerReference, Translation};
use uuid::Uuid;

use super::*;
use crate::kinds::{OwnedBy, Stored};

fn rule(number: u128) -> Resource {
    Resource::of(Uuid::from_u128(1), Rule::new(Uuid::from_u128(number), RuleType::Accept))
}

fn pod(name: &str) -> Owner {
    let key = translation::Key::new("default", name);
    Owner::Object(Object { kind: ObjectKind::Pod, key, uid: name.into() })
}

fn stored(owner: &str, name: &str, resources: &[Resource]) -> Arc<Stored> {
    let reference = OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: owner.into(),
        uid: owner.into(),
    };
    Arc::new(Stored {
        key: Key::namespaced("default", name),
        uid: name.into(),
        version: "1".into(),
        owner: OwnedBy::Uid(owner.into()),
        reference: Some(reference),
        finalizers: vec![translation::FINALIZER.into()],
        deleting: false,
        resources: resources.iter().map(Entry::from).collect(),
        replaced: Box::default(),
    })
}

fn change(owner: &str, wanted: &[(&str, Vec<Resource>)]) -> Change {
    let wanted = wanted.iter().map(|(name, resources)| Translation {
        namespace: "default".into(),
        name: (*name).into(),
        owner: pod(owner),
        resources: resources.clone(),
    });
    Change { owner: pod(owner), wanted: Wanted::Set(wanted.collect()), problems: Vec::new() }
}

#[test]
fn every_kind_of_difference_is_a_line_and_nothing_else() {
    let mut inventory = Inventory::default();
    for one in [
        stored("a", "pod.4.same", &[rule(2)]),
        stored("a", "pod.4.changed", &[rule(2), rule(3)]),
        stored("a", "pod.4.unwanted", &[rule(4)]),
        stored("kept", "pod.4.kept", &[rule(5)]),
        stored("elsewhere", "pod.4.orphan", &[rule(6)]),
    ] {
        inventory.upsert(one);
    }
    let mut difference = Difference::default();
    let new = [
        ("pod.4.same", vec![rule(2)]),
        ("pod.4.changed", vec![rule(3), rule(7)]),
        ("pod.4.new", vec![rule(8)]),
    ];
    difference.add(&change("a", &new), &inventory);
    difference.add(&Change { owner: pod("kept"), wanted: Wanted::Keep, problems: Vec::new() }, &inventory);
    let text = difference.comments(&inventory, |_| true);
    let id = Uuid::from_u128;
    let want = format!(
        "# 4 of the Translations there differ or are to come, 1 are as they are wanted.\n\
         # default/pod.4.changed: change\n\
         #   - Rule {parent} {{\"id\":\"{old}\",\"type\":\"accept\"}}\n\
         #   + Rule {parent} {{\"id\":\"{new}\",\"type\":\"accept\"}}\n\
         # default/pod.4.new: create, 1 resource\n\
         # default/pod.4.orphan: delete, 1 resource of Pod default/elsewhere\n\
         # default/pod.4.unwanted: delete, 1 resource of Pod default/a\n",
        parent = id(1),
        old = id(2),
        new = id(7),
    );
    assert_eq!(text, want);
}

#[test]
fn what_is_not_converted_is_left_alone() {
    let mut inventory = Inventory::default();
    inventory.upsert(stored("a", "pod.4.a", &[]));
    let text = Difference::default().comments(&inventory, |owner| matches!(owner, Owner::Globals));
    assert!(text.starts_with("# 0 of the Translations"), "{text}");
}
