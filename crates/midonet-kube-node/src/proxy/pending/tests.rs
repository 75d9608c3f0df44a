use model::{HealthCheck, Model, Ranges, ServiceOptions};
use objects::{EndpointSlice, Kind, Node, Service};
use serde_json::{Value, json};

use super::*;

fn object<K: Kind>(object: &Value) -> Arc<K> {
    let metadata = serde_json::from_value(object["metadata"].clone()).unwrap();
    Arc::new(K::trim(metadata, serde_json::from_value(object.clone()).unwrap()).unwrap())
}

fn model() -> Model {
    let cidrs = |cidr: &str| vec![cidr.parse().unwrap()];
    let ranges = Ranges { cluster: cidrs("10.244.0.0/16"), service: cidrs("10.96.0.0/16") };
    let mut model = Model::new("a", ranges).with_services(ServiceOptions { external_ips: true });
    model.upsert(&object::<Node>(&json!({
        "metadata": {"name": "a"}, "spec": {"podCIDR": "10.244.1.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    })));
    model
}

/// A Service with two ports, which load balancers ask for.
fn service(affinity: &str) -> Arc<Service> {
    object(&json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"],
            "externalTrafficPolicy": "Local", "healthCheckNodePort": 30100, "sessionAffinity": affinity,
            "ports": [
                {"name": "a", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 30080},
                {"name": "b", "protocol": "TCP", "port": 81, "targetPort": 8081, "nodePort": 30081},
            ],
        },
    }))
}

/// Its endpoints, as of that second.
fn slice(address: &str, second: u32) -> Arc<EndpointSlice> {
    object(&json!({
        "metadata": {
            "namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": format!("1970-01-01T00:01:{second:02}Z")},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": "a", "conditions": {"ready": true}}],
        "ports": [{"name": "a", "port": 8080, "protocol": "TCP"}, {"name": "b", "port": 8081, "protocol": "TCP"}],
    }))
}

#[test]
fn a_change_of_endpoints_is_counted_once_and_only_if_it_is_news() {
    let (started, now) = (UNIX_EPOCH + Duration::from_secs(70), UNIX_EPOCH + Duration::from_secs(90));
    let (mut model, mut pending, mut counted) = (model(), Pending::default(), Counted::default());
    let mut update = |model: &mut Model| {
        let (desired, changes) = model.update().unwrap();
        pending.take(desired, &changes);
        let took = pending.durations(&mut counted, started, now);
        (
            pending.complete,
            pending.checks.take(),
            took.into_iter().map(|(_, took)| took.as_secs()).collect::<Vec<_>>(),
        )
    };
    let checks = |endpoints: u32| {
        let check = HealthCheck { port: 30100, local_endpoints: endpoints };
        Some(HealthChecks::from([("shop/web".into(), check)]))
    };
    model.upsert_service(&service("None"));
    model.upsert_slice(&slice("10.244.1.5", 5));
    assert_eq!(update(&mut model), (false, None, vec![]), "not all Services are known");
    model.services_complete(true);
    assert_eq!(update(&mut model), (true, checks(1), vec![]), "it changed before the start");
    model.upsert_slice(&slice("10.244.1.6", 20));
    assert_eq!(update(&mut model), (true, None, vec![10]), "both ports are one change");
    model.upsert_service(&service("ClientIP"));
    assert_eq!(update(&mut model), (true, None, vec![]), "the Service changed alone");
    model.upsert_slice(&slice("10.244.1.7", 40));
    assert_eq!(update(&mut model), (true, None, vec![0]), "another clock is ahead");
    model.delete_slice(&slice("10.244.1.7", 40).key());
    assert_eq!(update(&mut model), (true, checks(0), vec![]), "a deletion");
    model.delete_service(&"shop/web".into());
    assert_eq!(update(&mut model), (true, Some(HealthChecks::new()), vec![]));
    assert_eq!(counted.0.len(), 0, "what is gone is not kept");
}

#[test]
fn what_could_not_be_applied_waits() {
    let (mut model, mut pending) = (model(), Pending::default());
    model.upsert_service(&service("None"));
    model.upsert_slice(&slice("10.244.1.5", 15));
    model.services_complete(true);
    let mut take = |model: &mut Model| {
        let (desired, changes) = model.update().unwrap();
        pending.take(desired, &changes);
    };
    take(&mut model);
    model.upsert_slice(&slice("10.244.1.6", 20));
    take(&mut model);
    take(&mut model);
    let now = UNIX_EPOCH + Duration::from_secs(85);
    let took = pending.durations(&mut Counted::default(), UNIX_EPOCH, now);
    assert_eq!(took, [(Family::V4, Duration::from_secs(5))], "the newest of both");
    assert_eq!(pending.checks.map(|checks| checks.len()), Some(1));
}

#[test]
fn no_service_is_complete_without_a_change() {
    let (mut model, mut pending) = (model(), Pending::default());
    model.services_complete(true);
    let (desired, changes) = model.update().unwrap();
    pending.take(desired, &changes);
    assert_eq!((pending.complete, pending.checks), (true, Some(HealthChecks::new())), "a former agent's go");
}
