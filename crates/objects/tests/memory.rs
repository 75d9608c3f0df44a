//! What an agent needs to know the Pods of a large cluster.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use objects::{ApiOptions, Changes, Pod, Selector, Source};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(300);
const PODS: usize = 50_000;

/// A Pod needs at most so many bytes, with what the store has around it. It needs about 540: 27 MB for all.
const LIMIT: usize = 600;

/// Counts what is allocated, as glibc rounds it.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

fn chunk(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(chunk(layout), Ordering::Relaxed);
        // SAFETY: the caller keeps what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(chunk(layout), Ordering::Relaxed);
        // SAFETY: the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Of every five Pods four are of a Deployment with 40 replicas, and one is of a StatefulSet, whose Pods have a name of
/// their own as a label.
fn pod(number: usize, text: &mut String) {
    let (set, ordinal) = (number / 40, number % 40);
    let own = if number.is_multiple_of(5) {
        format!(
            r#""statefulset.kubernetes.io/pod-name":"service-{set}-{ordinal}","apps.kubernetes.io/pod-index":"{ordinal}","controller-revision-hash":"service-{set}-5d9c7b6f4""#
        )
    } else {
        format!(r#""pod-template-hash":"{:010x}""#, set * 7_919)
    };
    let (high, low) = (number / 256, number % 256);
    write!(
        text,
        r#"{{"metadata":{{"name":"service-{set}-{:010x}-{number:05x}","namespace":"team-{}","uid":"00000000-0000-4000-8000-{number:012x}",
        "labels":{{"app.kubernetes.io/name":"service-{set}","app.kubernetes.io/instance":"service-{set}","app.kubernetes.io/part-of":"shop",
        "app.kubernetes.io/managed-by":"Helm","tier":"backend",{own}}},"annotations":{{"a":"b"}}}},
        "spec":{{"nodeName":"node-{}","containers":[{{"name":"c","image":"i","ports":[{{"name":"http","containerPort":8080}},{{"name":"metrics","containerPort":9090}}]}}]}},
        "status":{{"phase":"Running","podIP":"10.{}.{}.{low}","podIPs":[{{"ip":"10.{}.{}.{low}"}},{{"ip":"fd44::{number:x}"}}]}}}}"#,
        set * 7_919, set % 100, number % 500, high / 256, high % 256, high / 256, high % 256
    )
    .unwrap();
}

/// Answers one request for the list and holds every other one.
fn serve(listener: &TcpListener, held: &mpsc::Sender<TcpStream>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut first = String::new();
        for line in BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty())
        {
            if first.is_empty() {
                first = line;
            }
        }
        if first.contains("watch=true") {
            held.send(stream).unwrap();
            continue;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(br#"{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":["#).unwrap();
        for begin in (0..PODS).step_by(1000) {
            let mut text = String::new();
            for number in begin..begin + 1000 {
                text.push_str(if number == 0 { "" } else { "," });
                pod(number, &mut text);
            }
            stream.write_all(text.as_bytes()).unwrap();
        }
        stream.write_all(b"]}").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_pods_are_small() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (hold, held) = mpsc::channel();
    std::thread::spawn(move || serve(&listener, &hold));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let config = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: \"{url}\"}}}}], \
         users: [{{name: u, user: {{}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
    );
    std::fs::write(&path, config).unwrap();
    let options = ApiOptions { kubeconfig: Some(path), ..ApiOptions::default() };
    let connection = Source::Api(options).connect().await.unwrap();
    let mut watch = connection.watch();
    let mut changes: Changes<Pod> = watch.of(Selector::default());
    let before = ALLOCATED.load(Ordering::Relaxed);
    let _watching = watch.start();
    let delta = timeout(DEADLINE, changes.next()).await.unwrap().unwrap();
    // The list was read from end to end, and what it was read with is gone.
    let (delta, _watch) =
        tokio::task::spawn_blocking(move || (delta, held.recv_timeout(DEADLINE).unwrap())).await.unwrap();
    assert_eq!((delta.upserted.len(), delta.synced), (PODS, true));
    let one: Arc<Pod> = Arc::clone(&delta.upserted[7]);
    assert_eq!((one.labels.iter().count(), one.ports.len(), one.addresses.len()), (6, 2, 2));
    drop((delta, one));
    let each = ALLOCATED.load(Ordering::Relaxed).saturating_sub(before) / PODS;
    assert!((200..=LIMIT).contains(&each), "a Pod needs {each} bytes");
}
