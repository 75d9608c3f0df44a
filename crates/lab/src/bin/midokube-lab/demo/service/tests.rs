use lab::Family;
use serde_json::json;

use super::*;
use crate::demo::tests::state;

fn answers(by_replica: [usize; REPLICAS]) -> Vec<Answers> {
    let answers = |place| Answers { place, by_replica, failures: BTreeMap::new() };
    places(&state()).into_iter().map(answers).collect()
}

#[test]
fn the_service_is_reached_from_everywhere_over_both_families() {
    let places: Vec<_> = places(&state())
        .into_iter()
        .map(|place| format!("{} -> {} {}", place.from_name, place.to_name, place.to))
        .collect();
    let want = [
        "pod1-1 -> ClusterIP 10.96.0.80:80",
        "pod1-1 -> ClusterIP [fd96::50]:80",
        "node1 -> ClusterIP 10.96.0.80:80",
        "node1 -> ClusterIP [fd96::50]:80",
        "outside -> NodePort of node1 172.30.0.11:30080",
        "outside -> NodePort of node1 [fd30::11]:30080",
        "outside -> NodePort of node2 172.30.0.12:30080",
        "outside -> NodePort of node2 [fd30::12]:30080",
    ];
    assert_eq!(places, want);
}

#[test]
fn its_objects_are_those_of_a_cluster() {
    let state = state();
    let objects = objects(Family::Dual, "default", &state.pods[1..3]);
    let names: Vec<_> = objects.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["service-web", "endpointslice-web-ipv4", "endpointslice-web-ipv6"]);
    let [(_, service), _, (_, slice)] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!(service["spec"]["clusterIPs"], json!(["10.96.0.80", "fd96::50"]));
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 30_080);
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "web");
    assert_eq!(slice["addressType"], "IPv6");
    let first = &slice["endpoints"][0];
    assert_eq!((&first["addresses"], &first["nodeName"]), (&json!(["fd44:0:0:1::4"]), &json!("node1")));
    assert_eq!(slice["endpoints"].as_array().unwrap().len(), 2);
    let single = super::objects(Family::V6, "default", &state.pods);
    assert_eq!((single.len(), &single[0].1["spec"]["clusterIP"]), (2, &json!("fd96::50")));
}

#[test]
fn every_replica_has_to_answer_and_every_connection_has_to_be_answered() {
    let good = answers([20, 21, 19]);
    assert!(good.iter().all(Answers::is_good));
    let shown = text(&good);
    assert!(shown.contains("\n pod1-1   10.96.0.80:80 (ClusterIP)"), "{shown}");
    assert!(shown.contains("20     21     19     60 of 60\n") && !shown.contains('!'), "{shown}");
    for bad in [[60, 0, 0], [20, 20, 19]] {
        assert!(!answers(bad).iter().any(Answers::is_good), "{bad:?}");
    }
    let mut one = answers([0, 0, 0]);
    one[0].failures.insert("TCP connect: timed out".to_owned(), 3);
    let shown = text(&one);
    assert!(shown.contains("0 of 60 !"), "{shown}");
    assert!(shown.ends_with("\n  pod1-1 -> 10.96.0.80:80: 3 times: TCP connect: timed out"), "{shown}");
}
