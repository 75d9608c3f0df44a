//! An installation that midonet-kubernetes made: what differs is replaced, new things first.

use std::process::Command;
use std::sync::Arc;

use midonet::{Body, Entry, FlowAction, Resource, Rule, RuleType};
use midonet_client::{Client, Nobody, Options, Password};
use midonet_standin::Entry as Asked;
use serde_json::{Value, json};
use translation::{
    Endpoint, EndpointPort, EndpointSlice, Owner, Service, ServicePort, Translation, Translator, Wanted,
};
use uuid::Uuid;

use crate::objects::{SERVICES, TRANSLATIONS, fill};
use crate::scene::{PASSWORD, Scene, until_true};

/// What is wanted of the Service of [`fill`].
fn wanted(uid: &str) -> Vec<Translation> {
    let mut translator = Translator::new("midonetkube");
    let (namespace, name) = ("default".to_owned(), "web".to_owned());
    translator.set_service(Service {
        namespace: namespace.clone(),
        name: name.clone(),
        uid: uid.into(),
        cluster_ips: vec!["10.96.0.10".into()],
        ports: vec![ServicePort { name: "http".into(), protocol: "TCP".into(), port: 80 }],
        ..Service::default()
    });
    let endpoint =
        |address: &str| Endpoint { address: address.into(), ready: true, serving: true, terminating: false };
    translator.set_slice(EndpointSlice {
        namespace,
        name: "web-1".into(),
        service: name,
        endpoints: vec![endpoint("10.1.1.3"), endpoint("10.1.2.3")],
        ports: vec![EndpointPort { name: "http".into(), protocol: "TCP".into(), port: 8080 }],
        ..EndpointSlice::default()
    });
    let change =
        translator.take_changes().into_iter().find(|change| matches!(change.owner, Owner::Object(_)));
    let Wanted::Set(wanted) = change.unwrap().wanted else { panic!("the Service is wanted") };
    wanted
}

/// As midonet-kubernetes left it: an endpoint's chain is entered from the Service's, without condition, and translates there.
fn old_endpoint(service: Uuid, endpoint: &Translation) -> Vec<Resource> {
    let Body::Chain(chain) = &endpoint.resources[0].body else { panic!("a chain comes first") };
    let dnat = Rule {
        flow_action: Some(FlowAction::Accept),
        nat_targets: endpoint_target(),
        ..Rule::new(Uuid::from_u128(0xd), RuleType::Dnat)
    };
    vec![
        Resource::top(chain.clone()),
        Resource::of(service, Rule::jump(Uuid::from_u128(0xa), chain.id)),
        Resource::of(chain.id, dnat),
    ]
}

fn endpoint_target() -> Option<Vec<midonet::NatTarget>> {
    let target =
        json!([{"addressFrom": "10.1.1.3", "addressTo": "10.1.1.3", "portFrom": 8080, "portTo": 8080}]);
    Some(serde_json::from_value(target).unwrap())
}

fn object(name: &str, owner: (&str, &str), resources: &[Resource]) -> Value {
    let resources: Vec<Entry> = resources.iter().map(Entry::from).collect();
    let (kind, uid) = owner;
    json!({
        "apiVersion": "midonet.org/v1", "kind": "Translation",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"midonet.org/owner-uid": uid},
            "finalizers": ["midonet.org/deleter"],
            "ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": "web", "uid": uid}],
        },
        "resources": resources,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_midonet_kubernetes_made_is_taken_over_and_no_connection_finds_nothing() {
    let scene = Scene::new().await;
    fill(&scene.api);
    let uid = scene.api.list(SERVICES)[0]["metadata"]["uid"].as_str().unwrap().to_owned();
    let wanted = wanted(&uid);
    let Body::Chain(service) = &wanted[0].resources[0].body else { panic!("a chain comes first") };
    let endpoint = wanted.iter().find(|one| one.name.starts_with("endpoints-port")).unwrap();
    let old = old_endpoint(service.id, endpoint);
    let gone = [Resource::top(midonet::Chain { id: Uuid::from_u128(0xc), ..service.clone() })];
    let first = &wanted[0].resources[..1];
    for (name, owner, resources) in [
        (wanted[0].name.as_str(), ("Service", uid.as_str()), first),
        (endpoint.name.as_str(), ("Endpoints", "endpoints-uid"), &old[..]),
        ("endpoints-port.4.gone", ("Endpoints", "endpoints-uid"), &gone[..]),
    ] {
        scene.api.create(TRANSLATIONS, object(name, owner, resources));
    }
    let mut options = Options::new(scene.midonet.url(), "admin", Password::new(PASSWORD), "");
    options.limits.concurrency = 1;
    let client = Client::new(&options, Arc::new(Nobody)).unwrap();
    for resources in [first, &old[..], &gone[..]] {
        client.push(resources).await.unwrap();
    }

    // What will happen is shown first.
    let shown = output(scene.command().arg("--dry-run"));
    for want in [
        format!("# default/{}: change, labels and ownerReferences too", endpoint.name),
        "# default/endpoints-port.4.gone: delete, 1 resource of Endpoints default/web".to_owned(),
        "#   - Rule ".to_owned(),
    ] {
        assert!(shown.contains(&want), "{want} in {shown}");
    }

    scene.midonet.take_log();
    let _program = scene.start("one");
    scene.converged(27).await;
    until_true("nothing is left to be removed", || {
        scene.api.list(TRANSLATIONS).iter().all(|stored| {
            let metadata = &stored["metadata"];
            metadata["annotations"]["midonet.org/replaced"].is_null()
                && metadata["labels"]["midonet.org/owner-uid"] != "endpoints-uid"
        })
    })
    .await;
    // The rule that takes the packets was there before the old one went.
    let log = scene.midonet.log();
    let asked: Vec<&Asked> = log.last().filter(|entry| (200..300).contains(&entry.status)).collect();
    let at = |method: &str, end: &str| {
        let found = asked.iter().position(|entry| entry.method == method && entry.path.ends_with(end));
        found.unwrap_or_else(|| panic!("{method} {end} in {asked:#?}"))
    };
    let dnat = wanted.iter().find(|one| one.name.starts_with("endpoints-dnat")).unwrap();
    let chain = dnat.resources[0].parent.unwrap();
    let new = at("POST", &format!("/chains/{chain}/rules"));
    for old in [0xa, 0xd_u128] {
        assert!(new < at("DELETE", &format!("/rules/{}", Uuid::from_u128(old))));
    }

    // Afterwards nothing differs.
    let shown = output(scene.command().arg("--dry-run"));
    assert!(
        shown
            .starts_with("# 0 of the Translations there differ or are to come, 27 are as they are wanted.\n"),
        "{shown}"
    );
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
