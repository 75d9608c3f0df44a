//! Objects from a directory of manifests, with the kernel's own notices, and annotations beside them.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use objects::{
    AnnotateError, Annotator, Changes, ConnectError, Connection, Health, Key, Node, PodRef, Selector, Source,
    Watching,
};
use tempfile::TempDir;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);

struct Watched {
    directory: TempDir,
    connection: Connection,
    changes: Changes<Node>,
    nodes: BTreeMap<Key, Arc<Node>>,
    _watching: Watching,
}

fn node(name: &str, cidr: &str) -> String {
    format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDR: {cidr}}}\n")
}

impl Watched {
    async fn of(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(directory.path().join(file), text).unwrap();
        }
        Self::at(directory).await
    }

    async fn at(directory: TempDir) -> Self {
        let connection = Source::Directory(directory.path().into()).connect().await.unwrap();
        let mut watch = connection.watch();
        let changes = watch.of(Selector::default());
        Self { directory, connection, changes, nodes: BTreeMap::new(), _watching: watch.start() }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.directory.path().join(file), text).unwrap();
    }

    /// All Nodes after the next change: "name cidr", and "?" if there may be more.
    async fn next(&mut self) -> Vec<String> {
        let delta = timeout(DEADLINE, self.changes.next()).await.expect("no change in time").unwrap();
        for node in delta.deleted {
            self.nodes.remove(&Key::new(&node.name)).unwrap();
        }
        for node in delta.upserted {
            self.nodes.insert(Key::new(&node.name), node);
        }
        let nodes = self.nodes.values().map(|node| format!("{} {}", node.name, node.pod_cidrs[0]));
        nodes.chain((!delta.synced).then(|| "?".to_owned())).collect()
    }

    /// What is wrong with Nodes.
    async fn invalid(&self, is_so: impl Fn(&BTreeMap<String, String>) -> bool) -> BTreeMap<String, String> {
        let mut invalid = self.connection.health().invalid_objects();
        let nodes = |all: &objects::InvalidObjects| -> BTreeMap<String, String> {
            let all = all.get("Node").into_iter().flatten();
            all.map(|(key, invalid)| (key.to_string(), invalid.problem.clone())).collect()
        };
        let found = timeout(DEADLINE, invalid.wait_for(|all| is_so(&nodes(all)))).await;
        nodes(&found.expect("not in time").unwrap())
    }

    async fn nothing_more(&mut self) {
        let change = timeout(Duration::from_millis(300), self.changes.next()).await;
        assert!(change.is_err(), "{change:?}");
    }
}

async fn health(health: &Health, is_so: impl Fn(Option<&str>) -> bool) -> Option<String> {
    let wait = async {
        while !is_so(health.error().as_deref()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("health stays {:?}", health.error()));
    health.error()
}

#[tokio::test]
async fn files_come_change_and_go() {
    let mut watched = Watched::of(&[
        ("b.yaml", &node("b", "10.2.0.0/24")),
        ("a.yml", &node("a", "10.1.0.0/24")),
        ("c.json", r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "c"}, "spec": {"podCIDR": "10.3.0.0/24"}}"#),
        ("notes.txt", "nothing to read"),
        (".a.yaml.swp", "an editor's"),
    ])
    .await;
    assert_eq!(watched.next().await, ["a 10.1.0.0/24", "b 10.2.0.0/24", "c 10.3.0.0/24"]);
    assert_eq!(watched.connection.health().error(), None);
    // The same length, and soon after the first one.
    watched.write("b.yaml", &node("b", "10.9.0.0/24"));
    assert_eq!(watched.next().await, ["a 10.1.0.0/24", "b 10.9.0.0/24", "c 10.3.0.0/24"]);
    fs::remove_file(watched.directory.path().join("a.yml")).unwrap();
    assert_eq!(watched.next().await, ["b 10.9.0.0/24", "c 10.3.0.0/24"]);
    watched.write("d.yaml", &(node("d", "10.4.0.0/24") + "---\n" + &node("e", "10.5.0.0/24")));
    assert_eq!(watched.next().await.len(), 4);
    watched.write("b.yaml", &(node("b", "10.9.0.0/24") + "# a comment\n"));
    watched.nothing_more().await;
}

#[tokio::test]
async fn an_empty_directory_is_an_answer() {
    assert!(Watched::of(&[]).await.next().await.is_empty());
}

#[tokio::test]
async fn a_file_that_is_written_in_steps_is_read_at_the_end() {
    /// Between two steps; a file that stays as it is for 20 ms counts as whole.
    const PAUSE: Duration = Duration::from_millis(5);
    // A machine that is too busy for writing so fast proves nothing: once more.
    for attempt in 1.. {
        let mut watched = Watched::of(&[("a.yaml", &node("a", "10.1.0.0/24"))]).await;
        assert_eq!(watched.next().await, ["a 10.1.0.0/24"]);
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let start = Instant::now();
            watched.write("a.yaml", ""); // an empty file has no objects: read now, the node would be gone
            tokio::time::sleep(PAUSE).await;
            longest = longest.max(start.elapsed());
        }
        watched.write("a.yaml", &node("a", "10.2.0.0/24"));
        let next = watched.next().await;
        if next == ["a 10.2.0.0/24"] {
            break;
        }
        assert!(longest > 3 * PAUSE && attempt < 100, "{next:?} though no step took longer than {longest:?}");
    }
}

#[tokio::test]
async fn a_broken_file_keeps_its_objects_and_is_named() {
    let mut watched = Watched::of(&[("a.yaml", &node("a", "10.1.0.0/24")), ("b.yaml", "a: [1\n")]).await;
    assert_eq!(watched.next().await, ["a 10.1.0.0/24", "?"], "there may be more");
    let state = watched.connection.health();
    let error = health(&state, |error| error.is_some()).await.unwrap();
    assert!(error.contains("b.yaml") && error.contains("line"), "{error}");
    watched.write("b.yaml", &node("b", "10.2.0.0/24"));
    assert_eq!(watched.next().await.len(), 2);
    assert_eq!(health(&state, |error| error.is_none()).await, None);

    watched.write("a.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: a\nspec: {}\n");
    let error = health(&state, |error| error.is_some()).await.unwrap();
    assert!(error.contains("a.yaml") && error.contains("line"), "{error}");
    watched.nothing_more().await;
    watched.write("a.yaml", &node("a", "10.7.0.0/24"));
    assert_eq!(watched.next().await, ["a 10.7.0.0/24", "b 10.2.0.0/24"]);
}

#[tokio::test]
async fn an_invalid_object_is_its_own_problem() {
    let odd = node("odd", "no CIDR");
    let mut watched = Watched::of(&[("a.yaml", &(node("a", "10.1.0.0/24") + "---\n" + &odd))]).await;
    assert_eq!(watched.next().await, ["a 10.1.0.0/24"], "and these are all");
    let problems = watched.invalid(|all| !all.is_empty()).await;
    let path = watched.directory.path().join("a.yaml");
    let want = format!("{}: document 2 (line 5): spec.podCIDRs: \"no CIDR\" is no CIDR", path.display());
    assert!(problems["odd"].starts_with(&want) && problems["odd"].ends_with("left out"), "{problems:?}");
    watched.write("a.yaml", &(node("a", "10.1.0.0/33") + "---\n" + &node("odd", "10.7.0.0/24")));
    assert_eq!(watched.next().await, ["a 10.1.0.0/24", "odd 10.7.0.0/24"]);
    let problems = watched.invalid(|all| all.contains_key("a")).await;
    assert!(problems.len() == 1 && problems["a"].ends_with("its last valid form is used"), "{problems:?}");
    fs::remove_file(&path).unwrap();
    assert!(watched.next().await.is_empty());
    watched.invalid(BTreeMap::is_empty).await;
    assert_eq!(watched.connection.health().error(), None);
}

#[tokio::test]
async fn an_unreadable_document_concerns_no_other_one() {
    let mut watched =
        Watched::of(&[("a.yaml", &(node("a", "10.1.0.0/24") + "---\n" + &node("b", "10.2.0.0/24")))]).await;
    assert_eq!(watched.next().await.len(), 2);
    watched.write("a.yaml", &(node("a", "10.9.0.0/24") + "---\nb: [1\n---\n" + &node("c", "10.3.0.0/24")));
    assert_eq!(watched.next().await, ["a 10.9.0.0/24", "b 10.2.0.0/24", "c 10.3.0.0/24"], "b may be the one");
    let state = watched.connection.health();
    let error = health(&state, |error| error.is_some()).await.unwrap();
    assert!(error.contains("a.yaml: document 2 (line 5): ") && error.contains("line 2"), "{error}");
    watched.write("a.yaml", &(node("a", "10.9.0.0/24") + "---\n" + &node("c", "10.3.0.0/24")));
    assert_eq!(watched.next().await, ["a 10.9.0.0/24", "c 10.3.0.0/24"]);
    health(&state, |error| error.is_none()).await;
}

#[tokio::test]
async fn an_object_twice_in_a_file_counts_once_and_moves_between_files() {
    let two = node("a", "10.1.0.0/24") + "---\n" + &node("a", "10.2.0.0/24");
    let mut watched = Watched::of(&[("b.yaml", &two)]).await;
    assert_eq!(watched.next().await, ["a 10.1.0.0/24"]);
    let state = watched.connection.health();
    let error = health(&state, |error| error.is_some()).await.unwrap();
    assert!(error.contains("b.yaml: document 2 (line 5): Node a is there twice"), "{error}");
    watched.write("b.yaml", &node("a", "10.2.0.0/24"));
    assert_eq!(watched.next().await, ["a 10.2.0.0/24"]);
    health(&state, |error| error.is_none()).await;
    // A file that comes before it takes the object over, and gives it back.
    watched.write("a.yaml", &node("a", "10.3.0.0/24"));
    assert_eq!(watched.next().await, ["a 10.3.0.0/24"]);
    watched.write("a.yaml", &node("c", "10.4.0.0/24"));
    assert_eq!(watched.next().await, ["a 10.2.0.0/24", "c 10.4.0.0/24"]);
    fs::rename(watched.directory.path().join("b.yaml"), watched.directory.path().join("d.yaml")).unwrap();
    watched.nothing_more().await;
}

/// As Kubernetes mounts a ConfigMap: links to files behind a link that is replaced.
#[tokio::test]
async fn a_replaced_link_changes_all_files_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (version, cidr) in [("..1", "10.1.0.0/24"), ("..2", "10.2.0.0/24")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("a.yaml"), node("a", cidr)).unwrap();
    }
    std::os::unix::fs::symlink("..1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let mut watched = Watched::at(directory).await;
    assert_eq!(watched.next().await, ["a 10.1.0.0/24"]);
    let began = Instant::now();
    std::os::unix::fs::symlink("..2", watched.directory.path().join("..new")).unwrap();
    fs::rename(watched.directory.path().join("..new"), watched.directory.path().join("..data")).unwrap();
    assert_eq!(watched.next().await, ["a 10.2.0.0/24"]);
    assert!(began.elapsed() < Duration::from_secs(20), "the kernel told of it: {:?}", began.elapsed());
}

/// Any change of many files leads to what a reader who reads everything anew finds.
#[tokio::test]
async fn changes_lead_to_what_is_there() {
    let mut watched = Watched::of(&[]).await;
    assert!(watched.next().await.is_empty());
    let mut random = 7_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) % limit
    };
    for _ in 0..40 {
        for _ in 0..below(8) {
            let path = watched.directory.path().join(format!("{}.yaml", below(4)));
            match below(4) {
                0 => drop(fs::remove_file(&path)),
                1 => drop(fs::rename(&path, watched.directory.path().join(format!("{}.yaml", below(4))))),
                _ => {
                    let nodes: Vec<_> = (0..below(4))
                        .map(|_| node(&below(6).to_string(), &format!("10.{}.0.0/24", below(3))))
                        .collect();
                    fs::write(&path, nodes.join("---\n")).unwrap();
                }
            }
        }
        let anew = Source::Directory(watched.directory.path().into()).connect().await.unwrap();
        let want = anew.list::<Node>(DEADLINE).await.unwrap().objects.unwrap();
        let want: Vec<_> = want.iter().map(|node| format!("{} {}", node.name, node.pod_cidrs[0])).collect();
        let mut have: Vec<_> =
            watched.nodes.values().map(|node| format!("{} {}", node.name, node.pod_cidrs[0])).collect();
        while have != want {
            have = watched.next().await;
        }
    }
}

#[tokio::test]
async fn of_two_of_one_name_the_first_counts() {
    let mut watched =
        Watched::of(&[("2.yaml", &node("a", "10.2.0.0/24")), ("1.yaml", &node("a", "10.1.0.0/24"))]).await;
    assert_eq!(watched.next().await, ["a 10.1.0.0/24"]);
    let state = watched.connection.health();
    let error = health(&state, |error| error.is_some()).await.unwrap();
    assert!(error.contains("Node a") && error.contains("1.yaml") && error.contains("2.yaml"), "{error}");
    fs::remove_file(watched.directory.path().join("1.yaml")).unwrap();
    assert_eq!(watched.next().await, ["a 10.2.0.0/24"]);
    health(&state, |error| error.is_none()).await;
}

#[tokio::test]
async fn a_directory_that_vanishes_keeps_its_objects_and_may_come_back() {
    let mut watched = Watched::of(&[("a.yaml", &node("a", "10.1.0.0/24"))]).await;
    assert_eq!(watched.next().await, ["a 10.1.0.0/24"]);
    let (path, away) = (watched.directory.path().to_owned(), watched.directory.path().with_extension("away"));
    fs::rename(&path, &away).unwrap();
    let state = watched.connection.health();
    let error = health(&state, |error| error.is_some()).await.unwrap();
    assert!(error.contains(&format!("cannot read the directory {}", path.display())), "{error}");
    watched.nothing_more().await;
    fs::remove_dir_all(&away).unwrap();
    fs::create_dir(&path).unwrap();
    watched.write("b.yaml", &node("b", "10.2.0.0/24"));
    assert_eq!(watched.next().await, ["b 10.2.0.0/24"]);
    health(&state, |error| error.is_none()).await;
    // The new directory tells of its changes too.
    watched.write("b.yaml", &node("b", "10.3.0.0/24"));
    assert_eq!(watched.next().await, ["b 10.3.0.0/24"]);
}

#[tokio::test]
async fn what_is_no_directory_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file, directory.path().join("none")] {
        let error = Source::Directory(path.clone()).connect().await.unwrap_err();
        assert!(matches!(&error, ConnectError::Directory { path: said, .. } if *said == path), "{error}");
    }
}

fn pod(uid: Option<&str>) -> PodRef {
    PodRef { namespace: "shop".into(), name: "web.0".into(), uid: uid.map(Into::into) }
}

async fn annotate(to: &Annotator, pod: &PodRef, all: &[(&str, Option<&str>)]) -> Result<(), AnnotateError> {
    let all = all.iter().map(|(key, value)| ((*key).to_owned(), value.map(ToOwned::to_owned))).collect();
    to.annotate_pod(pod, &all).await
}

/// The UID and the annotations, as they are on disk.
fn written(directory: &Path) -> (Option<String>, BTreeMap<String, String>) {
    let text = fs::read_to_string(directory.join("annotations/shop_web.0.yaml")).unwrap();
    let pod: k8s_openapi::api::core::v1::Pod = serde_yaml_ng::from_str(&text).unwrap();
    assert_eq!(
        (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref()),
        (Some("shop"), Some("web.0"))
    );
    (pod.metadata.uid, pod.metadata.annotations.unwrap_or_default())
}

#[tokio::test]
async fn annotations_are_merged_and_another_pod_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let annotator = Source::Directory(directory.path().into()).connect().await.unwrap().annotator();
    let is = |uid: &str, want: &[(&str, &str)]| {
        let want = want.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(written(directory.path()), (Some(uid.to_owned()), want));
    };
    annotate(&annotator, &pod(Some("u1")), &[("a", Some("1")), ("b", Some("2"))]).await.unwrap();
    is("u1", &[("a", "1"), ("b", "2")]);
    annotate(&annotator, &pod(Some("u1")), &[("a", None), ("c", Some("3")), ("none", None)]).await.unwrap();
    is("u1", &[("b", "2"), ("c", "3")]);
    annotate(&annotator, &pod(Some("u2")), &[("d", Some("4"))]).await.unwrap();
    is("u2", &[("d", "4")]);
    // Without a UID it is about whichever Pod has that name now.
    annotate(&annotator, &pod(None), &[("e", Some("5"))]).await.unwrap();
    is("u2", &[("d", "4"), ("e", "5")]);
    assert_eq!(
        fs::read_dir(directory.path().join("annotations")).unwrap().count(),
        1,
        "nothing half-written stays"
    );
}

#[tokio::test]
async fn a_nodes_annotations_have_a_file_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let annotator = Source::Directory(directory.path().into()).connect().await.unwrap().annotator();
    for (key, value) in [("a", "1"), ("b", "2")] {
        let annotations = [(key.to_owned(), Some(value.to_owned()))].into();
        annotator.annotate_node("node1", &annotations).await.unwrap();
    }
    let text = fs::read_to_string(directory.path().join("annotations/Node_node1.yaml")).unwrap();
    let node: k8s_openapi::api::core::v1::Node = serde_yaml_ng::from_str(&text).unwrap();
    assert_eq!((node.metadata.name.as_deref(), node.metadata.namespace), (Some("node1"), None));
    let want = [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(node.metadata.annotations, Some(want.into()));
    let error = annotator.annotate_node("../x", &BTreeMap::new()).await.unwrap_err();
    assert!(!error.is_retriable(), "{error}");
}

#[tokio::test]
async fn names_do_not_lead_out_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let annotator = Source::Directory(directory.path().into()).connect().await.unwrap().annotator();
    for name in ["", ".", "..", "../x", "a/b", "a\0b", "a_b"] {
        for pod in [PodRef { name: name.into(), ..pod(None) }, PodRef { namespace: name.into(), ..pod(None) }]
        {
            let error = annotate(&annotator, &pod, &[("a", Some("1"))]).await.unwrap_err();
            assert_eq!((error.is_retriable(), error.reason()), (false, "Invalid"), "{error}");
        }
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn annotations_that_cannot_be_written_may_be_later() {
    let directory = tempfile::tempdir().unwrap();
    let annotator = Source::Directory(directory.path().into()).connect().await.unwrap().annotator();
    fs::write(directory.path().join("annotations"), "a file is in the way").unwrap();
    let error = annotate(&annotator, &pod(None), &[("a", Some("1"))]).await.unwrap_err();
    assert!(error.is_retriable());
    assert!(
        error.to_string().contains("Pod shop/web.0") && error.to_string().contains("annotations"),
        "{error}"
    );
    fs::remove_file(directory.path().join("annotations")).unwrap();
    annotate(&annotator, &pod(None), &[("a", Some("1"))]).await.unwrap();
}

#[tokio::test]
async fn annotations_are_no_input() {
    let mut watched = Watched::of(&[("a.yaml", &node("a", "10.1.0.0/24"))]).await;
    assert_eq!(watched.next().await.len(), 1);
    annotate(&watched.connection.annotator(), &pod(None), &[("a", Some("1"))]).await.unwrap();
    watched.write("annotations/node.yaml", &node("b", "10.2.0.0/24"));
    watched.write("annotations/broken.yaml", "a: [1");
    watched.nothing_more().await;
    assert_eq!(watched.connection.health().error(), None);
}
