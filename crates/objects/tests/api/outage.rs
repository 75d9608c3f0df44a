//! An API server that is away when an agent starts, and what was cached on disk.

use std::path::Path;

use objects::Cache;
use server::cluster;

use super::*;

/// The nodes that the file has; `None` if it cannot be read.
fn on_disk(path: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    let contents: serde_json::Value = serde_json::from_str(&text).unwrap();
    let nodes = contents["nodes"].as_array().unwrap();
    Some(nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect())
}

async fn with_cache(server: &Server, path: &Path, own: &str) -> (Connection, Feed) {
    let (_directory, options) = kubeconfig(&server.url());
    let max_age = Duration::from_secs(60 * 60);
    let cache = Cache { directory: path.parent().unwrap().into(), node: own.into(), max_age };
    let source = Source::Api(ApiOptions { cache: Some(cache), ..options });
    let connection = source.connect().await.unwrap();
    let changes = Feed::of(&connection);
    (connection, changes)
}

/// A server that answers one program, whose objects a and b it leaves on disk, and then the next as scripted.
async fn cached(path: &Path, then: impl IntoIterator<Item = (Kind, Reply)>) -> Server {
    let b = node("b", "10.2.0.0/24", "2");
    let first =
        [(Kind::List, list("2", &[a("1"), b])), (Kind::Watch, idle()), (Kind::Cluster, cluster("cluster-1"))];
    let server = Server::start(first.into_iter().chain(then)).await;
    let (connection, mut changes) = with_cache(&server, path, "a").await;
    assert_eq!(changes.next().await, "=a,b");
    assert_eq!(connection.health().from_disk(), None);
    until("the objects are on disk", DEADLINE, || on_disk(path).is_some_and(|nodes| nodes == ["a", "b"]))
        .await;
    until("the watch", DEADLINE, || server.count(Kind::Watch) == 1).await;
    server
}

fn field(path: &Path, name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()[name].clone()
}

#[tokio::test]
async fn what_was_known_serves_until_the_server_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nodes.json");
    let c = node("c", "10.3.0.0/24", "9");
    let gone = event("DELETED", &node("c", "10.3.0.0/24", "10"));
    let server = cached(
        &path,
        [
            (Kind::List, refusal(503, "ServiceUnavailable")),
            (Kind::List, list("9", &[a("1"), c])),
            (Kind::Watch, Reply::Stream(vec![gone], End::Open)),
        ],
    )
    .await;
    assert_eq!(field(&path, "server"), server.url());
    assert_eq!((field(&path, "cluster_uid"), field(&path, "node_uid")), (json!("cluster-1"), json!("uid-a")));
    let (connection, mut changes) = with_cache(&server, &path, "a").await;
    assert_eq!(changes.next().await, "?a,b", "and perhaps others: nothing may be removed");
    assert!(connection.health().from_disk().unwrap().elapsed().unwrap() < DEADLINE);
    assert_eq!(changes.next().await, "=a,c");
    assert_eq!(connection.health().from_disk(), None);
    assert_eq!(changes.next().await, "-c");
    until("the file follows", DEADLINE, || on_disk(&path).is_some_and(|nodes| nodes == ["a"])).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_away_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nodes.json");
    let server = cached(&path, [(Kind::List, Reply::Stall)]).await;
    let (_connection, mut changes) = with_cache(&server, &path, "a").await;
    assert_eq!(changes.next().await, "?a,b");
    assert_eq!(server.count(Kind::List), 2, "the question goes on meanwhile");
    assert_eq!(on_disk(&path).unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn another_cluster_at_the_same_address_replaces_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nodes.json");
    let mut other = node("a", "10.9.0.0/24", "9");
    other["metadata"]["uid"] = json!("uid-other");
    let server = cached(
        &path,
        [
            (Kind::List, refusal(503, "ServiceUnavailable")),
            (Kind::List, list("9", std::slice::from_ref(&other))),
            (Kind::Cluster, cluster("cluster-2")),
        ],
    )
    .await;
    let (_connection, mut changes) = with_cache(&server, &path, "a").await;
    assert_eq!(changes.next().await, "?a,b");
    assert_eq!(changes.next().await, "=a");
    changes.reach(&["a 10.9.0.0/24"]).await;
    until("the file is of the other cluster", DEADLINE, || field(&path, "cluster_uid") == "cluster-2").await;
    assert_eq!(
        (on_disk(&path).unwrap(), field(&path, "node_uid")),
        (vec!["a".to_owned()], json!("uid-other"))
    );
}

#[tokio::test]
async fn a_cached_node_stands_for_one_that_is_invalid_but_not_for_its_successor() {
    // Also when the server answers at once, and a restarted agent never went on with the cached ones.
    for away in [true, false] {
        for (uid, want) in [("uid-b", "=a,b"), ("uid-new", "=a")] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("nodes.json");
            let mut b = node("b", "no CIDR", "8");
            b["metadata"]["uid"] = json!(uid);
            let refused = away.then(|| (Kind::List, refusal(503, "ServiceUnavailable")));
            let then = refused.into_iter().chain([(Kind::List, list("9", &[a("1"), b]))]);
            let server = cached(&path, then).await;
            let (connection, mut changes) = with_cache(&server, &path, "a").await;
            if away {
                assert_eq!(changes.next().await, "?a,b");
            }
            assert_eq!(changes.next().await, want, "{uid}");
            assert!(invalid(&connection.health()).contains_key("b"));
            assert_eq!(connection.health().from_disk(), None);
        }
    }
}

#[tokio::test]
async fn a_file_of_another_node_or_a_torn_one_is_not_used() {
    let then = || {
        [
            (Kind::List, refusal(503, "ServiceUnavailable")),
            (Kind::List, list("9", &[])),
            (Kind::Cluster, cluster("cluster-1")),
        ]
    };
    for (own, torn) in [("b", false), ("a", true)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.json");
        let server = cached(&path, then()).await;
        if torn {
            std::fs::write(&path, "{\"format\":2,\"clus").unwrap();
        }
        let (_connection, mut changes) = with_cache(&server, &path, own).await;
        assert_eq!(changes.next().await, "=");
        // This node has no Node: nothing may serve for it at the next start.
        until("the file is gone", DEADLINE, || !path.exists()).await;
    }
}

#[tokio::test]
async fn a_file_from_another_server_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nodes.json");
    let _first = cached(&path, []).await;
    let server =
        Server::start([(Kind::List, refusal(503, "ServiceUnavailable")), (Kind::List, list("9", &[a("1")]))])
            .await;
    let (connection, mut changes) = with_cache(&server, &path, "a").await;
    let health = connection.health();
    until("it is away", DEADLINE, || health.error().is_some()).await;
    assert_eq!(health.from_disk(), None);
    assert_eq!(changes.next().await, "=a");
}

#[tokio::test]
async fn without_knowing_the_cluster_nothing_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nodes.json");
    let script = [
        (Kind::List, list("2", &[a("1")])),
        (Kind::Watch, idle()),
        (Kind::Cluster, refusal(403, "Forbidden")),
        (Kind::Cluster, cluster("cluster-1")),
    ];
    let server = Server::start(script).await;
    let (connection, mut changes) = with_cache(&server, &path, "a").await;
    assert_eq!(changes.next().await, "=a");
    until("it is refused", DEADLINE, || server.count(Kind::Cluster) == 1).await;
    assert_eq!((on_disk(&path), connection.health().error()), (None, None), "objects arrive all the same");
    tokio::time::pause();
    until("it is allowed by now", Duration::from_secs(120), || on_disk(&path).is_some()).await;
}

/// The kubelet writes a Node's status every few minutes: its conditions, and nothing that is kept.
#[tokio::test]
async fn a_heartbeat_is_no_change_and_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nodes.json");
    let heartbeat = |version: &str| {
        let mut node = a(version);
        node["status"] =
            json!({"conditions": [{"type": "Ready", "lastHeartbeatTime": version}], "images": [version]});
        event("MODIFIED", &node)
    };
    let b = event("ADDED", &node("b", "10.2.0.0/24", "9"));
    let beats = Reply::Stream(vec![heartbeat("3"), heartbeat("4"), heartbeat("5")], End::Proper);
    let server = Server::start([
        (Kind::List, list("2", &[a("1")])),
        (Kind::Watch, Reply::Stream(Vec::new(), End::Proper)),
        (Kind::Watch, beats),
        (Kind::Watch, Reply::Stream(vec![b], End::Open)),
        (Kind::Cluster, cluster("cluster-1")),
    ])
    .await;
    let (_connection, mut changes) = with_cache(&server, &path, "a").await;
    assert_eq!(changes.next().await, "=a");
    until("the objects are on disk", DEADLINE, || on_disk(&path).is_some()).await;
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    until("the heartbeats were sent", DEADLINE, || server.count(Kind::Watch) == 3).await;
    assert_eq!(changes.next().await, "+b 10.2.0.0/24", "nothing was told before");
    assert!(server.requests(Kind::Watch)[2].target.contains("resourceVersion=5"));
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written, "nothing was written before");
    until("a change is written", DEADLINE, || on_disk(&path).is_some_and(|nodes| nodes == ["a", "b"])).await;
}
