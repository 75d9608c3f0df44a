//! Objects come, change and go, and MidoNet follows; two programs are as one.

use std::time::Duration;

use serde_json::json;

use crate::objects::{NODES, PODS, SERVICES, SLICES, TRANSLATIONS, fill, pod};
use crate::scene::{Scene, add_hosts, until_true};

/// The Translations of [`fill`]: 3 globals; of each node 5 (tunnel endpoint, bridge, address, MAC, ARP), of each Pod 3, of the
/// Service one, its DNAT, its two endpoints and its entry.
const ALL: usize = 3 + 2 * 5 + 3 * 3 + 5;

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_works_and_the_other_takes_over_without_writing_anything_twice() {
    let scene = Scene::new().await;
    fill(&scene.api);
    let first = scene.start("first");
    until_true("the first one works", || first.works()).await;
    let second = scene.start("second");
    until_true("the second one stands by", || second.stands_by()).await;
    scene.converged(ALL).await;
    assert_eq!(first.metric("midonet_kube_controllers_leader"), Some(1.0));
    assert_eq!(second.metric("midonet_kube_controllers_leader"), Some(0.0));
    let node = &scene.api.list(NODES)[0];
    assert_eq!(
        node["metadata"]["annotations"]["midonet.org/host-id"],
        "00000000-0000-0000-0000-000000000001"
    );
    until_true("an Event of MidoNetHostIDAnnotated", || !scene.events("MidoNetHostIDAnnotated").is_empty())
        .await;
    until_true("an Event of TranslationCreated", || !scene.events("TranslationCreated").is_empty()).await;
    until_true("an Event of TranslationUpdatePushed", || !scene.events("TranslationUpdatePushed").is_empty())
        .await;
    let requests = "midonet_kube_controllers_midonet_client_requests_total{method=\"post\",resource=\"Router\",code=\"201\"}";
    assert_eq!(first.metric(requests), Some(1.0));

    // Killed: the other one waits for the Lease to end, looks at everything, and changes nothing.
    let written = scene.api.written().iter().filter(|write| write.0 == TRANSLATIONS).count();
    scene.changes();
    first.kill();
    until_true("the second one works", || second.works()).await;
    until_true("it has compared everything", || {
        second.metric("midonet_kube_controllers_translations{state=\"pushed\"}") == Some(27.0)
    })
    .await;
    assert_eq!(scene.changes(), 0, "MidoNet had everything already");
    let writes = scene.api.written();
    assert_eq!(writes.iter().filter(|write| write.0 == TRANSLATIONS).count(), written, "{writes:?}");

    // It goes on with the work.
    scene.api.create(PODS, pod("web-2", 1, 4));
    scene.converged(ALL + 3).await;
    // A third one has the Lease at once after a good-bye.
    let third = scene.start("third");
    until_true("the third one stands by", || third.stands_by()).await;
    second.terminate();
    until_true("the third one works", || third.works()).await;
    scene.converged(ALL + 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_midonet_loses_it_gets_again_and_what_goes_it_loses() {
    let mut scene = Scene::new().await;
    fill(&scene.api);
    let program = scene.start("one");
    scene.converged(ALL).await;
    until_true("everything is known as pushed", || {
        program.metric("midonet_kube_controllers_translations{state=\"pushed\"}") == Some(27.0)
    })
    .await;
    let before = scene.there();

    // It restarts empty; its agents report their hosts.
    scene.midonet.with_store(|store| {
        store.wipe();
        add_hosts(store);
    });
    scene.midonet.restart().await.unwrap();
    scene.converged(ALL).await;
    assert_eq!(scene.there(), before);
    assert_eq!(program.metric("midonet_kube_controllers_midonet_losses_total"), Some(1.0));

    // Away for a while: nothing is lost, and nobody storms.
    scene.midonet.stop().await;
    scene.api.create(PODS, pod("web-2", 1, 4));
    until_true("it says so", || program.get("/readyz").contains("MidoNet takes nothing")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.midonet.restart().await.unwrap();
    scene.converged(ALL + 3).await;

    // Another endpoint list is another rule, and the old one is gone.
    let endpoints = json!({"endpoints": [{"addresses": ["10.1.1.3"], "conditions": {"ready": true}}]});
    scene.api.merge(SLICES, "default", "web-1", &endpoints);
    scene.converged(ALL + 2).await;

    // Somebody deletes a Translation: it is made again.
    let victim =
        scene.api.list(TRANSLATIONS).into_iter().find(|one| one["metadata"]["name"] == "pod.4.client");
    let uid = victim.unwrap()["metadata"]["uid"].clone();
    scene.api.remove(TRANSLATIONS, "default", "pod.4.client");
    until_true("there is another one", || {
        let all = scene.api.list(TRANSLATIONS);
        let now = all.iter().find(|one| one["metadata"]["name"] == "pod.4.client");
        now.is_some_and(|now| now["metadata"]["uid"] != uid)
    })
    .await;
    scene.converged(ALL + 2).await;

    // Everything goes: what belongs to the whole cluster stays.
    for name in ["web-0", "web-1", "web-2", "client"] {
        scene.api.remove(PODS, "default", name);
    }
    scene.api.remove(SERVICES, "default", "web");
    scene.api.remove(SLICES, "default", "web-1");
    scene.api.remove(NODES, "", "node1");
    scene.api.remove(NODES, "", "node2");
    scene.converged(3).await;
    assert_eq!(scene.there().len(), 9, "{:?}", scene.there());
    until_true("an Event of TranslationDeletionPushed", || {
        !scene.events("TranslationDeletionPushed").is_empty()
    })
    .await;
}
