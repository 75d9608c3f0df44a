//! What an agent keeps of 10,000 Services with 10 endpoints each: the objects, and the model of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use model::{Model, Ranges, ServiceOptions};
use objects::{Changes, EndpointSlice, Kind, Node, Selector, Service, Source};
use tokio::time::timeout;

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;

/// The model keeps no more, in bytes, with the objects, which others share with it. What a source needs to know of each
/// comes to that: an API server about 2 MiB, a directory 6.
const MOST: usize = 23 << 20;

/// Counts what is allocated, with what the C library adds to each piece.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

fn real(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

// SAFETY: all of it is the system's allocator; only numbers are added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(real(layout.size()), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(real(layout.size()), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0000"}, "spec": {"podCIDR": "10.244.0.0/24"},
    "status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.11"}]}}"#;

/// As a cluster of 1,000 nodes has them.
fn manifests() -> String {
    let items = (0..SERVICES).flat_map(|number| [service(number), slice(number)]);
    let items: Vec<String> = std::iter::once(NODE.to_owned()).chain(items).collect();
    format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}]}}"#, items.join(","))
}

fn metadata(number: usize, suffix: &str) -> String {
    format!(
        r#""metadata": {{"name": "some-service-{number}{suffix}", "namespace": "team-{}",
        "uid": "c0ffee{:02}-0000-4000-8000-{number:012x}", "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {{"kubernetes.io/service-name": "some-service-{number}"}}}}"#,
        number / 100,
        suffix.len()
    )
}

fn service(number: usize) -> String {
    let (metadata, high, low) = (metadata(number, ""), number / 256, number % 256);
    format!(
        r#"{{"apiVersion": "v1", "kind": "Service", {metadata},
        "spec": {{"clusterIP": "10.96.{high}.{low}", "ports": [{{"name": "http", "port": 80}}]}}}}"#
    )
}

fn slice(number: usize) -> String {
    let endpoints: Vec<String> = (0..ENDPOINTS).map(|host| endpoint(number * ENDPOINTS + host)).collect();
    format!(
        r#"{{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", {}, "addressType": "IPv4",
        "ports": [{{"name": "http", "port": 8080, "protocol": "TCP"}}], "endpoints": [{}]}}"#,
        metadata(number, "-x7k2p"),
        endpoints.join(",")
    )
}

fn endpoint(place: usize) -> String {
    let (node, zone, first) = (place % 1000, place % 3, 100 + place / 65536);
    let (second, third) = (place / 256 % 256, place % 256);
    format!(
        r#"{{"addresses": ["10.{first}.{second}.{third}"], "nodeName": "node-{node:04}", "zone": "zone-{zone}",
        "conditions": {{"ready": true, "serving": true, "terminating": false}}}}"#
    )
}

async fn all<K: Kind>(changes: &mut Changes<K>) -> Vec<Arc<K>> {
    let delta = timeout(Duration::from_secs(300), changes.next()).await;
    let delta = delta.expect("the directory is read").expect("it is watched");
    assert!(delta.synced);
    delta.upserted
}

#[test]
fn ten_thousand_services_fit() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("all.json"), manifests()).unwrap();
        let connection = Source::Directory(directory.path().into()).connect().await.unwrap();
        let before = BYTES.load(Relaxed);
        let mut watch = connection.watch();
        let mut nodes = watch.of::<Node>(Selector::default());
        let mut services = watch.of::<Service>(Selector::default());
        let mut slices = watch.of::<EndpointSlice>(Selector::default());
        let watching = watch.start();
        let ranges = Ranges { cluster: vec!["10.244.0.0/16".parse().unwrap()], service: Vec::new() };
        let model = Model::new("node-0000", ranges);
        let mut model = model.with_services(ServiceOptions { external_ips: true });
        all(&mut nodes).await.iter().for_each(|node| model.upsert(node));
        all(&mut services).await.iter().for_each(|service| model.upsert_service(service));
        all(&mut slices).await.iter().for_each(|slice| model.upsert_slice(slice));
        model.services_complete(true);
        let began = Instant::now();
        let (desired, changes) = model.update().unwrap();
        let took = began.elapsed();
        assert_eq!((desired.services.len(), changes.services.upserts.len()), (SERVICES, SERVICES));
        assert!(desired.services.values().all(|row| row.cluster.len() == ENDPOINTS));
        assert_eq!(desired.problems().count(), 0);
        drop(changes);
        let with_source = BYTES.load(Relaxed).saturating_sub(before);
        drop((watching, nodes, services, slices, connection));
        tokio::time::sleep(Duration::from_millis(500)).await; // what watched is gone by then
        let kept = BYTES.load(Relaxed).saturating_sub(before);
        println!("{} KiB, with the source {} KiB; computed in {took:?}", kept >> 10, with_source >> 10);
        assert!(kept < MOST, "{} KiB are kept, at most {} KiB may be", kept >> 10, MOST >> 10);
        drop(model);
    });
}
