//! A kind that the library does not know takes every path: list, watch, directory, cache on disk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use objects::{
    ApiOptions, Cache, Changes, ClusterNetworkPolicy, Connection, Delta, Invalid, Key, Kind, Metadata,
    Namespace, NetworkPolicy, Node, Pod, Resource, Selector, ServiceCidr, Source, Watching,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);

/// A namespaced kind of another group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Widget {
    namespace: String,
    name: String,
    uid: Option<String>,
    team: Option<String>,
    size: u8,
}

#[derive(Deserialize)]
struct ApiWidget {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    size: u8,
}

impl Kind for Widget {
    const RESOURCE: Resource =
        Resource { group: "example.org", version: "v1", kind: "Widget", plural: "widgets", namespaced: true };
    type Api = ApiWidget;

    fn trim(metadata: Metadata, api: ApiWidget) -> Result<Self, Invalid> {
        if api.spec.size == 0 {
            return Err(Invalid::field("spec.size", "0 is no size"));
        }
        let Metadata { name, namespace, uid, mut labels, .. } = metadata;
        Ok(Self {
            name,
            namespace: namespace.unwrap_or_default(),
            uid,
            team: labels.remove("team"),
            size: api.spec.size,
        })
    }

    fn key(&self) -> Key {
        Key::namespaced(&self.namespace, &self.name)
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

/// A kind that servers may lack and get by a CustomResourceDefinition. Without one it is looked for after so many
/// milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Custom<const ABSENT: u64>(String);

type Gadget = Custom<50>;

#[derive(Deserialize)]
struct ApiGadget {}

impl<const ABSENT: u64> Kind for Custom<ABSENT> {
    const RESOURCE: Resource = Resource {
        group: "example.net",
        version: "v2",
        kind: "Gadget",
        plural: "gadgets",
        namespaced: false,
    };
    const OPTIONAL: bool = true;
    const CUSTOM: bool = true;
    const ABSENT: Duration = Duration::from_millis(ABSENT);
    type Api = ApiGadget;

    fn trim(metadata: Metadata, _: ApiGadget) -> Result<Self, Invalid> {
        Ok(Self(metadata.name))
    }

    fn key(&self) -> Key {
        Key::new(&self.0)
    }

    fn uid(&self) -> Option<&str> {
        None
    }
}

fn widget(name: &str, size: u32) -> Value {
    json!({
        "apiVersion": "example.org/v1", "kind": "Widget",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}"), "labels": {"team": "t"}, "resourceVersion": "7"},
        "spec": {"size": size}, "status": {"ignored": true},
    })
}

/// An API server with these paths' answers, where a text is that of status 404; watches get what is sent to all.
#[derive(Clone)]
struct Server {
    lists: Arc<Mutex<BTreeMap<&'static str, Value>>>,
    events: broadcast::Sender<(&'static str, String)>,
    asked: Arc<Mutex<Vec<String>>>,
    address: SocketAddr,
}

const WIDGETS: &str = "/apis/example.org/v1/widgets";
const NODES: &str = "/api/v1/nodes";
const GADGETS: &str = "/apis/example.net/v2/gadgets";
const GROUP: &str = "/apis/example.net";
const OTHER: &str = "/apis/example.net/v3";
const OTHER_GADGETS: &str = "/apis/example.net/v3/gadgets?limit=1";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            lists: Arc::default(),
            events: broadcast::Sender::new(64),
            asked: Arc::default(),
            address,
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        server
    }

    fn list(&self, path: &'static str, items: &[Value]) {
        let list = json!({"kind": "List", "metadata": {"resourceVersion": "5"}, "items": items});
        self.lists.lock().unwrap().insert(path, list);
    }

    fn send(&self, path: &'static str, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object}).to_string() + "\n";
        self.events.send((path, event)).expect("somebody watches");
    }

    async fn serve(self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut first = String::new();
        stream.read_line(&mut first).await.ok()?;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            if line.trim_end().is_empty() {
                break;
            }
        }
        let target = first.split(' ').nth(1)?.to_owned();
        let path = target.split('?').next()?.to_owned();
        let mut events = self.events.subscribe();
        self.asked.lock().unwrap().push(target.clone());
        let head = |code: u16| {
            format!("HTTP/1.1 {code} X\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
        };
        if target.contains("watch=true") {
            stream.write_all(head(200).as_bytes()).await.ok()?;
            while let Ok((of, event)) = events.recv().await {
                if of == path {
                    stream.write_all(event.as_bytes()).await.ok()?;
                }
            }
            return None;
        }
        let body = match path.as_str() {
            "/api/v1/namespaces/kube-system" => {
                Some(json!({"metadata": {"name": "kube-system", "uid": "c-1"}}))
            }
            path => {
                let lists = self.lists.lock().unwrap();
                lists.get(target.as_str()).or_else(|| lists.get(path)).cloned()
            }
        };
        let (code, body) = match body {
            Some(Value::String(text)) => (404, text),
            Some(body) => (200, body.to_string()),
            None => (503, "{}".to_owned()),
        };
        stream.write_all((head(code) + &body).as_bytes()).await.ok()?;
        stream.shutdown().await.ok()
    }

    async fn connect(&self, cache: Option<&Path>) -> Connection {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        let cache =
            cache.map(|directory| Cache { directory: directory.into(), node: "n".into(), max_age: DEADLINE });
        let options = ApiOptions { kubeconfig: Some(path), cache, ..ApiOptions::default() };
        Source::Api(options).connect().await.unwrap()
    }
}

async fn next<K: Kind>(changes: &mut Changes<K>) -> Delta<K> {
    timeout(DEADLINE, changes.next()).await.expect("no change in time").expect("the changes ended")
}

/// "key size" of each, those that are gone with a minus, and whether these are all.
async fn widgets(changes: &mut Changes<Widget>) -> (Vec<String>, bool) {
    let delta = next(changes).await;
    let upserted = delta.upserted.iter().map(|widget| format!("{} {}", widget.key(), widget.size));
    let deleted = delta.deleted.iter().map(|widget| format!("-{}", widget.key()));
    (upserted.chain(deleted).collect(), delta.synced)
}

fn both(connection: &Connection, selector: Selector) -> (Changes<Widget>, Changes<Node>, Watching) {
    let mut watch = connection.watch();
    let (widgets, nodes) = (watch.of(selector), watch.of(Selector::default()));
    (widgets, nodes, watch.start())
}

#[tokio::test]
async fn is_listed_watched_and_cached() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.list(WIDGETS, &[widget("a", 1), widget("b", 0)]);
    let connection = server.connect(Some(cache.path())).await;
    let selector = Selector { fields: Some("spec.nodeName=n".into()), labels: Some("team=t".into()) };
    let (mut changes, mut nodes, watching) = both(&connection, selector);
    assert_eq!(widgets(&mut changes).await, (vec!["shop/a 1".to_owned()], true), "although Nodes are away");
    assert!(timeout(Duration::from_millis(100), nodes.next()).await.is_err());
    server.list(NODES, &[json!({"metadata": {"name": "n", "uid": "u-n"}})]);
    assert!(next(&mut nodes).await.synced);
    let health = connection.health();
    let invalid = health.invalid_objects().borrow()["Widget"][&Key::namespaced("shop", "b")].clone();
    assert_eq!(invalid.problem, "spec.size: 0 is no size; it is left out");

    let asked =
        |what: &str| server.asked.lock().unwrap().iter().find(|target| target.contains(what)).cloned();
    while asked("widgets?&watch=true").is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let list = asked("widgets?").unwrap();
    for want in ["fieldSelector=spec.nodeName%3Dn", "labelSelector=team%3Dt", "resourceVersion=0"] {
        assert!(list.contains(want), "{want} in {list}");
    }
    let watch = asked("watch=true").unwrap();
    assert!(
        watch.contains("fieldSelector=spec.nodeName%3Dn") && watch.contains("labelSelector=team%3Dt"),
        "{watch}"
    );
    server.send(WIDGETS, "MODIFIED", &widget("b", 2));
    assert_eq!(widgets(&mut changes).await.0, ["shop/b 2"]);
    assert!(health.invalid_objects().borrow().is_empty());
    // A size that is none: the whole object cannot be read.
    server.send(WIDGETS, "MODIFIED", &widget("b", 256));
    server.send(WIDGETS, "DELETED", &widget("a", 1));
    assert_eq!(widgets(&mut changes).await.0, ["-shop/a"]);
    assert!(health.invalid_objects().borrow()["Widget"].len() == 1, "{:?}", health.invalid_objects());
    let path = cache.path().join("widgets.json");
    let on_disk = || {
        let text = std::fs::read_to_string(&path).ok()?;
        let file: Value = serde_json::from_str(&text).unwrap();
        Some(
            file["widgets"]
                .as_array()
                .unwrap()
                .iter()
                .map(|widget| widget["name"].clone())
                .collect::<Vec<_>>(),
        )
    };
    let written = async {
        while on_disk() != Some(vec![json!("b")]) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, written).await.expect("it is on disk");
    drop(watching);
    assert_eq!(timeout(DEADLINE, changes.next()).await.expect("the source ended"), None);

    // The server is away when the next one starts.
    server.lists.lock().unwrap().clear();
    let connection = server.connect(Some(cache.path())).await;
    let (mut changes, _nodes, _watching) = both(&connection, Selector::default());
    assert_eq!(widgets(&mut changes).await, (vec!["shop/b 2".to_owned()], false));
    assert!(connection.health().from_disk().is_some());
    server.list(WIDGETS, &[widget("c", 3)]);
    assert_eq!(widgets(&mut changes).await, (vec!["shop/c 3".to_owned(), "-shop/b".to_owned()], true));
}

/// Of an optional kind a server without it has no objects; without another kind something is wrong.
#[tokio::test]
async fn a_kind_that_a_server_does_not_know_is_empty_if_it_is_optional() {
    let status =
        json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "x"});
    for said in ["404 page not found\n".to_owned(), status.to_string()] {
        let server = Server::start().await;
        server.lists.lock().unwrap().insert(CIDRS, said.clone().into());
        server.lists.lock().unwrap().insert(WIDGETS, said.into());
        let cache = tempfile::tempdir().unwrap();
        let connection = server.connect(Some(cache.path())).await;
        let mut watch = connection.watch();
        let mut cidrs = watch.of::<ServiceCidr>(Selector::default());
        let mut widgets = watch.of::<Widget>(Selector::default());
        let _watching = watch.start();
        let delta = next(&mut cidrs).await;
        assert!(delta.synced && delta.upserted.is_empty());
        assert!(timeout(Duration::from_millis(100), widgets.next()).await.is_err());
        let error = connection.health().error().unwrap();
        assert!(error.contains("widgets") && !error.contains("servicecidrs"), "{error}");
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
    }
    // What else is wrong is no sign of an old server.
    let server = Server::start().await;
    server.lists.lock().unwrap().insert(CIDRS, "<html>404</html>".into());
    let connection = server.connect(None).await;
    let mut watch = connection.watch();
    let mut cidrs = watch.of::<ServiceCidr>(Selector::default());
    let _watching = watch.start();
    let first = timeout(Duration::from_millis(300), cidrs.next()).await;
    assert!(first.is_err(), "{first:?}");
}

fn gadgets(delta: &Delta<Gadget>) -> (Vec<&str>, usize, bool) {
    (delta.upserted.iter().map(|gadget| &*gadget.0).collect(), delta.deleted.len(), delta.synced)
}

impl Server {
    fn answer(&self, path: &'static str, answer: Value) {
        self.lists.lock().unwrap().insert(path, answer);
    }

    fn has_no(&self, paths: &[&'static str]) {
        paths.iter().for_each(|path| self.answer(path, "404 page not found\n".into()));
    }

    /// It serves the kind in another version alone, with these objects.
    fn serves_another_version(&self, objects: &[Value]) {
        self.answer(
            GROUP,
            json!({"name": "example.net", "versions": [{"groupVersion": "example.net/v3", "version": "v3"}]}),
        );
        let gadgets = json!({"name": "gadgets", "singularName": "gadget", "namespaced": false, "kind": "Gadget", "verbs": ["list"]});
        self.answer(OTHER, json!({"groupVersion": "example.net/v3", "resources": [gadgets]}));
        self.list(OTHER_GADGETS, objects);
        self.has_no(&[GADGETS]);
    }
}

fn watch_gadgets(connection: &Connection) -> (Changes<Gadget>, Watching) {
    let mut watch = connection.watch();
    (watch.of(Selector::default()), watch.start())
}

#[tokio::test]
async fn a_definition_that_is_installed_later_is_noticed() {
    let (server, cache) = (Server::start().await, tempfile::tempdir().unwrap());
    server.has_no(&[GADGETS, GROUP]);
    let connection = server.connect(Some(cache.path())).await;
    let (mut changes, _watching) = watch_gadgets(&connection);
    assert_eq!(gadgets(&next(&mut changes).await), (vec![], 0, true));
    assert_eq!(connection.health().error(), None);
    server.list(GADGETS, &[json!({"metadata": {"name": "a"}})]);
    assert_eq!(gadgets(&next(&mut changes).await), (vec!["a"], 0, true));
    let path = cache.path().join("gadgets.json");
    let written = async {
        while !std::fs::read_to_string(&path).unwrap_or_default().contains("\"gadgets\":[\"a\"]") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, written).await.expect("it is on disk");
}

/// Where the kind is looked for once an hour.
#[tokio::test]
async fn a_definition_is_noticed_when_it_is_installed() {
    let server = Server::start().await;
    server.has_no(&[GADGETS, GROUP]);
    let connection = server.connect(None).await;
    let mut watch = connection.watch();
    let mut changes = watch.of::<Custom<3_600_000>>(Selector::default());
    let _watching = watch.start();
    let names = |delta: &Delta<Custom<3_600_000>>| -> Vec<String> {
        delta.upserted.iter().map(|custom| custom.0.clone()).collect()
    };
    assert_eq!(names(&next(&mut changes).await), Vec::<String>::new());
    let asked = |what: &str| server.asked.lock().unwrap().iter().filter(|at| at.contains(what)).count();
    let wanted = "fieldSelector=metadata.name%3Dgadgets.example.net";
    let watched = async {
        while asked(wanted) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, watched).await.expect("the definition is watched");
    let definition = json!({"metadata": {"name": "gadgets.example.net", "resourceVersion": "8"}});
    server.send(DEFINITIONS, "ADDED", &definition);
    // The kind is served some time after its definition is there.
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.list(GADGETS, &[json!({"metadata": {"name": "a"}})]);
    assert_eq!(names(&next(&mut changes).await), ["a"]);
    assert_eq!(asked(wanted), 1);
    assert_eq!(connection.health().error(), None);
}

/// A server that loses a kind deletes its objects first: if it has not, what was known counts on.
#[tokio::test]
async fn a_server_that_seems_to_have_lost_a_kind_is_doubted() {
    let (server, cache) = (Server::start().await, tempfile::tempdir().unwrap());
    let file = json!({
        "format": 2, "server": format!("http://{}", server.address), "authorities": [], "node": "n",
        "cluster_uid": "c-1", "node_uid": null, "gadgets": ["a"],
        "saved": std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs(),
    });
    std::fs::write(cache.path().join("gadgets.json"), file.to_string()).unwrap();
    server.has_no(&[GADGETS, GROUP]);
    let connection = server.connect(Some(cache.path())).await;
    let (mut changes, _watching) = watch_gadgets(&connection);
    assert_eq!(gadgets(&next(&mut changes).await), (vec!["a"], 0, false));
    let after = timeout(Duration::from_secs(5), changes.next()).await;
    assert!(after.is_err(), "{after:?}");
    assert!(connection.health().error().unwrap().contains("list gadgets"));
    server.list(GADGETS, &[json!({"metadata": {"name": "b"}})]);
    assert_eq!(gadgets(&next(&mut changes).await), (vec!["b"], 1, true));
    assert_eq!(connection.health().error(), None);
}

#[tokio::test]
async fn objects_of_another_version_alone_are_named_and_what_was_known_counts_on() {
    let server = Server::start().await;
    server.serves_another_version(&[]);
    let connection = server.connect(None).await;
    let (mut changes, watching) = watch_gadgets(&connection);
    assert_eq!(gadgets(&next(&mut changes).await), (vec![], 0, true), "it has none");
    server.list(GADGETS, &[json!({"metadata": {"name": "a"}})]);
    assert_eq!(gadgets(&next(&mut changes).await), (vec!["a"], 0, true));
    drop(watching);

    server.serves_another_version(&[json!({"metadata": {"name": "a"}})]);
    let connection = server.connect(None).await;
    let (mut changes, _watching) = watch_gadgets(&connection);
    let first = timeout(Duration::from_secs(3), changes.next()).await;
    assert!(first.is_err(), "{first:?}");
    let error = connection.health().error().unwrap();
    let want = "has gadgets in version v3 and not in v2: none of them counts; have its CustomResourceDefinition serve v2";
    assert!(error.contains(want), "{error}");
}

/// Who may not ask what there is, is not told of other versions.
#[tokio::test]
async fn a_server_that_does_not_tell_its_versions_has_none() {
    let server = Server::start().await;
    let forbidden =
        json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "x"});
    server.has_no(&[GADGETS]);
    server.answer(
        GROUP,
        json!({"name": "example.net", "versions": [{"groupVersion": "example.net/v3", "version": "v3"}]}),
    );
    server.answer(OTHER, forbidden.to_string().into());
    let connection = server.connect(None).await;
    let (mut changes, _watching) = watch_gadgets(&connection);
    assert_eq!(gadgets(&next(&mut changes).await), (vec![], 0, true));
}

#[tokio::test]
async fn a_manifest_of_another_version_of_a_custom_kind_is_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all.yaml");
    let gadget = |version: &str, name: &str| {
        format!("---\napiVersion: example.net/{version}\nkind: Gadget\nmetadata: {{name: {name}}}\n")
    };
    let other_group = "---\napiVersion: example.com/v3\nkind: Gadget\nmetadata: {name: c}\n";
    let text = gadget("v2", "a") + &gadget("v3", "b") + other_group;
    std::fs::write(&path, text).unwrap();
    let connection = Source::Directory(directory.path().into()).connect().await.unwrap();
    let (mut changes, _watching) = watch_gadgets(&connection);
    assert_eq!(gadgets(&next(&mut changes).await), (vec!["a"], 0, true));
    let mut invalid = connection.health().invalid_objects();
    let gadgets = invalid.borrow_and_update()["Gadget"].clone();
    assert_eq!(gadgets.len(), 1);
    let problem = &gadgets[&Key::new("b")].problem;
    assert!(
        problem.contains("apiVersion: its version \"v3\" is unknown")
            && problem.ends_with("; it is left out"),
        "{problem}"
    );
    // Once it was known, its last valid form counts on.
    std::fs::write(&path, gadget("v3", "a")).unwrap();
    timeout(DEADLINE, invalid.wait_for(|all| all["Gadget"].contains_key(&Key::new("a"))))
        .await
        .unwrap()
        .unwrap();
    let problem = invalid.borrow()["Gadget"][&Key::new("a")].problem.clone();
    assert!(problem.ends_with("; its last valid form is used"), "{problem}");
    assert!(timeout(Duration::from_millis(200), changes.next()).await.is_err());
}

/// What a node needs for policies, as one file of lists and documents.
#[tokio::test]
async fn policies_and_pods_are_read_from_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let text = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: db, namespace: shop}
  spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 5432}, {port: "5432"}]}]}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicyList
items:
- metadata: {name: baseline}
  spec: {tier: Baseline, priority: 0, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
- metadata: {name: wrong}
  spec: {tier: Middle, priority: 0, subject: {namespaces: {}}}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, uid: u-1, labels: {app: db}, annotations: {a: b}}
spec: {nodeName: n1, containers: [{name: c, image: i, ports: [{name: sql, containerPort: 5432}]}], tolerations: []}
status: {phase: Running, podIPs: [{ip: 10.244.1.7}, {ip: "fd44::7"}], containerStatuses: [{name: c}]}
"#;
    std::fs::write(directory.path().join("all.yaml"), text).unwrap();
    let connection = Source::Directory(directory.path().into()).connect().await.unwrap();
    let mut watch = connection.watch();
    let (mut spaces, mut policies) =
        (watch.of::<Namespace>(Selector::default()), watch.of::<NetworkPolicy>(Selector::default()));
    let mut cluster = watch.of::<ClusterNetworkPolicy>(Selector::default());
    let mut pods = watch.of::<Pod>(Selector::default());
    let _watching = watch.start();
    let space = next(&mut spaces).await.upserted.remove(0);
    assert_eq!(
        space.labels.iter().collect::<Vec<_>>(),
        [("kubernetes.io/metadata.name", "shop"), ("team", "a")]
    );
    let policy = next(&mut policies).await.upserted.remove(0);
    let rule = &policy.ingress.as_ref().unwrap()[0];
    assert_eq!((rule.ports.as_ref().unwrap().len(), policy.defects.len(), &policy.egress), (1, 1, &None));
    assert_eq!(
        next(&mut cluster).await.upserted.iter().map(|one| one.key.to_string()).collect::<Vec<_>>(),
        ["baseline"]
    );
    let pod = next(&mut pods).await.upserted.remove(0);
    assert_eq!((pod.key.to_string().as_str(), pod.addresses.len(), pod.ports.len()), ("shop/db-0", 2, 1));
    let invalid = connection.health().invalid_objects().borrow().clone();
    assert_eq!(invalid.keys().collect::<Vec<_>>(), [&"ClusterNetworkPolicy"]);
    assert!(invalid["ClusterNetworkPolicy"][&Key::new("wrong")].problem.contains("spec.tier: \"Middle\""));
}

#[tokio::test]
async fn is_read_from_a_directory_beside_another_kind() {
    let directory = tempfile::tempdir().unwrap();
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec: {podCIDR: 10.1.0.0/24}\n";
    let widget = |size: u8| {
        format!("apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: a}}\nspec: {{size: {size}}}\n")
    };
    let other = "apiVersion: example.org/v2\nkind: Widget\nmetadata: {name: b}\nspec: {size: 9}\n";
    let path = directory.path().join("all.yaml");
    std::fs::write(&path, [node, &widget(1), other].join("---\n")).unwrap();
    let connection = Source::Directory(directory.path().into()).connect().await.unwrap();
    let (mut changes, mut nodes, _watching) = both(&connection, Selector::default());
    assert_eq!(widgets(&mut changes).await, (vec!["default/a 1".to_owned()], true));
    assert_eq!(next(&mut nodes).await.upserted[0].name, "a");
    std::fs::write(&path, [node, &widget(2), other].join("---\n")).unwrap();
    assert_eq!(widgets(&mut changes).await, (vec!["default/a 2".to_owned()], true));
    assert!(timeout(Duration::from_millis(100), nodes.next()).await.is_err());
    let listing = connection.list::<Widget>(DEADLINE).await.unwrap();
    assert_eq!(listing.objects.unwrap()[0].size, 2);
    assert_eq!((listing.invalid.len(), listing.error, connection.health().error()), (0, None, None));
}
