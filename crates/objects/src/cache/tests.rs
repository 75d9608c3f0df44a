use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::keep::{GATHER, REFRESH};
use super::*;
use crate::fault::Fault;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn objects(names: &[&str]) -> Vec<Object> {
    let node = |name: &&str| {
        Object::Node(Node {
            name: (*name).to_owned(),
            uid: Some(format!("uid-{name}")),
            created: Some(1),
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd44::/64".parse().unwrap()],
            internal_ips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            annotations: [("midonet.org/a".to_owned(), "b".to_owned())].into(),
        })
    };
    names.iter().map(node).collect()
}

fn nodes(names: &[&str]) -> Vec<Node> {
    objects(names).into_iter().map(|Object::Node(node)| node).collect()
}

fn known(names: &[&str], at: SystemTime) -> Known {
    Known { objects: objects(names), at, list: 1, own_is_gone: !names.contains(&"a") }
}

fn bound() -> (tempfile::TempDir, Bound) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/nodes.json");
    let cache = Cache { path, node: "a".into(), max_age: 7 * DAY };
    let server = "https://[2001:db8::1]:6443".to_owned();
    (folder, Bound { cache, server, authorities: vec!["old".into(), "new".into()] })
}

fn read(bound: &Bound) -> Result<Option<Vec<Node>>, String> {
    bound.read(SystemTime::now()).map(|found| found.map(|found| found.nodes))
}

#[test]
fn what_is_written_is_read_and_roots_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, bound) = bound();
    let now = SystemTime::now();
    assert!(read(&bound).unwrap().is_none());
    bound.write(&known(&["a", "b"], now), "c-1").unwrap();
    bound.write(&known(&["a"], now), "c-1").unwrap();
    assert_eq!(read(&bound).unwrap().unwrap(), nodes(&["a"]));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = &bound.cache.path;
    assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no half-written file");
}

#[test]
fn a_file_for_another_server_authority_or_node_is_not_used() {
    let (_folder, bound) = bound();
    bound.write(&known(&["a", "b"], SystemTime::now()), "c-1").unwrap();
    let other = |change: &dyn Fn(&mut Bound)| {
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
    let (_folder, bound) = bound();
    let now = SystemTime::now();
    let saved = |at: SystemTime| {
        bound.write(&known(&["a"], at), "c-1").unwrap();
        bound.read(now).map(|found| found.is_some())
    };
    assert_eq!(saved(now - 7 * DAY + Duration::from_secs(60)), Ok(true));
    let old = now - 9 * DAY - Duration::from_secs(60);
    assert_eq!(saved(old), Err("it is 9days old, the limit is 7days".into()));
    assert_eq!(saved(now + SKEW - Duration::from_secs(60)), Ok(true));
    assert_eq!(saved(now + 2 * DAY + Duration::from_secs(60)), Err("it is from the future by 2days".into()));
    let none = Bound { cache: Cache { max_age: Duration::ZERO, ..bound.cache.clone() }, ..bound.clone() };
    bound.write(&known(&["a"], now), "c-1").unwrap();
    assert_eq!(none.read(now).unwrap_err(), "it is 0s old, the limit is 0s");
}

#[test]
fn a_damaged_file_is_not_used() {
    let (_folder, bound) = bound();
    bound.write(&known(&["a"], SystemTime::now()), "c-1").unwrap();
    let path = &bound.cache.path;
    let whole = fs::read_to_string(path).unwrap();
    for (text, word) in [
        (whole[..whole.len() / 2].to_owned(), "EOF"),
        (String::new(), "EOF"),
        (whole.replace("\"format\":2", "\"format\":1"), "it is of format 1"),
        (whole.replace("10.244.1.0/24", "10.244.1.0"), "address"),
        (whole.replace("\"nodes\"", "\"knots\""), "knots"),
        (whole.replace("\"name\":\"a\"", "\"name\":\"c\""), "it lacks the Node a"),
        (whole.replace("\"node_uid\":\"uid-a\"", "\"node_uid\":\"uid-c\""), "it lacks the Node a"),
        ("[]".to_owned(), "invalid length"),
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

#[test]
fn without_this_nodes_node_there_is_no_file() {
    let (_folder, bound) = bound();
    let now = SystemTime::now();
    bound.write(&known(&["a", "b"], now), "c-1").unwrap();
    // It is there, but says something impossible.
    bound.write(&Known { own_is_gone: false, ..known(&["b"], now) }, "c-1").unwrap();
    assert!(read(&bound).unwrap().is_some());
    bound.write(&known(&["b"], now), "c-1").unwrap();
    assert!(read(&bound).unwrap().is_none());
}

/// A keeper, whom to tell, what the cluster's UID is, and how often it was asked for.
fn keeping(bound: &Bound) -> (watch::Sender<Option<Known>>, Arc<Mutex<String>>, Arc<AtomicU32>) {
    let (tell, told) = watch::channel(None);
    let (uid, asked) = (Arc::new(Mutex::new("c-1".to_owned())), Arc::new(AtomicU32::new(0)));
    let (answer, count) = (Arc::clone(&uid), Arc::clone(&asked));
    let identify = move || -> BoxFuture<'static, Result<String, Fault>> {
        count.fetch_add(1, Ordering::Relaxed);
        let uid = answer.lock().unwrap().clone();
        Box::pin(async move { Ok(uid) })
    };
    tokio::spawn(bound.clone().keep(identify, told));
    (tell, uid, asked)
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
async fn changes_are_gathered_and_failures_cost_nothing() {
    let (folder, bound) = bound();
    // A file where its folder should be.
    fs::write(folder.path().join("state"), "").unwrap();
    let (tell, _, _) = keeping(&bound);
    tell.send_replace(Some(known(&["a"], SystemTime::now())));
    tokio::time::sleep(GATHER * 3).await;
    assert!(read(&bound).is_err());
    fs::remove_file(folder.path().join("state")).unwrap();
    until("the file is written", || read(&bound).is_ok_and(|found| found.is_some())).await;
    assert_eq!(read(&bound).unwrap().unwrap(), nodes(&["a"]));
}

#[tokio::test(start_paused = true)]
async fn the_file_is_written_for_what_changed_and_now_and_then_for_its_age() {
    let (_folder, bound) = bound();
    let (tell, uid, asked) = keeping(&bound);
    let start = SystemTime::now() - DAY;
    let saved = || bound.contents().unwrap().map(|contents| contents.saved);
    let seconds = |at: SystemTime| Some(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    tell.send_replace(Some(known(&["a"], start)));
    until("the first", || saved() == seconds(start)).await;
    tell.send_replace(Some(known(&["a"], start + REFRESH / 2)));
    tokio::time::sleep(GATHER * 3).await;
    assert_eq!(saved(), seconds(start), "nothing is new");
    tell.send_replace(Some(known(&["a"], start + REFRESH)));
    until("a new age", || saved() == seconds(start + REFRESH)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    // After a list the server may be another cluster's.
    "c-2".clone_into(&mut uid.lock().unwrap());
    tell.send_replace(Some(Known { list: 2, ..known(&["a"], start + REFRESH) }));
    until("another cluster", || bound.contents().unwrap().unwrap().cluster_uid == "c-2").await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}
