//! An API server that is away when an agent starts, and what was kept on disk.

use std::path::Path;

use objects::Cache;

use super::*;

/// The nodes that the file has; `None` if it cannot be read.
fn on_disk(path: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    let contents: serde_json::Value = serde_json::from_str(&text).unwrap();
    let nodes = contents["nodes"].as_array().unwrap();
    Some(nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect())
}

async fn with_cache(server: &Server, path: &Path, cluster: &str) -> (Connection, Changes) {
    let (_folder, options) = kubeconfig(&server.url());
    let cache = Cache { path: path.into(), cluster: cluster.into() };
    let source = Source::Api(ApiOptions { cache: Some(cache), ..options });
    let connection = source.connect().await.unwrap();
    let changes = connection.changes().boxed();
    (connection, changes)
}

/// Has a server that answers leave its objects on disk.
async fn remember(path: &Path) {
    let b = node("b", "10.2.0.0/24", "2");
    let server = Server::start([(Kind::List, list("2", &[a("1"), b])), (Kind::Watch, idle())]).await;
    let (connection, mut changes) = with_cache(&server, path, "here").await;
    assert_eq!(short(next(&mut changes).await), "=a,b");
    assert_eq!(connection.health().from_disk(), None);
    until("the objects are on disk", DEADLINE, || on_disk(path).is_some_and(|nodes| nodes == ["a", "b"]))
        .await;
}

#[tokio::test]
async fn what_was_known_serves_until_the_server_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    remember(&path).await;
    let c = node("c", "10.3.0.0/24", "9");
    let server = Server::start([
        (Kind::List, refusal(503, "ServiceUnavailable")),
        (Kind::List, list("9", &[a("1"), c])),
        (Kind::Watch, Reply::Stream(vec![event("DELETED", &a("10"))], End::Open)),
    ])
    .await;
    let (connection, mut changes) = with_cache(&server, &path, "here").await;
    assert_eq!(short(next(&mut changes).await), "?a,b", "and perhaps others: nothing may be removed");
    assert!(connection.health().from_disk().unwrap().elapsed().unwrap() < DEADLINE);
    assert_eq!(short(next(&mut changes).await), "=a,c");
    assert_eq!(connection.health().from_disk(), None);
    assert_eq!(short(next(&mut changes).await), "-a");
    until("the file follows", DEADLINE, || on_disk(&path).is_some_and(|nodes| nodes == ["c"])).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_away_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    remember(&path).await;
    let server = Server::start([(Kind::List, Reply::Stall)]).await;
    let (_connection, mut changes) = with_cache(&server, &path, "here").await;
    assert_eq!(short(next(&mut changes).await), "?a,b");
    assert_eq!(server.count(Kind::List), 1, "the question goes on meanwhile");
    assert_eq!(on_disk(&path).unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn a_file_of_another_cluster_or_a_torn_one_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    remember(&path).await;
    let script = || {
        [
            (Kind::List, refusal(503, "ServiceUnavailable")),
            (Kind::List, list("9", &[])),
            (Kind::Watch, idle()),
        ]
    };
    let server = Server::start(script()).await;
    let (_connection, mut changes) = with_cache(&server, &path, "elsewhere").await;
    assert_eq!(short(next(&mut changes).await), "=");
    std::fs::write(&path, "{\"format\":1,\"clus").unwrap();
    let server = Server::start(script()).await;
    let (_connection, mut changes) = with_cache(&server, &path, "here").await;
    assert_eq!(short(next(&mut changes).await), "=");
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
