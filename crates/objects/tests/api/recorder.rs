//! What happened to Pods, as Events.

use objects::{PodEvent, PodRef, Recorder};
use serde_json::Value;

use super::*;

fn event(namespace: &str, name: &str) -> PodEvent {
    let pod = |name: &str, uid: Option<&str>| PodRef {
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.map(Into::into),
    };
    PodEvent {
        pod: pod(name, Some("uid-of-db")),
        related: Some(pod("web", None)),
        warning: true,
        action: "Drop",
        reason: "PolicyDenied",
        note: "3 packets from shop/web".into(),
    }
}

async fn recorder(server: &Server) -> Recorder {
    connect(server).await.recorder("a").unwrap()
}

async fn record(recorder: &Recorder, event: &PodEvent) -> Result<(), objects::Fault> {
    timeout(DEADLINE, recorder.record(event)).await.expect("no answer")
}

#[tokio::test]
async fn an_event_is_about_the_pod_by_its_uid() {
    let server = Server::start([(Kind::Event, Reply::Answer(201, "{}".into()))]).await;
    let recorder = recorder(&server).await;
    record(&recorder, &event("shop", "db")).await.unwrap();
    record(
        &recorder,
        &PodEvent { related: None, warning: false, note: "ü".repeat(900), ..event("shop", "db") },
    )
    .await
    .unwrap();
    let requests = server.requests(Kind::Event);
    assert!(requests.iter().all(
        |request| request.target.trim_end_matches('?') == "/apis/events.k8s.io/v1/namespaces/shop/events"
    ));
    let [first, second] = [0, 1].map(|number| serde_json::from_str::<Value>(&requests[number].body).unwrap());
    let pod = |name: &str, uid: Value| json!({"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": name, "uid": uid});
    assert_eq!(first["regarding"], pod("db", json!("uid-of-db")));
    assert_eq!(first["related"], pod("web", Value::Null));
    for (key, want) in [
        ("type", "Warning"),
        ("action", "Drop"),
        ("reason", "PolicyDenied"),
        ("note", "3 packets from shop/web"),
        ("reportingInstance", "a"),
    ] {
        assert_eq!(first[key], want);
    }
    assert!(second["type"] == "Normal" && second["related"].is_null());
    assert!(second["note"].as_str().unwrap().len() <= 1000);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_not_asked_for() {
    let server = Server::start([(Kind::Event, Reply::Answer(201, "{}".into()))]).await;
    let recorder = recorder(&server).await;
    for (namespace, name) in [("../nodes", "db"), ("shop", "db?x"), ("", "db"), ("shop", "")] {
        record(&recorder, &event(namespace, name)).await.unwrap();
    }
    assert_eq!(server.count(Kind::Event), 0);
}

#[tokio::test]
async fn what_is_refused_is_counted_and_not_tried_again() {
    let server = Server::start([(Kind::Event, refusal(403, "Forbidden"))]).await;
    let connection = connect(&server).await;
    let recorder = connection.recorder("a").unwrap();
    let fault = record(&recorder, &event("shop", "db")).await.unwrap_err();
    assert!(fault.to_string().contains("does not allow to create events: 403"), "{fault}");
    assert_eq!(server.count(Kind::Event), 1);
    assert_eq!(connection.health().api_errors().get(Verb::Create, Reason::Forbidden), 1);
}

#[tokio::test]
async fn with_manifests_there_are_no_events() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Source::Directory(directory.path().into()).connect().await.unwrap();
    assert!(connection.recorder("a").is_none());
}
