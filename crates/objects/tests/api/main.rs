//! Objects from an API server on loopback that follows a script, and annotations to it.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod degraded;
mod faults;
mod listing;
mod outage;
mod recorder;
mod server;
mod silent;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use objects::{
    ApiOptions, Changes, ConnectError, Connection, Health, Key, Node, Reason, Selector, Source, Verb,
    Watching,
};
use serde_json::json;
use server::{End, Kind, Reply, Server, bookmark, event, list, node, part, refusal, status};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(60);

/// The Nodes of a source, as its changes tell of them.
struct Feed {
    changes: Changes<Node>,
    nodes: BTreeMap<Key, Arc<Node>>,
    synced: bool,
    _watching: Watching,
}

impl Feed {
    fn of(connection: &Connection) -> Self {
        let mut watch = connection.watch();
        let changes = watch.of(Selector::default());
        Self { changes, nodes: BTreeMap::new(), synced: false, _watching: watch.start() }
    }

    /// The next changes in few words: "?a,b" for what is known while there may be more, "=a,b" for all of them once
    /// there is no more, and then what differs: "+a 10.1.0.0/24", "-a".
    async fn next(&mut self) -> String {
        let delta = timeout(DEADLINE, self.changes.next()).await.expect("no change in time");
        let delta = delta.expect("the changes ended");
        let mut words = Vec::new();
        for node in delta.deleted {
            self.nodes.remove(&Key::new(&node.name)).expect("a deleted Node is one that was known");
            words.push(format!("-{}", node.name));
        }
        for node in delta.upserted {
            words.push(format!("+{} {}", node.name, node.pod_cidrs[0]));
            let before = self.nodes.insert(Key::new(&node.name), Arc::clone(&node));
            assert_ne!(before, Some(node), "an equal one is no change");
        }
        let all = || self.nodes.keys().map(Key::name).collect::<Vec<_>>().join(",");
        match (std::mem::replace(&mut self.synced, delta.synced), delta.synced) {
            (false, true) => format!("={}", all()),
            (false, false) => format!("?{}", all()),
            (true, true) => words.join(" "),
            (true, false) => panic!("what is synced stays so"),
        }
    }

    /// Waits until these are the Nodes: a name and a podCIDR each.
    async fn reach(&mut self, want: &[&str]) {
        let is_so = |feed: &Self| {
            let nodes = feed.nodes.values().map(|node| format!("{} {}", node.name, node.pod_cidrs[0]));
            nodes.eq(want.iter().map(|node| (*node).to_owned()))
        };
        while !is_so(self) {
            self.next().await;
        }
    }
}

/// What is wrong with Nodes, by name.
fn invalid(health: &Health) -> BTreeMap<String, String> {
    let all = health.invalid_objects().borrow().get("Node").cloned().unwrap_or_default();
    all.into_iter().map(|(key, invalid)| (key.to_string(), invalid.problem)).collect()
}

fn kubeconfig(url: &str) -> (TempDir, ApiOptions) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    (directory, ApiOptions { kubeconfig: Some(path), ..ApiOptions::default() })
}

async fn connect(server: &Server) -> Connection {
    let (_directory, options) = kubeconfig(&server.url());
    Source::Api(options).connect().await.unwrap()
}

async fn follow(server: &Server) -> (Connection, Feed) {
    let connection = connect(server).await;
    let changes = Feed::of(&connection);
    (connection, changes)
}

async fn until(what: &str, deadline: Duration, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(deadline, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn a(version: &str) -> serde_json::Value {
    node("a", "10.1.0.0/24", version)
}

fn idle() -> Reply {
    Reply::Stream(Vec::new(), End::Open)
}

#[tokio::test]
async fn a_list_in_pages_and_a_watch_become_changes() {
    let server = Server::start([
        (Kind::List, part("", "more please", &[a("1")])),
        (Kind::List, list("5", &[node("b", "10.2.0.0/24", "2")])),
        (
            Kind::Watch,
            Reply::Stream(
                vec![
                    event("ADDED", &node("c", "10.3.0.0/24", "6")),
                    event("MODIFIED", &node("a", "10.9.0.0/24", "7")),
                    bookmark(),
                    event("DELETED", &node("b", "10.2.0.0/24", "9")),
                ],
                End::Open,
            ),
        ),
    ])
    .await;
    let (connection, mut changes) = follow(&server).await;
    assert_eq!(changes.next().await, "=a,b");
    changes.reach(&["a 10.9.0.0/24", "c 10.3.0.0/24"]).await;
    assert_eq!(connection.health().error(), None);
    let lists = server.requests(Kind::List);
    assert_eq!(lists.len(), 2);
    assert_eq!(
        lists[0].target, "/api/v1/nodes?&resourceVersion=0&resourceVersionMatch=NotOlderThan",
        "from its cache"
    );
    assert_eq!(lists[1].target, "/api/v1/nodes?&limit=500&continue=more+please");
    let watch = &server.requests(Kind::Watch)[0];
    assert!(watch.target.starts_with("/api/v1/nodes?"), "{}", watch.target);
    assert!(watch.target.contains("resourceVersion=5"), "{}", watch.target);
    assert!(watch.target.contains("allowWatchBookmarks=true"), "{}", watch.target);
    assert_eq!(watch.headers["authorization"], "Bearer secret");
}

#[tokio::test]
async fn a_version_that_is_gone_makes_a_fresh_list() {
    let gone = status(410, "Expired", &json!({}));
    let server = Server::start([
        (Kind::List, list("1", &[a("1")])),
        (Kind::List, list("20", &[])),
        (Kind::List, list("30", &[node("d", "10.4.0.0/24", "30")])),
        (Kind::Watch, Reply::Stream(vec![event("ERROR", &gone)], End::Proper)), // as a word in the watch,
        (Kind::Watch, Reply::Answer(410, gone.to_string())),                    // and instead of a watch
        (Kind::Watch, idle()),
    ])
    .await;
    let (connection, mut changes) = follow(&server).await;
    for want in ["=a", "-a", "+d 10.4.0.0/24"] {
        assert_eq!(changes.next().await, want);
        assert_eq!(connection.health().error(), None, "this is usual");
    }
    let lists = server.requests(Kind::List);
    for (list, version) in lists.iter().zip(["0", "1", "20"]) {
        let want = format!("/api/v1/nodes?&resourceVersion={version}&resourceVersionMatch=NotOlderThan");
        assert_eq!(list.target, want, "what was seen once is not listed as it was before");
    }
}

#[tokio::test]
async fn a_watch_that_is_cut_resumes_where_it_was() {
    let server = Server::start([
        (Kind::List, list("1", &[])),
        (Kind::Watch, Reply::Stream(vec![event("ADDED", &a("7"))], End::Cut)),
        (Kind::Watch, Reply::Stream(vec![event("MODIFIED", &node("a", "10.9.0.0/24", "8"))], End::Open)),
    ])
    .await;
    let (_connection, mut changes) = follow(&server).await;
    for want in ["=", "+a 10.1.0.0/24", "+a 10.9.0.0/24"] {
        assert_eq!(changes.next().await, want);
    }
    assert_eq!(server.count(Kind::List), 1);
    assert!(server.requests(Kind::Watch)[1].target.contains("resourceVersion=7"));
}

#[tokio::test]
async fn a_server_in_trouble_is_not_stormed_and_health_tells_when_it_is_over() {
    let server = Server::start([
        (Kind::List, refusal(500, "InternalError")),
        (Kind::List, refusal(503, "ServiceUnavailable")),
        (Kind::List, list("1", &[a("1")])),
        (Kind::Watch, refusal(500, "InternalError")),
        (Kind::Watch, idle()),
    ])
    .await;
    let (connection, mut changes) = follow(&server).await;
    let health = connection.health();
    until("500", DEADLINE, || health.error().is_some()).await;
    let error = health.error().unwrap();
    assert!(error.contains("does not list nodes: 500 InternalError: the server's words on 500"), "{error}");
    until("503", DEADLINE, || {
        let error = health.error().expect("an attempt is no recovery");
        error.contains("503")
    })
    .await;
    assert_eq!(server.count(Kind::List), 2, "kube itself must not try again behind our back");
    assert_eq!(health.api_errors().get(Verb::List, Reason::Server), 2);
    assert_eq!(changes.next().await, "=a");
    until("no watch", DEADLINE, || health.error().is_some_and(|error| error.contains("watch nodes"))).await;
    // The watch that succeeds is silent: it has to count all the same.
    until("all is well", DEADLINE, || health.error().is_none()).await;
    assert_eq!((server.count(Kind::List), server.count(Kind::Watch)), (3, 2));
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let busy = status(429, "TooManyRequests", &json!({"retryAfterSeconds": 3}));
    let server =
        Server::start([(Kind::List, Reply::Answer(429, busy.to_string())), (Kind::List, list("1", &[]))])
            .await;
    let began = Instant::now();
    let (connection, mut changes) = follow(&server).await;
    assert_eq!(changes.next().await, "=");
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!((server.count(Kind::List), connection.health().error()), (2, None));
}

#[tokio::test]
async fn watches_that_end_at_once_are_no_storm() {
    let server =
        Server::start([(Kind::List, list("1", &[])), (Kind::Watch, Reply::Stream(Vec::new(), End::Proper))])
            .await;
    let (_connection, mut changes) = follow(&server).await;
    assert_eq!(changes.next().await, "=");
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let watches = server.count(Kind::Watch);
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(watches <= seconds + 2, "{watches} watches in {seconds} s");
    until("it is watched again", DEADLINE, || server.count(Kind::Watch) >= 2).await;
    assert_eq!(server.count(Kind::List), 1);
}

#[tokio::test]
async fn without_permission_it_keeps_trying_and_says_so() {
    for (code, reason) in [(401, "Unauthorized"), (403, "Forbidden")] {
        let server = Server::start([(Kind::List, refusal(code, reason)), (Kind::List, list("1", &[]))]).await;
        let (connection, mut changes) = follow(&server).await;
        let health = connection.health();
        until(reason, DEADLINE, || health.error().is_some()).await;
        let error = health.error().unwrap();
        assert!(error.contains(&format!("{code} {reason}: the server's words on {code}")), "{error}");
        assert!(error.contains(&server.url()) && (code == 401 || error.contains("list nodes")), "{error}");
        assert_eq!(changes.next().await, "=", "the role may be granted later");
    }
}

#[tokio::test]
async fn garbage_is_an_error_and_not_the_end() {
    let server = Server::start([
        (Kind::List, Reply::Answer(200, "<html>login".into())),
        (Kind::List, Reply::Answer(200, json!({"metadata": {}, "items": []}).to_string())),
        (Kind::List, list("1", &[a("1")])),
        (Kind::Watch, Reply::Stream(vec!["<html>".into()], End::Open)),
        (Kind::Watch, Reply::Stream(vec![event("DELETED", &a("2"))], End::Open)),
    ])
    .await;
    let (connection, mut changes) = follow(&server).await;
    let health = connection.health();
    until("html", DEADLINE, || health.error().is_some()).await;
    until("no version", DEADLINE, || health.error().unwrap().contains("no resourceVersion")).await;
    assert_eq!(changes.next().await, "=a");
    until("watch", DEADLINE, || health.error().is_some_and(|error| error.contains("watch nodes"))).await;
    assert_eq!(changes.next().await, "-a");
    assert_eq!(health.error(), None);
}

/// As after a restored backup of etcd.
#[tokio::test]
async fn a_version_that_the_server_has_not_reached_makes_a_list_of_the_latest_state() {
    let too_large = status(504, "Timeout", &json!({"causes": [{"reason": "ResourceVersionTooLarge"}]}));
    let server = Server::start([
        (Kind::List, list("1000", &[a("1000")])),
        (Kind::List, Reply::Answer(504, too_large.to_string())),
        (Kind::List, list("7", &[node("a", "10.9.0.0/24", "6")])),
        (Kind::List, list("9", &[])),
        (Kind::Watch, Reply::Answer(410, status(410, "Expired", &json!({})).to_string())),
        (Kind::Watch, Reply::Answer(410, status(410, "Expired", &json!({})).to_string())),
        (Kind::Watch, idle()),
    ])
    .await;
    let (connection, mut changes) = follow(&server).await;
    for want in ["=a", "+a 10.9.0.0/24", "-a"] {
        assert_eq!(changes.next().await, want);
    }
    assert_eq!(connection.health().error(), None);
    let targets: Vec<_> = server.requests(Kind::List).into_iter().map(|list| list.target).collect();
    assert!(targets[1].contains("resourceVersion=1000&"), "{targets:?}");
    assert_eq!(targets[2], "/api/v1/nodes?&limit=500");
    assert!(targets[3].contains("resourceVersion=7&"), "{targets:?}");
    assert!(server.requests(Kind::Watch)[1].target.contains("resourceVersion=7"));
}

#[tokio::test]
async fn an_invalid_object_stays_as_it_was_and_is_no_failure_of_the_source() {
    let gone = status(410, "Expired", &json!({}));
    let broken = node("a", "10.1.0.0/240", "2");
    let mut unreadable = node("a", "10.1.0.0/24", "3");
    unreadable["status"] = json!({"addresses": "none"});
    let server = Server::start([
        (Kind::List, list("1", &[a("1"), node("b", "10.2.0.0/24", "1")])),
        (Kind::List, list("9", std::slice::from_ref(&broken))),
        (
            Kind::Watch,
            Reply::Stream(
                vec![event("MODIFIED", &broken), event("MODIFIED", &unreadable), event("ERROR", &gone)],
                End::Proper,
            ),
        ),
        (Kind::Watch, Reply::Stream(vec![event("MODIFIED", &node("a", "10.5.0.0/24", "10"))], End::Open)),
    ])
    .await;
    let (connection, mut changes) = follow(&server).await;
    let health = connection.health();
    assert_eq!(changes.next().await, "=a,b");
    until("named", DEADLINE, || invalid(&health).contains_key("a")).await;
    assert!(invalid(&health)["a"].contains("invalid type: string \"none\""), "{:?}", invalid(&health));
    assert_eq!(changes.next().await, "-b", "and a is not taken for deleted");
    assert!(invalid(&health)["a"].starts_with("spec.podCIDRs: \"10.1.0.0/240\""), "{:?}", invalid(&health));
    assert!(invalid(&health)["a"].ends_with("; its last valid form is used"), "{:?}", invalid(&health));
    assert_eq!(health.error(), None);
    assert_eq!(changes.next().await, "+a 10.5.0.0/24");
    assert_eq!(invalid(&health), BTreeMap::new());
}

#[tokio::test]
async fn an_object_that_was_never_valid_does_not_keep_the_others_from_being_all() {
    let odd = node("odd", "no CIDR", "1");
    let fixed = event("MODIFIED", &node("odd", "10.7.0.0/24", "5"));
    let server = Server::start([
        (Kind::List, list("1", &[a("1"), odd])),
        (Kind::Watch, Reply::Stream(vec![fixed], End::Open)),
    ])
    .await;
    let (connection, mut changes) = follow(&server).await;
    assert_eq!(changes.next().await, "=a");
    assert!(invalid(&connection.health())["odd"].ends_with("; it is left out"));
    assert_eq!(changes.next().await, "+odd 10.7.0.0/24");
    assert_eq!(invalid(&connection.health()), BTreeMap::new());
}

/// The clock stands still and jumps to the next timer once nothing else is to do.
#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start([]).await;
    let (connection, _changes) = follow(&server).await;
    until("the list", DEADLINE, || server.count(Kind::List) == 1).await;
    tokio::time::pause();
    let (health, began) = (connection.health(), Instant::now());
    until("an error", Duration::from_secs(60), || health.error().is_some()).await;
    let error = health.error().unwrap();
    assert!(
        error.contains(&format!("the API server {} gives no answer within 30s", server.url())),
        "{error}"
    );
    assert!(began.elapsed() > Duration::from_secs(25), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_explicit_server_counts() {
    let server = Server::start([(Kind::List, list("1", &[])), (Kind::Watch, idle())]).await;
    let (_directory, mut options) = kubeconfig("http://127.0.0.1:1");
    options.server = Some(server.url());
    let connection = Source::Api(options).connect().await.unwrap();
    assert_eq!(Feed::of(&connection).next().await, "=");
    assert_eq!(server.requests(Kind::List)[0].headers["authorization"], "Bearer secret");
}

#[tokio::test]
async fn what_cannot_be_used_is_said_at_once() {
    for url in ["192.0.2.1:6443", "localhost", "ftp://192.0.2.1", "https://", "no url", ""] {
        let (_directory, mut options) = kubeconfig("http://127.0.0.1:1");
        options.server = Some(url.into());
        let error = Source::Api(options).connect().await.unwrap_err();
        assert!(matches!(&error, ConnectError::Url(said) if said == url), "{url}: {error}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let options = ApiOptions { kubeconfig: Some(path.clone()), ..ApiOptions::default() };
    for text in [None, Some("a: [1"), Some("apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n")] {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let error = Source::Api(options.clone()).connect().await.unwrap_err().to_string();
        assert!(error.contains(&format!("cannot use the kubeconfig {}", path.display())), "{error}");
    }
}

mod annotations {
    use super::*;
    use objects::{AnnotateError, PodRef};

    fn pod(uid: Option<&str>) -> PodRef {
        PodRef { namespace: "shop".into(), name: "web-0".into(), uid: uid.map(Into::into) }
    }

    async fn annotate(server: &Server, pod: &PodRef) -> Result<(), AnnotateError> {
        let annotations = [("midonet.org/a".into(), Some("1".into())), ("midonet.org/b".into(), None)].into();
        let annotator = connect(server).await.annotator();
        timeout(Duration::from_secs(60), annotator.annotate_pod(pod, &annotations)).await.expect("no answer")
    }

    fn done() -> Reply {
        let metadata = json!({"name": "web-0", "namespace": "shop"});
        let kind = "PartialObjectMetadata";
        Reply::Answer(
            200,
            json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "metadata": metadata}).to_string(),
        )
    }

    #[tokio::test]
    async fn are_one_merge_patch_for_this_pod_only() {
        let server = Server::start([(Kind::Patch, done())]).await;
        annotate(&server, &pod(Some("u-1"))).await.unwrap();
        annotate(&server, &pod(None)).await.unwrap();
        let patches = server.requests(Kind::Patch);
        assert_eq!(patches[0].target.trim_end_matches('?'), "/api/v1/namespaces/shop/pods/web-0/status");
        assert_eq!(patches[0].headers["content-type"], "application/merge-patch+json");
        let body = |index: usize| serde_json::from_str::<serde_json::Value>(&patches[index].body).unwrap();
        let annotations = json!({"midonet.org/a": "1", "midonet.org/b": null});
        assert_eq!(body(0), json!({"metadata": {"uid": "u-1", "annotations": annotations}}));
        assert_eq!(body(1), json!({"metadata": {"annotations": annotations}}));
    }

    #[tokio::test]
    async fn of_a_node_are_written_by_its_status() {
        let server = Server::start([(Kind::Patch, done())]).await;
        let annotator = connect(&server).await.annotator();
        let annotations = [("midonet.org/a".into(), Some("1".into()))].into();
        timeout(DEADLINE, annotator.annotate_node("n.1", &annotations)).await.expect("no answer").unwrap();
        let patches = server.requests(Kind::Patch);
        assert_eq!(patches[0].target.trim_end_matches('?'), "/api/v1/nodes/n.1/status");
        let body = serde_json::from_str::<serde_json::Value>(&patches[0].body).unwrap();
        assert_eq!(body, json!({"metadata": {"annotations": {"midonet.org/a": "1"}}}));
        let error = annotator.annotate_node("../pods/x", &annotations).await.unwrap_err();
        assert!(!error.is_retriable() && error.to_string().contains("no name of a Node"), "{error}");
    }

    #[tokio::test]
    async fn that_are_refused_say_whether_to_try_again() {
        for (code, reason, retry) in [
            (404, "NotFound", false),
            (409, "Conflict", true),
            (422, "Invalid", false),
            (403, "Forbidden", true),
            (500, "InternalError", true),
            (503, "ServiceUnavailable", true),
        ] {
            let server = Server::start([(Kind::Patch, refusal(code, reason))]).await;
            let error = annotate(&server, &pod(Some("u-1"))).await.unwrap_err();
            assert_eq!((error.is_retriable(), error.reason()), (retry, reason));
            assert_eq!(error.retry_after(), None);
            let want = format!("cannot annotate Pod shop/web-0: {}", error.cause());
            let words = format!("{code} {reason}: the server's words on {code}");
            assert!(error.cause().contains(&words) && error.cause().contains(&server.url()), "{error}");
            assert!(error.to_string().contains(&want), "{error}");
            assert_eq!(server.count(Kind::Patch), 1, "{code}: trying again is the caller's");
        }
    }

    #[tokio::test]
    async fn are_not_for_another_pod_of_that_name() {
        let mut refusal = status(409, "Conflict", &json!({}));
        refusal["message"] = json!("Precondition failed: UID in precondition: u-1, UID in object meta: u-2");
        let server = Server::start([(Kind::Patch, Reply::Answer(409, refusal.to_string()))]).await;
        let error = annotate(&server, &pod(Some("u-1"))).await.unwrap_err();
        assert!(!error.is_retriable(), "{error}");
    }

    #[tokio::test]
    async fn wait_as_long_as_the_server_asks_within_reason() {
        for (asked, want) in [(7, 7), (u32::MAX, 300)] {
            let busy = status(429, "TooManyRequests", &json!({"retryAfterSeconds": asked}));
            let server = Server::start([(Kind::Patch, Reply::Answer(429, busy.to_string()))]).await;
            let error = annotate(&server, &pod(None)).await.unwrap_err();
            assert!(error.is_retriable());
            assert_eq!(error.retry_after(), Some(Duration::from_secs(want)));
        }
    }

    #[tokio::test]
    async fn do_not_wait_for_ever() {
        let server = Server::start([]).await;
        let writing = tokio::spawn({
            let server = server.clone();
            async move { annotate(&server, &pod(None)).await }
        });
        until("the patch", DEADLINE, || server.count(Kind::Patch) == 1).await;
        tokio::time::pause();
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!((error.is_retriable(), error.reason()), (true, "Timeout"));
    }

    #[tokio::test]
    async fn of_what_is_no_pod_are_not_sent() {
        let server = Server::start([(Kind::Patch, done())]).await;
        for name in ["", "..", "x/../../nodes/a", "a?b", "a b"] {
            let error = annotate(&server, &PodRef { name: name.into(), ..pod(None) }).await.unwrap_err();
            assert_eq!((error.is_retriable(), error.reason()), (false, "Invalid"), "{name}");
        }
        assert_eq!(server.count(Kind::Patch), 0);
    }
}
