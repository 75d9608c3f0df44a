//! Directorys as a crash, another program or somebody's hand left them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use cni::Attachment;
use common::{Network, ips};
use ipam::Ipam;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

/// Who holds what is right after whatever others did to the files, and to what is kept beside them.
#[test]
fn owners_are_known_whoever_made_the_files() {
    let net = Network::new(json!({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/120"}]]}));
    let owners = net.directory().parent().unwrap().join(".owners/net");
    // An earlier version had hard links there, one for each address.
    fs::create_dir_all(&owners).unwrap();
    fs::write(owners.join("z eth0 10.0.0.9"), "z\r\neth0").unwrap();
    net.add("a").unwrap();
    net.add("b").unwrap();
    assert!(!owners.join("z eth0 10.0.0.9").exists());
    // A host-local gave b's addresses to c, and took one for d.
    for name in ["10.0.0.3", "fd00::3"] {
        fs::remove_file(net.directory().join(name)).unwrap();
        fs::write(net.directory().join(name), "c\r\neth0").unwrap();
    }
    fs::write(net.directory().join("10.0.0.9"), "d\r\neth0").unwrap();
    net.del("b");
    assert_eq!(net.addresses(), ["10.0.0.2", "10.0.0.3", "10.0.0.9", "fd00::2", "fd00::3"]);
    assert!(net.add("d").unwrap_err().to_string().contains("duplicate allocation"));
    net.del("c");
    net.del("a");
    fs::remove_dir_all(owners.parent().unwrap()).unwrap();
    net.del("d");
    assert!(net.addresses().is_empty());
}

#[test]
fn what_a_crash_leaves_breaks_nothing() {
    let net = Network::new(json!({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/120"}]]}));
    net.add("a").unwrap();
    // A host-local that died between create and write; one of ours that died before the link; torn files;
    // a last_reserved_ip that lost its content.
    let write = |name: &str, content: &str| fs::write(net.directory().join(name), content).unwrap();
    write("10.0.0.3", "");
    write("fd00::4", "");
    write(".pending", "someone\r\nelse, much longer");
    write("10.0.0.4", "b\r");
    write("fd00::3", "b\r\net");
    assert_eq!(ips(&net.add("c").unwrap()), ["10.0.0.3/24", "fd00::4/120"]);
    assert_eq!(fs::read(net.directory().join("10.0.0.3")).unwrap(), b"c\r\neth0");
    write("last_reserved_ip.0", "");
    write(
        "last_reserved_ip.1",
        "fd00::1 and more of this than an address can be, in whatever language it is",
    );
    assert_eq!(ips(&net.add("d").unwrap()), ["10.0.0.5/24", "fd00::5/120"]);
    assert_eq!(fs::read(net.directory().join("last_reserved_ip.1")).unwrap(), b"fd00::5");
    net.del("a");
    assert_eq!(net.addresses(), ["10.0.0.3", "10.0.0.4", "10.0.0.5", "fd00::3", "fd00::4", "fd00::5"]);
    // Whose the torn ones were nobody knows, so they are nobody's.
    let valid = ["c", "d"].map(|id| Attachment { container_id: id.into(), ifname: "eth0".into() });
    Ipam::InProcess.gc(&net.call("", "", ""), &valid).unwrap();
    assert_eq!(net.addresses(), ["10.0.0.3", "10.0.0.5", "fd00::4", "fd00::5"]);
}

/// A power cut may empty files whose directory is complete, and says so.
#[test]
fn an_emptied_file_is_found_before_a_range_counts_as_full() {
    for subnet in ["10.0.0.0/29", "fd00::/125"] {
        let net = Network::new(json!({"subnet": subnet}));
        let call = net.call("", "", "");
        let full: Vec<String> =
            (0..).map_while(|n| net.add(&format!("c{n}")).ok()).flat_map(|a| ips(&a)).collect();
        assert_eq!(Ipam::InProcess.status(&call).unwrap_err().code(), 50);
        let one = full[1].split('/').next().unwrap();
        File::options().write(true).truncate(true).open(net.directory().join(one)).unwrap();
        Ipam::InProcess.status(&call).unwrap();
        assert_eq!(ips(&net.add("x").unwrap()), [full[1].clone()]);
        File::options().write(true).truncate(true).open(net.directory().join(one)).unwrap();
        let args = format!("IP={one}");
        assert_eq!(ips(&Ipam::InProcess.add(&net.call("y", "eth0", &args)).unwrap()), [full[1].clone()]);
        assert!(net.add("z").is_err());
    }
}

/// The next free address is found however many before it are taken, by whichever way.
#[test]
fn a_nearly_full_range_gives_its_free_addresses_in_order() {
    let (v4, v6) =
        (|n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n).to_string(), |n: u32| format!("fd00::{n:x}"));
    let ranges = [("10.0.0.0/16", v4(1214)), ("fd00::/64", v6(1214))];
    let ranges = ranges.map(|(subnet, end)| json!([{"subnet": subnet, "rangeEnd": end}]));
    let net = Network::new(json!({"ranges": ranges}));
    fs::create_dir_all(net.directory()).unwrap();
    for n in (2..=1214).filter(|n| ![1100, 1150, 1152].contains(n)) {
        for name in [v4(n), v6(n)] {
            fs::write(net.directory().join(name), format!("c{n}\r\neth0")).unwrap();
        }
    }
    fs::write(net.directory().join("last_reserved_ip.0"), v4(1110)).unwrap();
    for (n, four, six) in [(0, 1150, 1100), (1, 1152, 1150), (2, 1100, 1152)] {
        let got = net.add(&format!("new{n}")).unwrap();
        assert_eq!(ips(&got), [v4(four) + "/16", v6(six) + "/64"]);
    }
    let error = net.add("more").unwrap_err().to_string();
    assert!(
        error.contains("range 0: no IP addresses available in range set: 10.0.0.1-10.0.4.190"),
        "{error}"
    );
    net.del("c1200");
    assert_eq!(ips(&net.add("more").unwrap()), [v4(1200) + "/16", v6(1200) + "/64"]);
}

/// What has an address's name keeps it from being given out; nobody waits for it.
#[test]
fn what_is_no_file_is_neither_read_nor_removed() {
    let net = Network::new(json!({"ranges": [[{"subnet": "10.0.0.0/28"}], [{"subnet": "fd00::/124"}]]}));
    fs::create_dir_all(net.directory()).unwrap();
    let at = |name: &str| net.directory().join(name);
    for family in ["10.0.0.", "fd00::"] {
        mkfifo(&at(&format!("{family}2")), Mode::S_IRWXU).unwrap();
        fs::create_dir(at(&format!("{family}3"))).unwrap();
        UnixListener::bind(at(&format!("{family}4"))).unwrap();
        symlink("/nonexistent", at(&format!("{family}5"))).unwrap();
        fs::write(at(&format!("{family}6")), "x".repeat(1 << 20)).unwrap();
    }
    for name in ["last_reserved_ip.0", "lock"] {
        mkfifo(&at(name), Mode::S_IRWXU).unwrap();
    }
    assert_eq!(ips(&net.add("a").unwrap()), ["10.0.0.7/28", "fd00::7/124"]);
    assert_eq!(ips(&net.add("b").unwrap()), ["10.0.0.8/28", "fd00::8/124"]);
    Ipam::InProcess.check(&net.call("a", "eth0", "")).unwrap();
    Ipam::InProcess.status(&net.call("", "", "")).unwrap();
    net.del("a");
    Ipam::InProcess.gc(&net.call("", "", ""), &[]).unwrap();
    let left = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "fd00::2", "fd00::3", "fd00::4", "fd00::5"];
    assert_eq!(net.addresses(), left);
}

#[test]
fn nothing_is_made_or_written_where_a_link_leads() {
    let net = Network::dual();
    let (directory, outside) = (net.directory(), net.directory.path().join("outside"));
    fs::create_dir(&directory).unwrap();
    fs::write(&outside, "not ours").unwrap();
    for set in ["0", "1"] {
        symlink(&outside, directory.join(format!("last_reserved_ip.{set}"))).unwrap();
    }
    assert_eq!(ips(&net.add("a").unwrap()), ["10.1.2.2/24", "2001:db8:1::2/64"]);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "not ours");

    fs::remove_file(directory.join("lock")).unwrap();
    let absent = net.directory.path().join("absent");
    symlink(&absent, directory.join("lock")).unwrap();
    let error = net.add("b").unwrap_err();
    assert!(error.code() == 5 && error.to_string().contains("lock"), "{error}");
    assert!(!absent.exists());
}
