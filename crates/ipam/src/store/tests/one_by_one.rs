//! What the random steps do not prove: that the index and the spare file are used.

use std::time::Duration;

use super::*;

/// Not reading everything is the point: what says that the index is complete is believed.
#[test]
fn the_index_is_used_exactly_as_long_as_nobody_else_changed_anything() {
    let network = Network::new();
    network.step(&Step::Add(0, vec![2, 3])).unwrap();
    let index = network.owners.join("index");
    let time = |path: &Path| path.metadata().unwrap().modified().unwrap();
    let hide = |what: &dyn Fn()| {
        let before = time(&network.directory);
        what();
        File::open(&network.directory).unwrap().set_modified(before).unwrap();
    };
    hide(&|| network.write("10.0.0.8", &key(&owner(1))));
    let held = |n| network.store().held(&key(&owner(n))).unwrap().len();
    assert_eq!((held(0), held(1)), (2, 0));
    // What it says is compared with the files.
    hide(&|| fs::remove_file(network.directory.join("10.0.0.2")).unwrap());
    assert_eq!((held(0), held(1)), (1, 1));
    hide(&|| network.write("10.0.0.6", &key(&owner(3))));
    assert_eq!(held(3), 0);
    fs::write(network.directory.join("10.0.0.8"), key(&owner(3))).unwrap();
    assert_eq!((held(1), held(3)), (0, 2));
    hide(&|| network.write("10.0.0.4", &key(&owner(1))));
    assert_eq!(held(1), 0);
    // Anybody's change gives the directory another time.
    network.write("note", "");
    assert_eq!(held(1), 1);
    // The two times are those of this boot, and none that a clock will show.
    let later = time(&index).duration_since(time(&network.directory)).unwrap();
    assert!((3600..=3600 + 0xffff).contains(&later.as_secs()) && later.subsec_nanos() == 0, "{later:?}");
    assert!(time(&index) < SystemTime::now() - Duration::from_secs(3600));
    hide(&|| network.write("10.0.0.10", &key(&owner(1))));
    assert_eq!(held(1), 1);
    for other_boot in [1, -1] {
        let file = File::options().write(true).open(&index).unwrap();
        let moved = Duration::from_secs(1);
        let moved = if other_boot > 0 { time(&index) + moved } else { time(&index) - moved };
        hide(&|| network.write(if other_boot > 0 { "10.0.0.12" } else { "10.0.0.14" }, &key(&owner(3))));
        let before = held(3);
        file.set_modified(moved).unwrap();
        assert_eq!(held(3), before + 1);
    }
}

/// A file that has another name is somebody's reservation, whatever a crash left of it.
#[test]
fn the_spare_file_is_used_again_only_if_it_is_nobodys() {
    let network = Network::new();
    let inode =
        |name: &str| std::os::unix::fs::MetadataExt::ino(&network.directory.join(name).metadata().unwrap());
    network.step(&Step::Add(0, vec![2, 3])).unwrap();
    let first = inode("10.0.0.2");
    assert_eq!(inode("fd00::3"), first);
    network.step(&Step::Del(0)).unwrap();
    network.step(&Step::Add(3, vec![4, 5])).unwrap();
    assert_eq!(inode("10.0.0.4"), first);
    assert!(!network.owners.join(SPARE).exists());
    fs::hard_link(network.directory.join("10.0.0.4"), network.owners.join(SPARE)).unwrap();
    network.step(&Step::Add(2, vec![6, 7])).unwrap();
    let content = |name: &str| fs::read_to_string(network.directory.join(name)).unwrap();
    assert_eq!((content("10.0.0.4").as_str(), content("10.0.0.6").as_str()), ("c\r\neth0", "b\r\neth1"));
}
