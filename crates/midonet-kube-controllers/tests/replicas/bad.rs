//! Objects that are absurd: each has one Event and counts in a metric, and the rest goes on.

use midonet_standin::{Effect, Fault};
use serde_json::json;

use crate::objects::{NODES, PODS, SERVICES, TRANSLATIONS, fill, node, pod};
use crate::scene::{Scene, until_true};

#[tokio::test(flavor = "multi_thread")]
async fn bad_objects_have_an_event_and_the_rest_goes_on() {
    let scene = Scene::new().await;
    fill(&scene.api);
    let types = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "types", "namespace": "default"},
        "spec": {"nodeName": 7},
    });
    scene.api.create(PODS, types);
    let mut absurd = pod("absurd", 1, 9);
    absurd["metadata"]["annotations"]["midonet.org/mac-address"] = "no MAC".into();
    scene.api.create(PODS, absurd);
    let mut nowhere = node(7);
    nowhere["spec"] = json!({"podCIDRs": ["10.1.7.0/99"]});
    nowhere["metadata"]["annotations"] = json!({"midonet.org/host-id": "none"});
    scene.api.create(NODES, nowhere);
    let name = "x".repeat(253);
    let long = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": "300.1.1.1", "ports": [{"port": 99999}]},
    });
    scene.api.create(SERVICES, long);
    // One that somebody made by hand, with a kind that MidoNet does not have.
    let uid = scene.api.list(PODS)[0]["metadata"]["uid"].clone();
    let strange = json!({
        "apiVersion": "midonet.org/v1", "kind": "Translation",
        "metadata": {"name": "strange", "namespace": "default", "labels": {"midonet.org/owner-uid": uid}},
        "resources": [{"kind": "Vtep", "parent": "", "body": "{}"}],
    });
    scene.api.create(TRANSLATIONS, strange);
    let program = scene.start("one");
    // The Pod without a MAC address has its port.
    until_true("the rest is pushed", || {
        program.metric("midonet_kube_controllers_translations{state=\"pushed\"}") == Some(28.0)
    })
    .await;
    for reason in ["InvalidObject", "InvalidMac", "InvalidHostId", "InvalidAddress"] {
        until_true(&format!("an Event of {reason}"), || scene.events(reason).len() == 1).await;
    }
    assert_eq!(program.metric("midonet_kube_controllers_invalid_objects{kind=\"Pod\"}"), Some(1.0));
    assert_eq!(program.metric("midonet_kube_controllers_object_problems{reason=\"InvalidMac\"}"), Some(1.0));
    // It is told once, and over when it is corrected.
    scene.api.merge(PODS, "default", "types", &json!({"spec": {"nodeName": "node1"}}));
    until_true("it can be read", || {
        program.metric("midonet_kube_controllers_invalid_objects{kind=\"Pod\"}") == Some(0.0)
    })
    .await;
    assert_eq!(scene.events("InvalidObject").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_alone() {
    let scene = Scene::new().await;
    scene.midonet.add_fault(Fault::new(Effect::Answer(500)).method("POST").resource("Bridge").times(2));
    scene.midonet.add_fault(Fault::new(Effect::Answer(409)).resource("HostInterfacePort").times(3));
    scene.midonet.add_fault(Fault::new(Effect::CloseAfterwards).percent(5).times(10));
    fill(&scene.api);
    let program = scene.start("one");
    scene.converged(27).await;
    until_true("an Event of it", || !scene.events("TranslationUpdateError").is_empty()).await;
    until_true("nothing fails any more", || {
        program.metric("midonet_kube_controllers_translations{state=\"failing\"}") == Some(0.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_renew_the_lease_stops_and_begins_again() {
    let scene = Scene::new().await;
    fill(&scene.api);
    let program = scene.start("one");
    scene.converged(27).await;
    scene.api.refuse(Some(503));
    until_true("it does not work", || !program.works()).await;
    let lease = scene.api.list(crate::objects::LEASES);
    assert_eq!(lease.len(), 1);
    scene.changes();
    scene.midonet.with_store(midonet_standin::Store::lose_topology);
    // Nothing is pushed by who does not hold the Lease.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(scene.changes(), 0);
    scene.api.refuse(None);
    until_true("it works again", || program.works()).await;
    scene.converged(27).await;
}
