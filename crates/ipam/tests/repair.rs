//! Reservations seen, released and restored by somebody who is no plugin.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cni::Attachment;
use ipam::{Reserved, directory, release, reserve, reserved};

fn owner(id: &str) -> Attachment {
    Attachment { container_id: id.into(), ifname: "eth0".into() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// In the order of the addresses.
fn all(directory: &Path) -> Vec<Reserved> {
    let mut all = reserved(directory).unwrap();
    all.sort_by_key(|r| r.address);
    all
}

#[test]
fn the_folder_is_where_host_local_has_it() {
    assert_eq!(directory(None, "net"), Path::new("/var/lib/cni/networks/net"));
    assert_eq!(directory(Some(Path::new("/run/x")), "net"), Path::new("/run/x/net"));
}

#[test]
fn an_absent_folder_holds_nothing_and_stays_absent() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("net");
    assert_eq!(reserved(&directory).unwrap(), []);
    assert_eq!(release(&directory, &[]).unwrap(), 0);
    assert!(!directory.exists());
}

#[test]
fn says_whose_each_address_is() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("net");
    let before = SystemTime::now() - Duration::from_secs(5);
    for address in ["10.0.0.2", "fd00::2"] {
        assert!(reserve(&directory, &owner("a"), ip(address)).unwrap());
        assert!(!reserve(&directory, &owner("a"), ip(address)).unwrap());
        assert!(!reserve(&directory, &owner("b"), ip(address)).unwrap());
    }
    assert_eq!(fs::read(directory.join("10.0.0.2")).unwrap(), b"a\r\neth0");
    for (name, content) in [
        ("10.0.0.3", ""),
        ("10.0.0.4", "old\n"),
        ("10.0.0.5", "torn\r"),
        ("10.0.0.6", "x\r\n"),
        ("note", "a"),
    ] {
        fs::write(directory.join(name), content).unwrap();
    }
    let seen: Vec<_> = all(&directory).into_iter().map(|r| (r.address, r.owner, r.container_id)).collect();
    let want = [
        ("10.0.0.2", Some(owner("a")), "a"),
        ("10.0.0.3", None, ""),
        ("10.0.0.4", None, "old"),
        ("10.0.0.5", None, "torn"),
        ("10.0.0.6", None, "x"),
        ("fd00::2", Some(owner("a")), "a"),
    ];
    assert_eq!(seen, want.map(|(address, owner, id)| (ip(address), owner, id.to_owned())));
    assert!(all(&directory).iter().all(|r| r.modified > before));
}

#[test]
fn only_what_is_as_it_was_seen_is_released() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("net");
    for address in ["10.0.0.2", "10.0.0.3", "10.0.0.4", "fd00::2"] {
        assert!(reserve(&directory, &owner("a"), ip(address)).unwrap());
    }
    fs::write(directory.join("10.0.0.5"), "").unwrap();
    let seen = all(&directory);
    // Meanwhile one went, one is another's, and one was given back and taken again by the same owner.
    fs::remove_file(directory.join("10.0.0.2")).unwrap();
    fs::write(directory.join("10.0.0.3"), "b\r\neth0").unwrap();
    let file = fs::File::options().write(true).open(directory.join("10.0.0.4")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
    assert_eq!(release(&directory, &seen).unwrap(), 2);
    let left: Vec<IpAddr> = all(&directory).into_iter().map(|r| r.address).collect();
    assert_eq!(left, [ip("10.0.0.3"), ip("10.0.0.4")]);
    assert_eq!(release(&directory, &seen).unwrap(), 0);
    let seen = all(&directory);
    assert_eq!(release(&directory, &seen[..1]).unwrap(), 1);
    assert_eq!(all(&directory), seen[1..]);
}
