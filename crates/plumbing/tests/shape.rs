//! Queues that keep to a rate, as the kernel and `tc` see them. How fast packets get through is tested with the
//! whole network (`tests/tests/labs/bandwidth.rs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use plumbing::shape::{self, Bucket, Shaper};
use plumbing::{link, tc};
use testkit::Namespace;

const ENTRY: &str = "midokube-shape";
const EXIT: &str = "midokube-shaped";

fn tc(node: &Namespace, words: &str) -> String {
    testkit::run(node.command("tc").args(words.split_whitespace()))
}

fn buckets() -> [Bucket; 4] {
    [
        Bucket { rate: 125, size: 1500 },
        Bucket { rate: 1_250_000, size: 131_072 },
        Bucket { rate: 12_500_000_000, size: 125_000_000 }, // 100 Gbit/s: more than 32 bits
        Bucket { rate: 125_000_000_000_000, size: Bucket::LARGEST },
    ]
}

#[test]
fn an_interface_is_limited_changed_and_freed() {
    let node = Namespace::new();
    node.ip("link add name a type veth peer name b");
    let a = node.run(|| link::find("a")).unwrap().unwrap().ifindex;
    let limited = || node.run(shape::limited).unwrap();
    assert!(limited().is_empty());
    for bucket in buckets().into_iter().chain(buckets()) {
        node.run(|| shape::limit(a, Some(bucket))).unwrap();
        assert_eq!(limited(), [(a, bucket.queue())].into());
    }
    node.run(|| shape::limit(a, Some(Bucket { rate: 1_250_000, size: 65_536 }))).unwrap();
    let shown = tc(&node, "qdisc show dev a");
    assert!(shown.contains("tbf") && shown.contains("rate 10Mbit burst 64Kb lat 25ms"), "{shown}");

    for _ in 0..2 {
        node.run(|| shape::limit(a, None)).unwrap();
        assert!(limited().is_empty());
    }
    // Somebody else's gives way, but is not taken for a limit nor removed as one.
    tc(&node, "qdisc add dev a root handle 1: pfifo");
    node.run(|| shape::limit(a, None)).unwrap();
    assert!(tc(&node, "qdisc show dev a").contains("pfifo") && limited().is_empty());
    node.run(|| shape::limit(a, Some(buckets()[1]))).unwrap();
    assert_eq!(limited(), [(a, buckets()[1].queue())].into());
    let error = node.run(|| shape::limit(9999, Some(buckets()[1]))).unwrap_err().to_string();
    assert!(error.starts_with("cannot limit what interface 9999 sends"), "{error}");
}

#[test]
fn the_shaper_is_made_kept_and_repaired() {
    let node = Namespace::new();
    let ensure = || node.run(|| Shaper::ensure(ENTRY, EXIT)).unwrap();
    let shaper = ensure();
    let difference = || node.run(|| shaper.difference(ENTRY, EXIT)).unwrap();
    let classes = || node.run(|| shaper.classes()).unwrap();
    assert_eq!((difference(), classes()), (None, [].into()));
    for name in [ENTRY, EXIT] {
        assert_eq!(
            node.ip(&format!("addr show dev {name} scope link")).matches("inet").count(),
            0,
            "no address"
        );
    }
    for (class, bucket) in (1..).zip(buckets()) {
        node.run(|| shaper.set_class(class, bucket)).unwrap();
        assert_eq!(classes()[&class], bucket.queue());
    }
    node.run(|| shaper.set_class(1, buckets()[1])).unwrap();
    assert_eq!(
        (ensure(), classes().len(), classes()[&1]),
        (shaper, 4, buckets()[1].queue()),
        "what fits stays"
    );
    let shown = tc(&node, "class show dev midokube-shape");
    assert!(
        shown.contains("class htb 6d69:1 root") && shown.contains("rate 10Mbit ceil 10Mbit burst 128Kb"),
        "{shown}"
    );
    for _ in 0..2 {
        node.run(|| shaper.delete_class(4)).unwrap();
        assert_eq!(classes().len(), 3);
    }
    assert_eq!(
        (Shaper::priority(3), Shaper::class(0x6d69_0003), Shaper::class(0x0001_0003)),
        (0x6d69_0003, 3, 0)
    );

    for (break_it, want) in [
        ("ip link set midokube-shape down", "midokube-shape is down"),
        ("ip link set midokube-shaped down", "midokube-shaped is down"),
        ("tc qdisc del dev midokube-shape root", "the queue of midokube-shape is gone"),
        ("tc qdisc replace dev midokube-shape root pfifo", "the queue of midokube-shape is gone"),
        ("tc qdisc del dev midokube-shaped clsact", "midokube-shaped is not in the datapath's block"),
        (
            "tc qdisc del dev midokube-shaped clsact; tc qdisc add dev midokube-shaped clsact",
            "midokube-shaped is not in the datapath's block",
        ),
    ] {
        testkit::run(node.command("sh").args(["-c", break_it]));
        assert_eq!(difference().as_deref(), Some(want), "{break_it}");
        assert_eq!((ensure(), difference()), (shaper, None), "{break_it}");
    }
    node.run(|| shaper.set_class(1, buckets()[0])).unwrap();
    tc(&node, "qdisc replace dev midokube-shape parent 6d69:1 pfifo limit 7");
    assert_eq!(classes().len(), 0, "a class without its queue is none");

    node.ip("link del midokube-shape");
    assert_eq!(difference().unwrap(), "midokube-shape or midokube-shaped is gone");
    node.ip("link add midokube-shaped type veth peer name other");
    let new = ensure();
    assert_eq!(node.run(|| new.difference(ENTRY, EXIT)).unwrap(), None);
    assert!(node.run(tc::block_members).unwrap().contains(&new.exit));
    assert_eq!(difference().unwrap(), "midokube-shape is another");
}
