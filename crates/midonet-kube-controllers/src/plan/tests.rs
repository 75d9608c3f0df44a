use midonet::{Chain, Rule, RuleType};
use translation::{Object, OwnerReference};
use uuid::Uuid;

use super::*;

fn rule(number: u128) -> Resource {
    Resource::of(Uuid::from_u128(1), Rule::new(Uuid::from_u128(number), RuleType::Accept))
}

fn owner() -> Owner {
    let key = translation::Key::new("default", "web");
    Owner::Object(Object { kind: ObjectKind::Service, key, uid: "u".into() })
}

fn wanted(resources: Vec<Resource>) -> Translation {
    Translation { namespace: "default".into(), name: "service.4.web".into(), owner: owner(), resources }
}

/// As it is after it was written so.
fn stored(translation: &Translation) -> Stored {
    let CustomResource { metadata, resources, .. } = CustomResource::from(translation);
    Stored {
        key: key(translation),
        uid: "t".into(),
        version: "7".into(),
        owner: owned_by(&translation.owner),
        reference: metadata.owner_references.into_iter().next(),
        finalizers: metadata.finalizers,
        deleting: false,
        resources: resources.into(),
        replaced: Box::default(),
    }
}

#[test]
fn what_is_as_it_is_wanted_is_left_alone() {
    let wanted = wanted(vec![rule(2)]);
    assert_eq!(step(&wanted, None), Step::Create);
    assert_eq!(step(&wanted, Some(&stored(&wanted))), Step::Nothing);
    let other = Stored { finalizers: vec!["x/y".into(), FINALIZER.into()], ..stored(&wanted) };
    assert_eq!(step(&wanted, Some(&other)), Step::Nothing);
    assert_eq!(step(&wanted, Some(&Stored { deleting: true, ..stored(&wanted) })), Step::Wait);
}

#[test]
fn a_change_says_what_is_replaced_and_holds_for_one_version() {
    let known = stored(&wanted(vec![rule(2), rule(3)]));
    let Step::Change(patch) = step(&wanted(vec![rule(3), rule(4)]), Some(&known)) else { panic!() };
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    let entry = |number| Entry::from(&rule(number));
    assert_eq!(patch["resources"], json!([entry(3), entry(4)]));
    let replaced = patch["metadata"]["annotations"][REPLACED].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Vec<Entry>>(replaced).unwrap(), [entry(2)]);
    assert_eq!(patch["metadata"].as_object().unwrap().len(), 2, "{patch}");

    // What was replaced before and not removed yet stays there, unless it is wanted again.
    let before = Stored { replaced: [entry(9), entry(4)].into(), ..known };
    let Step::Change(patch) = step(&wanted(vec![rule(4)]), Some(&before)) else { panic!() };
    let replaced = patch["metadata"]["annotations"][REPLACED].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Vec<Entry>>(replaced).unwrap(), [entry(9), entry(2), entry(3)]);
}

#[test]
fn another_owner_takes_over_label_and_reference() {
    let wanted = wanted(vec![rule(2)]);
    let known = Stored {
        owner: OwnedBy::Uid("endpoints".into()),
        reference: Some(OwnerReference { kind: "Endpoints".into(), ..OwnerReference::default() }),
        finalizers: vec!["x/y".into()],
        ..stored(&wanted)
    };
    let Step::Change(patch) = step(&wanted, Some(&known)) else { panic!() };
    let labels = json!({"midonet.org/owner-uid": "u", "midonet.org/global": null});
    assert_eq!(patch["metadata"]["labels"], labels);
    assert_eq!(patch["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(patch["metadata"]["finalizers"], json!(["x/y", FINALIZER]));
    assert!(patch["resources"].is_null());
}

#[test]
fn a_resource_with_other_content_of_the_same_path_is_not_replaced() {
    let chain = |name: &str| {
        Resource::top(Chain { id: Uuid::from_u128(5), tenant_id: "t".into(), name: name.into() })
    };
    let known = stored(&wanted(vec![chain("a")]));
    assert!(replaced(&known, &wanted(vec![chain("b")])).is_empty());
    assert_ne!(content(&known.resources), content(&stored(&wanted(vec![chain("b")])).resources));
}

#[test]
fn those_of_the_endpoints_object_are_stale_too() {
    let mut inventory = Inventory::default();
    let mut add = |name: &str, uid: &str, kind: &str, deleting| {
        let mut one = stored(&Translation { name: name.into(), ..wanted(vec![]) });
        one.owner = OwnedBy::Uid(uid.into());
        one.deleting = deleting;
        one.reference =
            Some(OwnerReference { kind: kind.into(), name: "web".into(), ..OwnerReference::default() });
        inventory.upsert(one.into());
    };
    add("own", "u", "Service", false);
    add("unwanted", "u", "Service", false);
    add("endpoints", "e", "Endpoints", false);
    add("gone", "u", "Service", true);
    add("other", "x", "Pod", false);
    let own = Key::namespaced("default", "own");
    let stale = stale(&owner(), &[own].into(), &inventory);
    let names: BTreeSet<&str> = stale.iter().map(Key::name).collect();
    assert_eq!(names, ["endpoints", "unwanted"].into());
}

#[test]
fn what_is_replaced_fits_into_an_annotation() {
    let chain = |number: u128| {
        let (id, name) = (Uuid::from_u128(number), "x".repeat(100));
        Resource::top(Chain { id, tenant_id: "t".into(), name })
    };
    let in_chain =
        |number: u128| Resource::of(Uuid::from_u128(5), Rule::new(Uuid::from_u128(number), RuleType::Accept));
    // Rules go with their chain.
    let known = stored(&wanted(vec![chain(5), in_chain(6)]));
    assert_eq!(*replaced(&known, &wanted(vec![])), [Entry::from(&chain(5))]);
    let many: Vec<Resource> = (0..5000).map(chain).collect();
    let replaced = replaced(&stored(&wanted(many)), &wanted(vec![]));
    let text = annotation(&replaced);
    assert!((100 << 10..256 << 10).contains(&text.as_str().unwrap().len()));
    assert_eq!(replaced.last(), Some(&Entry::from(&chain(4999))));
}
