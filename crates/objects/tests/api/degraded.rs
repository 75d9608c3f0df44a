//! What is wrong with a node, as a condition of its Node and as Events.

use objects::{Complaint, Key, Reporter};
use serde_json::Value;

use super::*;

fn complaint(reason: &str, message: &str) -> Complaint {
    Complaint { reason: reason.into(), message: message.into(), service: None }
}

/// The Node a with this condition.
fn has(status: &str, reason: &str, message: &str) -> Reply {
    let mut node = a("1");
    node["status"] = json!({"conditions": [
        {"type": "Ready", "status": "True"},
        {"type": "MidonetKubeDegraded", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-02T03:04:05Z"},
    ]});
    list("5", &[node])
}

async fn reporter(server: &Server) -> Reporter {
    connect(server).await.reporter("a")
}

async fn report(reporter: &mut Reporter, complaints: &[Complaint]) -> Result<(), objects::Fault> {
    timeout(DEADLINE, reporter.report(complaints)).await.expect("no answer")
}

fn bodies(server: &Server, kind: Kind) -> Vec<Value> {
    server.requests(kind).iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect()
}

fn done() -> Reply {
    Reply::Answer(200, "{}".into())
}

#[tokio::test]
async fn becomes_a_condition_and_an_event_and_is_taken_back() {
    let server = Server::start([
        (Kind::List, list("5", &[a("1")])),
        (Kind::Patch, done()),
        (Kind::Event, Reply::Answer(201, "{}".into())),
    ])
    .await;
    let mut reporter = reporter(&server).await;
    report(&mut reporter, &[]).await.unwrap();
    let wrong = complaint("TunnelAddress", "Node b: 0.0.0.0 is no address; correct it");
    for _ in 0..3 {
        report(&mut reporter, std::slice::from_ref(&wrong)).await.unwrap();
    }
    report(&mut reporter, &[]).await.unwrap();
    assert!(server.requests(Kind::List)[0].target.contains("fieldSelector=metadata.name%3Da"));
    let patches = server.requests(Kind::Patch);
    for patch in &patches {
        assert_eq!(patch.target.trim_end_matches('?'), "/api/v1/nodes/a/status");
        assert_eq!(patch.headers["content-type"], "application/strategic-merge-patch+json");
    }
    // Nothing else of the Node is written, and no other condition.
    let written = bodies(&server, Kind::Patch);
    let statuses: Vec<_> = written
        .iter()
        .map(|body| {
            assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["status"]);
            assert_eq!(body["status"].as_object().unwrap().keys().collect::<Vec<_>>(), ["conditions"]);
            let conditions = body["status"]["conditions"].as_array().unwrap();
            assert_eq!((conditions.len(), &conditions[0]["type"]), (1, &json!("MidonetKubeDegraded")));
            let text = |key: &str| conditions[0][key].as_str().unwrap().to_owned();
            (text("status"), text("reason"), text("message").contains("0.0.0.0"))
        })
        .collect();
    let of = |status: &str, reason: &str, named| (status.to_owned(), reason.to_owned(), named);
    assert_eq!(
        statuses,
        [
            of("False", "NoProblems", false),
            of("True", "TunnelAddress", true),
            of("False", "NoProblems", false)
        ]
    );
    let events = bodies(&server, Kind::Event);
    assert_eq!(events.len(), 1, "one for a new complaint: {events:?}");
    assert_eq!(
        events[0]["regarding"],
        json!({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "uid-a"})
    );
    assert_eq!(events[0]["note"], json!(wrong.message));
    assert_eq!(
        server.requests(Kind::Event)[0].target.trim_end_matches('?'),
        "/apis/events.k8s.io/v1/namespaces/default/events"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_service_is_an_event_about_the_service() {
    let server = Server::start([
        (Kind::List, list("5", &[a("1")])),
        (Kind::Patch, done()),
        (Kind::Event, Reply::Answer(201, "{}".into())),
    ])
    .await;
    let mut reporter = reporter(&server).await;
    let wrong = Complaint {
        service: Some(Key::namespaced("shop", "web")),
        ..complaint("FailedToStartServiceHealthcheck", "Service shop/web: port 30100 is taken")
    };
    report(&mut reporter, std::slice::from_ref(&wrong)).await.unwrap();
    let event = &bodies(&server, Kind::Event)[0];
    assert_eq!(
        event["regarding"],
        json!({"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web"})
    );
    assert_eq!((&event["reason"], &event["metadata"]["namespace"]), (&json!(wrong.reason), &json!("shop")));
    assert_eq!(
        server.requests(Kind::Event)[0].target.trim_end_matches('?'),
        "/apis/events.k8s.io/v1/namespaces/shop/events"
    );
    let condition = &bodies(&server, Kind::Patch)[0]["status"]["conditions"][0];
    assert_eq!(condition["reason"], json!(wrong.reason));
}

#[tokio::test]
async fn is_not_written_where_it_is_written_already() {
    let wrong = complaint("Mtu", "eth0: 1300; raise it");
    let server = Server::start([
        (Kind::List, has("True", "Mtu", "eth0: 1300; raise it")),
        (Kind::Patch, done()),
        (Kind::Event, Reply::Answer(201, "{}".into())),
    ])
    .await;
    let mut reporter = reporter(&server).await;
    report(&mut reporter, std::slice::from_ref(&wrong)).await.unwrap();
    assert_eq!(server.count(Kind::Patch), 0);
    // Another reason is no other status.
    report(&mut reporter, &[wrong, complaint("Route", "r; s")]).await.unwrap();
    let written = &bodies(&server, Kind::Patch)[0]["status"]["conditions"][0];
    assert_eq!(written["lastTransitionTime"], json!("2026-01-02T03:04:05Z"));
    assert_eq!(written["reason"], json!("SeveralProblems"));
    assert_eq!(written["message"], json!("2 problems: eth0: 1300; raise it | r; s"));
    report(&mut reporter, &[]).await.unwrap();
    let written = &bodies(&server, Kind::Patch)[1]["status"]["conditions"][0];
    assert_ne!(written["lastTransitionTime"], json!("2026-01-02T03:04:05Z"));
}

#[tokio::test]
async fn is_bounded() {
    let server = Server::start([
        (Kind::List, list("5", &[a("1")])),
        (Kind::Patch, done()),
        (Kind::Event, Reply::Answer(201, "{}".into())),
    ])
    .await;
    let mut reporter = reporter(&server).await;
    let many: Vec<_> = (0..100).map(|n| complaint("Route", &format!("{n} {}", "ü".repeat(900)))).collect();
    report(&mut reporter, &many).await.unwrap();
    report(&mut reporter, &many[50..]).await.unwrap();
    assert_eq!(server.count(Kind::Event), 20);
    for request in server.requests(Kind::Patch) {
        assert!(request.body.len() < 1300, "{}", request.body);
    }
    for event in bodies(&server, Kind::Event) {
        assert!(event["note"].as_str().unwrap().len() <= 1000);
    }
    // Those that were left out are not lost for ever.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61 * 60)).await;
    tokio::time::resume();
    report(&mut reporter, &many[50..51]).await.unwrap();
    assert_eq!(server.count(Kind::Event), 21);
}

#[tokio::test]
async fn that_is_refused_is_reported_again() {
    let server = Server::start([
        (Kind::List, list("5", &[])),
        (Kind::List, list("6", &[a("1")])),
        (Kind::Patch, refusal(403, "Forbidden")),
        (Kind::Patch, done()),
        (Kind::Event, refusal(500, "InternalError")),
        (Kind::Event, Reply::Answer(201, "{}".into())),
    ])
    .await;
    let connection = connect(&server).await;
    let (mut reporter, health) = (connection.reporter("a"), connection.health());
    let wrong = [complaint("Route", "r; s")];
    for want in
        ["there is no Node a", "does not allow to patch nodes/status: 403", "does not create events: 500"]
    {
        let fault = report(&mut reporter, &wrong).await.unwrap_err();
        assert!(fault.to_string().contains(want), "{fault}");
    }
    report(&mut reporter, &wrong).await.unwrap();
    assert_eq!((server.count(Kind::Patch), server.count(Kind::Event)), (2, 2));
    assert_eq!(health.api_errors().get(Verb::Patch, Reason::Forbidden), 1);
    assert_eq!(health.api_errors().get(Verb::Create, Reason::Server), 1);
    assert_eq!(health.error(), None, "objects arrive all the same");
}

#[tokio::test]
async fn is_written_nowhere_with_manifests() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Source::Directory(directory.path().into()).connect().await.unwrap();
    report(&mut connection.reporter("a"), &[complaint("Route", "r; s")]).await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
