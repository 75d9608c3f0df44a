use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::keep::{Confirmed, GATHER, PERIOD, REFRESH};
use super::*;
use crate::entry::Entry;
use crate::fault::Fault;
use crate::kind::Invalid;
use crate::store::Store;
use crate::{Health, Node};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn nodes(names: &[&str]) -> Vec<Node> {
    let node = |name: &&str| Node {
        name: (*name).to_owned(),
        uid: Some(format!("uid-{name}")),
        created: Some(1),
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd44::/64".parse().unwrap()],
        internal_ips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        zone: None,
        annotations: [("midonet.org/a".to_owned(), "b".to_owned())].into(),
        leaving: false,
        other_ips: Vec::new(),
        labels: crate::Labels::default(),
    };
    names.iter().map(node).collect()
}

fn shared(names: &[&str]) -> Vec<Arc<Node>> {
    nodes(names).into_iter().map(Arc::new).collect()
}

fn bound() -> (tempfile::TempDir, Bound<Node>) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache { directory: directory.path().join("state"), node: "a".into(), max_age: 7 * DAY };
    (directory, to(&cache))
}

fn to(cache: &Cache) -> Bound<Node> {
    let server = "https://[2001:db8::1]:6443".to_owned();
    Bound::new(cache.clone(), server, vec!["old".into(), "new".into()])
}

fn read(bound: &Bound<Node>) -> Result<Option<Vec<Node>>, String> {
    bound.read(SystemTime::now()).map(|found| found.map(|found| found.objects))
}

#[test]
fn what_is_written_is_read_and_roots_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, bound) = bound();
    let now = SystemTime::now();
    assert!(read(&bound).unwrap().is_none());
    bound.write(&shared(&["a", "b"]), now, "c-1").unwrap();
    bound.write(&shared(&["a"]), now, "c-1").unwrap();
    assert_eq!(read(&bound).unwrap().unwrap(), nodes(&["a"]));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = bound.path();
    assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no half-written file");
}

#[test]
fn a_file_for_another_server_authority_or_node_is_not_used() {
    let (_directory, bound) = bound();
    bound.write(&shared(&["a", "b"]), SystemTime::now(), "c-1").unwrap();
    let other = |change: &dyn Fn(&mut Bound<Node>)| {
        let mut other = bound.clone();
        change(&mut other);
        read(&other)
    };
    let error = other(&|other| other.server = "https://192.0.2.1:6443".into()).unwrap_err();
    assert_eq!(
        error,
        "it is from the API server https://[2001:db8::1]:6443, this one is https://192.0.2.1:6443"
    );
    let error = other(&|other| other.authorities = vec!["newer".into()]).unwrap_err();
    assert_eq!(error, "its API server had another certificate authority");
    let error = other(&|other| other.authorities.clear()).unwrap_err();
    assert_eq!(error, "its API server had another certificate authority");
    let error = other(&|other| other.cache.node = "b".into()).unwrap_err();
    assert_eq!(error, "it is of the node a, this one is b");
    let renewed = other(&|other| other.authorities = vec!["new".into(), "newer".into()]);
    assert_eq!(renewed.unwrap().unwrap(), nodes(&["a", "b"]));
}

#[test]
fn a_file_that_is_too_old_or_from_the_future_is_not_used() {
    let (_directory, bound) = bound();
    let now = SystemTime::now();
    let saved = |at: SystemTime| {
        bound.write(&shared(&["a"]), at, "c-1").unwrap();
        bound.read(now).map(|found| found.is_some())
    };
    assert_eq!(saved(now - 7 * DAY + Duration::from_secs(60)), Ok(true));
    let old = now - 9 * DAY - Duration::from_secs(60);
    assert_eq!(saved(old), Err("it is 9days old, the limit is 7days".into()));
    assert_eq!(saved(now + SKEW - Duration::from_secs(60)), Ok(true));
    assert_eq!(saved(now + 2 * DAY + Duration::from_secs(60)), Err("it is from the future by 2days".into()));
    let none = to(&Cache { max_age: Duration::ZERO, ..bound.cache.clone() });
    bound.write(&shared(&["a"]), now, "c-1").unwrap();
    assert_eq!(none.read(now).unwrap_err(), "it is 0s old, the limit is 0s");
}

#[test]
fn a_damaged_file_is_not_used() {
    let (_directory, bound) = bound();
    bound.write(&shared(&["a"]), SystemTime::now(), "c-1").unwrap();
    let path = bound.path();
    let whole = fs::read_to_string(path).unwrap();
    for (text, word) in [
        (whole[..whole.len() / 2].to_owned(), "EOF"),
        (String::new(), "EOF"),
        (whole.replace("\"format\":2", "\"format\":1"), "it is of format 1"),
        (whole.replace("10.244.1.0/24", "10.244.1.0"), "address"),
        (whole.replace("\"nodes\"", "\"knots\""), "it has no nodes"),
        (whole.replace("\"saved\"", "\"saves\""), "unknown field `saves`"),
        (whole.replace("\"name\":\"a\"", "\"name\":\"c\""), "it lacks the Node a"),
        (whole.replace("\"node_uid\":\"uid-a\"", "\"node_uid\":\"uid-c\""), "it lacks the Node a"),
        ("[]".to_owned(), "invalid type: sequence"),
    ] {
        assert_ne!(text, whole);
        fs::write(path, text).unwrap();
        let error = read(&bound).unwrap_err();
        assert!(error.contains(word), "{word} in {error}");
    }
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    assert!(read(&bound).is_err());
}

/// As written by the builds before kinds other than Nodes had a cache.
#[test]
fn a_file_of_the_first_builds_is_read() {
    let (_directory, bound) = bound();
    let text = r#"{"format":2,"server":"https://[2001:db8::1]:6443","authorities":["old"],"node":"a","cluster_uid":"c-1",
        "node_uid":"uid-a","saved":1000,"nodes":[{"name":"a","uid":"uid-a","created":1,
        "pod_cidrs":["10.244.1.0/24","fd44::/64"],"internal_ips":["192.0.2.1","2001:db8::1"],
        "annotations":{"midonet.org/a":"b"}},{"name":"b","uid":null,"pod_cidrs":[],"internal_ips":[],"annotations":{}}]}"#;
    fs::create_dir_all(&bound.cache.directory).unwrap();
    assert_eq!(bound.path(), bound.cache.directory.join("nodes.json"));
    fs::write(bound.path(), text).unwrap();
    let found = bound.read(SystemTime::UNIX_EPOCH + Duration::from_secs(2000)).unwrap().unwrap();
    assert_eq!(found.objects[0], nodes(&["a"])[0]);
    assert_eq!((found.objects[1].name.as_str(), &found.objects[1].uid), ("b", &None));
    // And they read what is written now: the same fields, with the same words.
    bound.write(&shared(&["a"]), found.saved, "c-1").unwrap();
    let fields = |text: &str| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text).unwrap();
    let (mut old, mut new) = (fields(text), fields(&fs::read_to_string(bound.path()).unwrap()));
    assert_eq!(old.remove("nodes").unwrap()[0], new.remove("nodes").unwrap()[0]);
    old.insert("authorities".into(), serde_json::json!(["old", "new"]));
    assert_eq!(old, new);
}

struct Keeping {
    store: Store<Node>,
    tell: watch::Sender<Option<Confirmed>>,
    /// The cluster's UID, and how often it was asked for.
    uid: Arc<Mutex<String>>,
    asked: Arc<AtomicU32>,
}

fn keeping(bound: &Bound<Node>) -> Keeping {
    let (store, _) = Store::new(Health::default());
    let (tell, told) = watch::channel(None);
    let (uid, asked) = (Arc::new(Mutex::new("c-1".to_owned())), Arc::new(AtomicU32::new(0)));
    let (answer, count) = (Arc::clone(&uid), Arc::clone(&asked));
    let identify = move || -> BoxFuture<'static, Result<String, Fault>> {
        count.fetch_add(1, Ordering::Relaxed);
        let uid = answer.lock().unwrap().clone();
        Box::pin(async move { Ok(uid) })
    };
    tokio::spawn(bound.clone().keep(store.view(), identify, told));
    Keeping { store, tell, uid, asked }
}

impl Keeping {
    /// The server lists these; those with a question mark are invalid.
    fn list(&self, names: &[&str]) {
        let entry = |name: &&str| {
            let node = nodes(&[name.trim_end_matches('?')]).remove(0);
            let (key, uid) = (node.key(), node.uid.clone());
            let object = if name.ends_with('?') { Err(Invalid::field("f", "wrong")) } else { Ok(node) };
            Entry { key, uid, object }
        };
        self.store.replace(names.iter().map(entry).collect());
    }

    fn confirm(&self, at: SystemTime, list: u64) {
        self.tell.send_replace(Some(Confirmed { at, list }));
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
    panic!("not in time: {what}");
}

#[tokio::test(start_paused = true)]
async fn without_this_nodes_node_there_is_no_file() {
    let (_directory, bound) = bound();
    let keeping = keeping(&bound);
    keeping.list(&["a", "b"]);
    keeping.confirm(SystemTime::now(), 1);
    until("the file is written", || bound.path().exists()).await;
    // It is there, but invalid, and another one of that name.
    keeping.list(&["b"]);
    keeping.list(&["a?", "b"]);
    keeping.confirm(SystemTime::now(), 2);
    tokio::time::sleep(PERIOD * 3).await;
    assert_eq!(read(&bound).unwrap().unwrap(), nodes(&["a", "b"]));
    keeping.list(&["b"]);
    keeping.confirm(SystemTime::now(), 3);
    until("the file is removed", || !bound.path().exists()).await;
}

#[tokio::test(start_paused = true)]
async fn changes_are_gathered_and_failures_cost_nothing() {
    let (directory, bound) = bound();
    // A file where its directory should be.
    fs::write(directory.path().join("state"), "").unwrap();
    let keeping = keeping(&bound);
    keeping.list(&["a"]);
    keeping.confirm(SystemTime::now(), 1);
    tokio::time::sleep(GATHER * 3).await;
    assert!(read(&bound).is_err());
    fs::remove_file(directory.path().join("state")).unwrap();
    until("the file is written", || read(&bound).is_ok_and(|found| found.is_some())).await;
    assert_eq!(read(&bound).unwrap().unwrap(), nodes(&["a"]));
}

#[tokio::test(start_paused = true)]
async fn the_file_is_written_for_what_changed_and_now_and_then_for_its_age() {
    let (_directory, bound) = bound();
    let keeping = keeping(&bound);
    let start = SystemTime::now() - DAY;
    let binding = || bound.contents().unwrap().map(|(binding, _)| binding);
    let saved = || binding().map(|binding| binding.saved);
    let seconds = |at: SystemTime| Some(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    keeping.list(&["a"]);
    keeping.confirm(start, 1);
    until("the first", || saved() == seconds(start)).await;
    keeping.list(&["a"]);
    keeping.confirm(start + REFRESH / 2, 1);
    tokio::time::sleep(PERIOD * 3).await;
    assert_eq!(saved(), seconds(start), "nothing is new");
    keeping.confirm(start + REFRESH, 1);
    until("a new age", || saved() == seconds(start + REFRESH)).await;
    assert_eq!(keeping.asked.load(Ordering::Relaxed), 1);
    // After a list the server may be another cluster's.
    "c-2".clone_into(&mut keeping.uid.lock().unwrap());
    keeping.confirm(start + REFRESH, 2);
    until("another cluster", || binding().unwrap().cluster_uid == "c-2").await;
    assert_eq!(keeping.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn the_file_is_not_written_for_each_change() {
    let (_directory, bound) = bound();
    let keeping = keeping(&bound);
    let (mut writes, mut last) = (0, None);
    for change in 0..600 {
        let names: &[&str] = if change % 2 == 0 { &["a"] } else { &["a", "b"] };
        keeping.list(names);
        keeping.confirm(SystemTime::now(), 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let inode = fs::metadata(bound.path()).ok().map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
        writes += u32::from(inode != last);
        last = inode;
    }
    assert!((4..=7).contains(&writes), "{writes} writes in a minute");
    until("the last change", || read(&bound).unwrap().unwrap() == nodes(&["a", "b"])).await;
}
