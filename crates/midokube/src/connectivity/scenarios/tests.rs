use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::check::{Check, Expect, Stage, fault};
use super::super::question::{Outcome, What};
use super::super::scene::{
    Abilities, ApiServer, CLIENT, CONFINED, End, FAR, Family, GUARDED, NEAR, Node, ONE_NODE, OTHER_NAMESPACE,
    Resolver, Scene, Service,
};
use super::{Scenario, all};
use crate::name::Name;
use crate::trace::Place;

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Three nodes, with both families, that have everything.
fn scene() -> Scene {
    let node = |number: u8| Node {
        end: End {
            place: Place::Node(format!("node{number}")),
            node: format!("node{number}"),
            addresses: addresses(&[&format!("172.30.0.{number}"), &format!("fd30::{number}")]),
        },
        own: addresses(&[&format!("10.244.{number}.2"), &format!("fd44:0:0:{number}::2")]),
        gateways: addresses(&[&format!("10.244.{number}.1"), &format!("fd44:0:0:{number}::1")]),
        kubelet_port: Some(10_250),
        mtu: Some(1450),
    };
    let pod = |(index, name): (usize, &str)| {
        let number = if [FAR, GUARDED].contains(&name) { 2 } else { 1 };
        let namespace = if name == OTHER_NAMESPACE { "ns-other" } else { "ns" };
        let end = End {
            place: Place::Pod(Name { namespace: namespace.into(), name: name.into() }),
            node: format!("node{number}"),
            addresses: addresses(&[
                &format!("10.244.{number}.{}", index + 3),
                &format!("fd44:0:0:{number}::{}", index + 3),
            ]),
        };
        (name.to_owned(), Ok(end))
    };
    let names = ["echo", "near", "far", "guarded", "headless", "sticky", "inner", "outer", "empty", "moving"];
    let service = |(index, name): (usize, &&str)| {
        let addresses = addresses(&[&format!("10.96.0.{}", index + 20), &format!("fd96::{}", index + 20)]);
        let node_ports = ["echo", "outer"].contains(name).then_some([30_001, 30_002]);
        ((*name).to_owned(), Service { addresses, node_ports })
    };
    Scene {
        namespace: "ns".into(),
        agents: (1..=3).map(|number| (format!("node{number}"), None)).collect(),
        nodes: (1..=3).map(node).collect(),
        pods: [CLIENT, NEAR, FAR, GUARDED, CONFINED, OTHER_NAMESPACE]
            .into_iter()
            .enumerate()
            .map(pod)
            .collect(),
        missing: Vec::new(),
        services: names.iter().enumerate().map(service).collect(),
        api: Ok(ApiServer {
            service: addresses(&["10.96.0.1"]),
            port: 443,
            endpoints: vec![("172.30.0.10".parse().unwrap(), 6443)],
        }),
        resolver: Ok(Resolver {
            servers: addresses(&["10.96.0.10", "fd96::a"]),
            domain: "cluster.local".into(),
        }),
        abilities: Abilities { embedded: true, policies: true },
    }
}

/// A cluster of one node.
fn one_node() -> Scene {
    let mut scene = scene();
    scene.nodes.truncate(1);
    scene.pods.insert(FAR.into(), Err(ONE_NODE.into()));
    if let Some(Ok(guarded)) = scene.pods.get_mut(GUARDED) {
        guarded.node = "node1".into();
    }
    scene
}

/// The same with one family alone.
fn of_one_family(family: Family) -> Scene {
    let mut scene = scene();
    let keep = |addresses: &mut Vec<IpAddr>| addresses.retain(|address| Family::of(*address) == family);
    for node in &mut scene.nodes {
        keep(&mut node.end.addresses);
        keep(&mut node.own);
        keep(&mut node.gateways);
    }
    scene.pods.values_mut().flatten().for_each(|pod| keep(&mut pod.addresses));
    scene.services.values_mut().for_each(|service| keep(&mut service.addresses));
    if let Ok(resolver) = &mut scene.resolver {
        keep(&mut resolver.servers);
    }
    scene
}

fn plans(scene: &Scene) -> BTreeMap<&'static str, Result<Vec<Check>, String>> {
    let plan = |one: &Scenario| (one.name, (one.plan)(scene).map(|plan| plan.checks));
    all().map(plan).collect()
}

fn skipped(scene: &Scene) -> BTreeSet<(&'static str, String)> {
    plans(scene).into_iter().filter_map(|(name, plan)| Some((name, plan.err()?))).collect()
}

#[test]
fn scenarios_have_stable_names_of_their_own() {
    let names: Vec<&str> = all().map(|one| one.name).collect();
    assert!(names.len() >= 30, "{}", names.len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for one in all() {
        assert!(one.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", one.name);
        assert!(!one.what.is_empty() && !one.what.ends_with('.') && one.what.len() < 110, "{}", one.what);
    }
}

#[test]
fn every_scenario_has_checks_of_both_families() {
    for (name, plan) in plans(&scene()) {
        let checks = plan.unwrap_or_else(|why| panic!("{name} is not tried: {why}"));
        if ["agents-answer", "pods-start"].contains(&name) {
            continue;
        }
        let families: BTreeSet<Family> = checks.iter().map(Check::family).collect();
        // The API server has one family here.
        let want = if name.contains("api-server") { 1 } else { 2 };
        assert_eq!(families.len(), want, "{name}");
        for check in &checks {
            let own: Vec<Family> = check.from.addresses.iter().map(|address| Family::of(*address)).collect();
            assert!(own.contains(&check.family()), "{name}: {check:?}");
        }
    }
}

#[test]
fn a_dead_network_fails_every_scenario() {
    let dead = [Outcome::Silent { connected: false }];
    for (name, plan) in plans(&scene()) {
        let checks = plan.unwrap();
        let fails = checks.iter().any(|check| fault(&check.expect, &dead).is_some());
        let is_about_silence = ["policy-default-deny", "node-port-local-without-endpoint"].contains(&name);
        assert_eq!(fails, !checks.is_empty() && !is_about_silence, "{name}");
    }
}

#[test]
fn a_network_without_policies_fails_what_is_to_be_denied() {
    for (name, plan) in plans(&scene()) {
        let denied = plan
            .unwrap()
            .into_iter()
            .any(|check| check.stage == Stage::During && check.expect == Expect::Silence);
        let open =
            ["policy-allow-label", "policy-own-node", "policy-keeps-allowed-connection", "policy-removed"];
        assert_eq!(denied, name.starts_with("policy-") && !open.contains(&name), "{name}");
    }
}

#[test]
fn what_takes_two_nodes_is_not_tried_on_one() {
    let skipped = skipped(&one_node());
    let names: Vec<&str> = skipped.iter().map(|(name, _)| *name).collect();
    let across = |name: &&str| name.contains("across") || name.contains("other-node");
    for name in all().map(|one| one.name).filter(across) {
        assert!(names.contains(&name), "{name} is tried");
    }
    assert!(skipped.iter().all(|(_, why)| why == ONE_NODE), "{skipped:?}");
    assert!(!names.iter().any(|name| name.starts_with("policy") || name.contains("same-node")), "{names:?}");
    // Nobody is asked to reach who is not there.
    for (name, plan) in plans(&one_node()) {
        for check in plan.unwrap_or_default() {
            assert!(check.from.name() != FAR && check.from.node == "node1", "{name}: {check:?}");
            if let Expect::By { names, .. } | Expect::Each { names } = &check.expect {
                assert!(!names.contains(&FAR.to_owned()), "{name}: {check:?}");
            }
        }
    }
}

#[test]
fn one_family_is_enough() {
    for family in [Family::Ipv4, Family::Ipv6] {
        for (name, plan) in plans(&of_one_family(family)) {
            match plan {
                Ok(checks) => assert!(checks.iter().all(|check| check.family() == family), "{name}"),
                Err(why) => {
                    assert!(name.contains("api-server") && why.contains("one family"), "{name}: {why}");
                }
            }
        }
    }
}

#[test]
fn what_a_network_does_not_do_is_not_tried() {
    let abilities = |embedded, policies| Scene { abilities: Abilities { embedded, policies }, ..scene() };
    for (name, why) in skipped(&abilities(true, false)) {
        assert!(name.starts_with("policy-") && why.contains("--policy off"), "{name}: {why}");
    }
    for (name, why) in skipped(&abilities(false, false)) {
        assert!(name.starts_with("policy-") || name.starts_with("node-port-"), "{name}: {why}");
        assert!(why.contains("MidoNet"), "{why}");
    }
}

#[test]
fn whoever_is_missing_is_named_and_nothing_is_tried_with_it() {
    let mut scene = scene();
    scene.pods.insert(FAR.into(), Err("Pod far on node2 does not run: no address".into()));
    scene.missing.push((FAR.into(), "node2".into(), "no address".into()));
    scene.agents[1].1 = Some("it hangs".into());
    scene.resolver = Err("no DNS".into());
    let known = |name: &str| {
        let scenario = all().find(|one| one.name == name).unwrap();
        (scenario.plan)(&scene)
            .unwrap()
            .known
            .into_iter()
            .map(|one| (one.object, one.observed))
            .collect::<Vec<_>>()
    };
    let pair = |object: &str, observed: &str| vec![(object.to_owned(), observed.to_owned())];
    assert_eq!(known("agents-answer"), pair("node node2", "it hangs"));
    assert_eq!(known("pods-start"), pair("Pod far on node2", "no address"));
    let skipped = skipped(&scene);
    assert!(skipped.contains(&("dns-service", "no DNS".to_owned())));
    assert!(
        skipped.contains(&("bulk-tcp-across-nodes", "Pod far on node2 does not run: no address".to_owned()))
    );
}

#[test]
fn an_open_connection_is_used_by_who_opened_it() {
    for (name, plan) in plans(&scene()) {
        let checks = plan.unwrap();
        for check in &checks {
            let What::Use { key } = &check.what else { continue };
            let opened = checks.iter().any(|one| {
                matches!(&one.what, What::Open { key: other, .. } if other == key)
                    && one.from == check.from
                    && one.stage < check.stage
            });
            assert!(opened, "{name}: {check:?}");
        }
    }
    assert_eq!(plans(&scene())["service-udp-endpoint-replaced"].as_ref().unwrap().len(), 4);
    let kept: Vec<&str> = plans(&scene())["policy-keeps-allowed-connection"]
        .as_ref()
        .unwrap()
        .iter()
        .map(|check| if check.from.name() == CLIENT { "client" } else { "other" })
        .collect();
    assert_eq!(kept, ["client"; 4]);
}
