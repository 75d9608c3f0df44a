//! An API server that is away when an agent starts, and what was kept on disk.

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

async fn with_cache(server: &Server, path: &Path, own: &str) -> (Connection, Changes) {
    let (_folder, options) = kubeconfig(&server.url());
    let max_age = Duration::from_secs(60 * 60);
    let cache = Cache { path: path.into(), node: own.into(), max_age };
    let source = Source::Api(ApiOptions { cache: Some(cache), ..options });
    let connection = source.connect().await.unwrap();
    let changes = connection.changes().boxed();
    (connection, changes)
}

/// A server that answers one program, whose objects a and b it leaves on disk, and then the next as scripted.
async fn remembered(path: &Path, then: impl IntoIterator<Item = (Kind, Reply)>) -> Server {
    let b = node("b", "10.2.0.0/24", "2");
    let first =
        [(Kind::List, list("2", &[a("1"), b])), (Kind::Watch, idle()), (Kind::Cluster, cluster("cluster-1"))];
    let server = Server::start(first.into_iter().chain(then)).await;
    let (connection, mut changes) = with_cache(&server, path, "a").await;
    assert_eq!(short(next(&mut changes).await), "=a,b");
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
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    let c = node("c", "10.3.0.0/24", "9");
    let gone = event("DELETED", &node("c", "10.3.0.0/24", "10"));
    let server = remembered(
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
    assert_eq!(short(next(&mut changes).await), "?a,b", "and perhaps others: nothing may be removed");
    assert!(connection.health().from_disk().unwrap().elapsed().unwrap() < DEADLINE);
    assert_eq!(short(next(&mut changes).await), "=a,c");
    assert_eq!(connection.health().from_disk(), None);
    assert_eq!(short(next(&mut changes).await), "-c");
    until("the file follows", DEADLINE, || on_disk(&path).is_some_and(|nodes| nodes == ["a"])).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_away_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    let server = remembered(&path, [(Kind::List, Reply::Stall)]).await;
    let (_connection, mut changes) = with_cache(&server, &path, "a").await;
    assert_eq!(short(next(&mut changes).await), "?a,b");
    assert_eq!(server.count(Kind::List), 2, "the question goes on meanwhile");
    assert_eq!(on_disk(&path).unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn another_cluster_at_the_same_address_replaces_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    let mut other = node("a", "10.9.0.0/24", "9");
    other["metadata"]["uid"] = json!("uid-other");
    let server = remembered(
        &path,
        [
            (Kind::List, refusal(503, "ServiceUnavailable")),
            (Kind::List, list("9", std::slice::from_ref(&other))),
            (Kind::Cluster, cluster("cluster-2")),
        ],
    )
    .await;
    let (_connection, mut changes) = with_cache(&server, &path, "a").await;
    assert_eq!(short(next(&mut changes).await), "?a,b");
    match next(&mut changes).await {
        Change::Replace(all) => {
            let Object::Node(node) = &all[0];
            assert_eq!((all.len(), node.pod_cidrs[0].to_string()), (1, "10.9.0.0/24".to_owned()));
        }
        change => panic!("{change:?}"),
    }
    until("the file is of the other cluster", DEADLINE, || field(&path, "cluster_uid") == "cluster-2").await;
    assert_eq!(
        (on_disk(&path).unwrap(), field(&path, "node_uid")),
        (vec!["a".to_owned()], json!("uid-other"))
    );
}

#[tokio::test]
async fn what_is_not_listed_is_gone_also_if_something_else_is_not_understood() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    let odd = node("odd", "no CIDR", "8");
    let server = remembered(
        &path,
        [(Kind::List, refusal(503, "ServiceUnavailable")), (Kind::List, list("9", &[a("1"), odd]))],
    )
    .await;
    let (_connection, mut changes) = with_cache(&server, &path, "a").await;
    for want in ["?a,b", "-b", "?a"] {
        assert_eq!(short(next(&mut changes).await), want);
    }
}

#[tokio::test]
async fn a_node_on_disk_stands_for_one_that_is_not_understood_but_not_for_its_successor() {
    for (uid, want) in [("uid-b", vec!["=a,b"]), ("uid-new", vec!["-b", "?a"])] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes.json");
        let mut b = node("b", "no CIDR", "8");
        b["metadata"]["uid"] = json!(uid);
        let server = remembered(
            &path,
            [(Kind::List, refusal(503, "ServiceUnavailable")), (Kind::List, list("9", &[a("1"), b]))],
        )
        .await;
        let (_connection, mut changes) = with_cache(&server, &path, "a").await;
        assert_eq!(short(next(&mut changes).await), "?a,b");
        for want in want {
            assert_eq!(short(next(&mut changes).await), want, "{uid}");
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes.json");
        let server = remembered(&path, then()).await;
        if torn {
            std::fs::write(&path, "{\"format\":2,\"clus").unwrap();
        }
        let (_connection, mut changes) = with_cache(&server, &path, own).await;
        assert_eq!(short(next(&mut changes).await), "=");
        // This node has no Node: nothing may serve for it at the next start.
        until("the file is gone", DEADLINE, || !path.exists()).await;
    }
}

#[tokio::test]
async fn a_file_from_another_server_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    let _first = remembered(&path, []).await;
    let server =
        Server::start([(Kind::List, refusal(503, "ServiceUnavailable")), (Kind::List, list("9", &[a("1")]))])
            .await;
    let (connection, mut changes) = with_cache(&server, &path, "a").await;
    let health = connection.health();
    until("it is away", DEADLINE, || health.error().is_some()).await;
    assert_eq!(health.from_disk(), None);
    assert_eq!(short(next(&mut changes).await), "=a");
}

#[tokio::test]
async fn without_knowing_the_cluster_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    let script = [
        (Kind::List, list("2", &[a("1")])),
        (Kind::Watch, idle()),
        (Kind::Cluster, refusal(403, "Forbidden")),
        (Kind::Cluster, cluster("cluster-1")),
    ];
    let server = Server::start(script).await;
    let (connection, mut changes) = with_cache(&server, &path, "a").await;
    assert_eq!(short(next(&mut changes).await), "=a");
    until("it is refused", DEADLINE, || server.count(Kind::Cluster) == 1).await;
    assert_eq!((on_disk(&path), connection.health().error()), (None, None), "objects arrive all the same");
    tokio::time::pause();
    until("it is allowed by now", Duration::from_secs(120), || on_disk(&path).is_some()).await;
}

#[tokio::test]
async fn a_node_that_was_never_understood_may_have_been_there_before() {
    let odd = node("odd", "no CIDR", "1");
    let fixed = event("MODIFIED", &node("odd", "10.7.0.0/24", "5"));
    let server = Server::start([
        (Kind::List, list("1", &[a("1"), odd])),
        (Kind::Watch, Reply::Stream(vec![fixed], End::Open)),
    ])
    .await;
    let (connection, mut changes) = follow(&server).await;
    assert_eq!(short(next(&mut changes).await), "?a");
    assert!(connection.health().error().unwrap().contains("Node odd"));
    assert_eq!(short(next(&mut changes).await), "=a,odd");
}
