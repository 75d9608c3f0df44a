//! A full or read-only data directory, and a process that may open too few files: a clear error, nothing left, and the
//! next call works.

use lab::Family;

use crate::node::{Fault, Node};

const DIRECTORY: &str = "/var/lib/cni";

/// Puts the data directory on a file system of its own, with all that is in it.
fn mount(node: &Node, options: &str) {
    node.sh(&format!(
        "mkdir -p /run/kept; cp -a {DIRECTORY}/. /run/kept; mount -t tmpfs -o {options} none {DIRECTORY}; cp -a /run/kept/. {DIRECTORY}"
    ));
}

#[test]
fn a_full_data_directory() {
    for (options, fill) in [
        ("size=64k", "cat /dev/zero > /var/lib/cni/filler"),
        ("nr_inodes=40", "i=0; while : > /var/lib/cni/filler$i; do i=$((i+1)); done"),
    ] {
        let node = Node::new(Family::Dual, "midonet-kube-ipam");
        let (pod, gone) = (node.sandbox("pod"), node.sandbox("gone"));
        mount(&node, options);
        node.add(&gone);
        node.sh(&format!("({fill}) 2> /dev/null || true"));
        let answer = node.call("ADD", &pod, &node.config, &Fault::None);
        assert!(!answer.is_success(&options));
        let msg = answer.json["msg"].as_str().unwrap();
        assert!(answer.json["code"] == 5 && msg.contains("No space left"), "{msg}");
        assert!(msg.contains(DIRECTORY) && msg.contains("free space on"), "{msg}");
        node.assert_gone(&pod, &Fault::None);
        // What is there can go.
        node.delete(&gone);
        node.assert_gone(&gone, &Fault::None);
        node.sh("rm /var/lib/cni/filler*");
        node.add(&pod);
        node.delete(&pod);
        node.assert_as_before();
        node.sh(&format!("umount {DIRECTORY}"));
    }
}

#[test]
fn a_read_only_data_directory() {
    let node = Node::new(Family::Dual, "midonet-kube-ipam");
    let (pod, gone) = (node.sandbox("pod"), node.sandbox("gone"));
    node.add(&gone);
    node.sh(&format!("mount -o remount,ro {DIRECTORY}"));
    for (verb, sandbox) in [("ADD", &pod), ("DEL", &gone)] {
        let answer = node.call(verb, sandbox, &node.config, &Fault::None);
        assert!(!answer.is_success(&verb), "{answer:?}");
        let msg = answer.json["msg"].as_str().unwrap();
        assert!(answer.json["code"] == 5 && msg.contains("Read-only file system"), "{msg}");
        assert!(msg.contains(DIRECTORY) && msg.contains("dataDir"), "{msg}");
    }
    node.assert_gone(&pod, &Fault::None);
    // Its address cannot be given back, but nothing of it is in use any more.
    assert_eq!((node.used(&gone), node.reserved(&gone).len()), (vec![], 2));
    node.sh(&format!("mount -o remount,rw {DIRECTORY}"));
    node.delete(&gone);
    node.assert_gone(&gone, &Fault::None);
    node.add(&pod);
    node.delete(&pod);
    node.assert_as_before();
}

#[test]
fn too_few_descriptors() {
    let node = Node::new(Family::Dual, "midonet-kube-ipam");
    let pod = node.sandbox("pod");
    let (mut refused, mut worked) = (0, 0);
    for most in 3..=20 {
        let fault = Fault::Files(most);
        let answer = node.call("ADD", &pod, &node.config, &fault);
        if answer.is_success(&fault) {
            worked += 1;
            let answer = node.call("DEL", &pod, &node.config, &fault);
            assert!(answer.is_success(&fault), "DEL needs no more than ADD: {answer:?}");
        } else {
            refused += 1;
            let msg = answer.json["msg"].as_str().unwrap();
            assert!(msg.contains("Too many open files") || msg.contains("os error 24"), "{fault:?}: {msg}");
            node.assert_gone(&pod, &fault);
            // DEL of one that is there, under the same limit.
            node.add(&pod);
            if !node.call("DEL", &pod, &node.config, &fault).is_success(&fault) {
                node.assert_held(&pod, &fault);
                node.delete(&pod);
            }
        }
        node.assert_gone(&pod, &fault);
    }
    assert!(refused > 0 && worked > 0, "{refused} refused, {worked} worked");
    node.assert_as_before();
}
