//! The allocator as its users see it: results, errors and exact files.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use cni::Attachment;
use common::{Network, ips};
use ipam::Ipam;
use serde_json::json;

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn dual_stack_files_are_host_locals() {
    let net = Network::dual();
    let got = net.add(" dummy ").unwrap();
    assert_eq!(ips(&got), ["10.1.2.2/24", "2001:db8:1::2/64"]);
    assert_eq!(got.ips[1].gateway, Some("2001:db8:1::1".parse().unwrap()));
    assert_eq!(got.routes.len(), 1);
    let directory = net.directory();
    assert_eq!(content(&directory.join("10.1.2.2")), "dummy\r\neth0");
    assert_eq!(content(&directory.join("2001:db8:1::2")), "dummy\r\neth0");
    assert_eq!(content(&directory.join("last_reserved_ip.0")), "10.1.2.2");
    assert_eq!(content(&directory.join("last_reserved_ip.1")), "2001:db8:1::2");
    Ipam::InProcess.check(&net.call("dummy", "eth0", "")).unwrap();
    net.del("dummy");
    net.del("dummy");
    assert!(net.addresses().is_empty());
    let error = Ipam::InProcess.check(&net.call("dummy", "eth0", "")).unwrap_err().to_string();
    assert!(error.contains("container dummy, interface eth0"), "{error}");
}

#[test]
fn interfaces_of_one_container_are_released_apart() {
    let net = Network::dual();
    for ifname in ["eth0", "eth1"] {
        Ipam::InProcess.add(&net.call("c", ifname, "")).unwrap();
    }
    net.del("c");
    assert_eq!(net.addresses(), ["10.1.2.3", "2001:db8:1::3"]);
}

#[test]
fn a_repeated_add_fails_and_keeps_the_first_address() {
    let net = Network::dual();
    net.add("a").unwrap();
    let error = net.add("a").unwrap_err().to_string();
    assert!(
        error.contains("failed to allocate for range 0: 10.1.2.2 has been allocated to a, duplicate"),
        "{error}"
    );
    assert_eq!(ips(&net.add("b").unwrap()), ["10.1.2.3/24", "2001:db8:1::3/64"]);
    assert_eq!(net.addresses(), ["10.1.2.2", "10.1.2.3", "2001:db8:1::2", "2001:db8:1::3"]);
}

#[test]
fn an_address_comes_back_as_late_as_possible() {
    let net = Network::new(json!({"subnet": "10.0.0.0/29"}));
    let mut given = Vec::new();
    for turn in 0..12 {
        given.extend(ips(&net.add(&format!("c{turn}")).unwrap()));
        net.del(&format!("c{turn}"));
    }
    let ring = ["10.0.0.2/29", "10.0.0.3/29", "10.0.0.4/29", "10.0.0.5/29", "10.0.0.6/29"];
    assert_eq!(given, ring.into_iter().cycle().take(12).collect::<Vec<_>>());
}

#[test]
fn a_full_range_says_so_and_leaves_nothing() {
    let net = Network::new(json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.0.0.0/30"}]]}));
    Ipam::InProcess.status(&net.call("", "", "")).unwrap();
    net.add("a").unwrap();
    let error = net.add("b").unwrap_err();
    assert!(
        error.to_string().contains("range 1: no IP addresses available in range set: 10.0.0.1-10.0.0.2"),
        "{error}"
    );
    assert_eq!(net.addresses(), ["10.0.0.2", "10.1.2.2"]);
    assert_eq!(Ipam::InProcess.status(&net.call("", "", "")).unwrap_err().code(), 50);
}

#[test]
fn requested_addresses() {
    let net = Network::new(json!({"ranges": [[{"subnet": "10.1.2.0/24"}]]}));
    let add = |id, args| Ipam::InProcess.add(&net.call(id, "eth0", args));
    assert_eq!(ips(&add("a", "IP=10.1.2.88").unwrap()), ["10.1.2.88/24"]);
    assert_eq!(content(&net.directory().join("last_reserved_ip.0")), "10.1.2.88");
    for (args, want) in [
        ("IP=10.1.2.88", "requested IP address 10.1.2.88 is not available in range set 10.1.2.1-10.1.2.254"),
        ("IP=10.1.2.1", "requested ip 10.1.2.1 is subnet's gateway"),
        ("IP=10.9.9.9", "failed to allocate all requested IPs: 10.9.9.9"),
    ] {
        let error = add("b", args).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        assert_eq!(net.addresses(), ["10.1.2.88"], "{args}");
    }
}

#[test]
fn a_failed_add_keeps_what_the_attachment_had() {
    let net = Network::new(json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.3.0/24"}]]}));
    net.add("a").unwrap();
    let error = Ipam::InProcess.add(&net.call("a", "eth0", "IP=10.1.2.9")).unwrap_err().to_string();
    assert!(error.contains("failed to allocate for range 1"), "{error}");
    assert_eq!(net.addresses(), ["10.1.2.2", "10.1.3.2"]);
}

#[test]
fn files_of_an_old_host_local_are_matched_by_the_bare_id() {
    let net = Network::new(json!({"subnet": "10.0.0.0/24"}));
    fs::create_dir_all(net.directory().join("sub")).unwrap();
    for (name, owner) in
        [("10.0.0.7", "old\n"), ("sub/10.0.0.8", "old"), ("10.0.0.9", "old\r\neth1"), ("note", "old")]
    {
        fs::write(net.directory().join(name), owner).unwrap();
    }
    assert!(net.add("old").unwrap_err().to_string().contains("duplicate allocation"));
    Ipam::InProcess.check(&net.call("old", "eth0", "")).unwrap();
    net.del("old");
    assert_eq!(net.addresses(), ["10.0.0.9", "note", "sub"]);
    assert_eq!(fs::read_dir(net.directory().join("sub")).unwrap().count(), 0);
}

#[test]
fn garbage_collection_keeps_the_valid() {
    let net = Network::dual();
    for id in ["a", "b"] {
        net.add(id).unwrap();
    }
    for (name, owner) in [("10.1.2.200", "b"), ("10.1.2.201", "x"), ("10.1.2.202", "")] {
        fs::write(net.directory().join(name), owner).unwrap();
    }
    let valid = Attachment { container_id: "b".into(), ifname: "eth0".into() };
    Ipam::InProcess.gc(&net.call("", "", ""), std::slice::from_ref(&valid)).unwrap();
    assert_eq!(net.addresses(), ["10.1.2.200", "10.1.2.3", "2001:db8:1::3"]);
    Ipam::InProcess.gc(&net.call("", "", ""), &[]).unwrap();
    assert!(net.addresses().is_empty());
}

#[test]
fn a_missing_resolv_conf_fails_before_anything_is_reserved() {
    let net = Network::new(json!({"subnet": "10.0.0.0/24", "resolvConf": "/nonexistent/resolv.conf"}));
    let error = net.add("a").unwrap_err();
    assert_eq!(error.code(), 5);
    assert!(
        error.to_string().contains("cannot read ipam.resolvConf /nonexistent/resolv.conf: No such"),
        "{error}"
    );
    assert!(!net.directory().exists());
}

#[test]
fn many_at_once_never_share_an_address() {
    let net = Network::dual();
    let given: Vec<String> = std::thread::scope(|scope| {
        let net = &net;
        let workers: Vec<_> = (0..10)
            .map(|worker| {
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for turn in 0..20 {
                        let id = format!("w{worker}t{turn}");
                        let got = ips(&net.add(&id).unwrap());
                        if turn % 4 == 0 { net.del(&id) } else { kept.extend(got) }
                    }
                    kept
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    let mut distinct = given.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), given.len());
    assert_eq!(net.addresses().len(), 10 * 15 * 2);
}
