//! Maps of another size or of a build before this one: what is in them is migrated, and what is attached goes on.

use std::fs;

use crate::support::hook::{Hook, put};
use crate::support::*;
use aya::maps::MapInfo;
use datapath::{Datapath, Error, Limit, Limits, Options, Port};
use testkit::packet;

#[test]
fn other_sizes_migrate_everything() {
    for hook in Hook::all() {
        sandbox(|bpffs| {
            run("ip", "link add name over type veth peer name other");
            let mut node = Node::new(bpffs);
            let old_options = options(bpffs);
            hook.attach_overlay(bpffs, &mut node.datapath, "over").unwrap();
            hook.attach_uplinks(bpffs, &mut node.datapath, &["other"]).unwrap();
            let frame = packet::udp(families()[0].a, families()[0].b, b"x").frame(GATEWAY_MAC, A_MAC);
            node.process(&node.program("from_endpoint"), node.a, 0, &frame);
            let (peer, peer6) = (PEER.parse().unwrap(), PEER6.parse().unwrap());
            node.datapath.set_node(peer, Some(peer)).unwrap();
            node.datapath.set_node(peer6, None).unwrap();
            let old = node.datapath;
            let before = [hook.attached("over"), hook.attached("other")];

            // An agent that died before its programs were attached.
            let new_options = Options { max_endpoints: 17, ..old_options.clone() };
            let ids = map_ids(&old_options);
            let mut new = Datapath::open(&new_options).unwrap();
            assert_eq!(map_ids(&old_options), ids, "at work until the programs are attached");
            assert_eq!(pins(&old_options, "new"), ["endpoints-v2", "limits-v1", "ports-v1"]);
            new.bind(&port(77, &["10.1.0.77"])).unwrap();
            new.release(node.b).unwrap();
            drop(new);

            let mut new = Datapath::open(&new_options).unwrap();
            assert_eq!(new.ports().unwrap(), old.ports().unwrap());
            assert_eq!(new.routes().unwrap(), old.routes().unwrap());
            assert_eq!(new.nodes().unwrap(), old.nodes().unwrap());
            assert_eq!(new.counters().unwrap(), old.counters().unwrap());
            assert_eq!(
                [hook.attached("over"), hook.attached("other")],
                before,
                "the old programs are at work"
            );
            hook.attach_uplinks(bpffs, &mut new, &["other"]).unwrap();
            hook.attach_overlay(bpffs, &mut new, "over").unwrap();
            let after = [hook.attached("over"), hook.attached("other")];
            assert_eq!(after.each_ref().map(Vec::len), [1, 1], "replaced, not added");
            assert_ne!(after, before);

            new.bind(&port(77, &["10.1.0.77"])).unwrap();
            new.retire_old_maps().unwrap();
            new.retire_old_maps().unwrap();
            let after = map_ids(&old_options);
            assert_eq!(after.keys().collect::<Vec<_>>(), ids.keys().collect::<Vec<_>>());
            let migrated: Vec<_> =
                after.iter().filter(|(pin, id)| ids[*pin] != **id).map(|(pin, _)| pin).collect();
            assert_eq!(migrated, ["endpoints-v2", "limits-v1", "ports-v1"], "and no other");
            assert_eq!(pins(&old_options, "new"), [""; 0]);
            drop(new);
            let new = Datapath::open(&new_options).unwrap();
            assert_eq!(new.ports().unwrap().len(), 4, "at work itself, it is not filled again");
            assert_eq!([hook.attached("over"), hook.attached("other")].each_ref().map(Vec::len), [1, 1]);
        });
    }
}

#[test]
fn limits_outlive_the_agent_and_migrate() {
    for hook in Hook::all() {
        sandbox(|bpffs| {
            run("ip", "link add name over type veth peer name other");
            let options = options(bpffs);
            let mut datapath = Datapath::open(&options).unwrap();
            let limit = Some(Limit { rate: 10_000_000, burst: u64::from(u32::MAX) });
            let limits = Limits { ingress: limit, egress: limit, class: 0x6d69_0001 };
            let (limited, free) =
                (Port { limits, ..port(7, &["10.0.0.7", "fd00::7"]) }, port(9, &["10.0.0.9"]));
            for port in [&limited, &free] {
                datapath.bind(port).unwrap();
            }
            let ports = || Datapath::open(&options).unwrap().ports().unwrap();
            assert_eq!(ports(), [limited.clone(), free.clone()]);
            let slower = Port { limits: Limits { ingress: None, ..limits }, ..limited.clone() };
            for port in [&slower, &limited, &port(7, &["fd00::7"]), &limited] {
                datapath.bind(port).unwrap();
                assert_eq!(ports(), [port.clone(), free.clone()]);
            }
            hook.attach_overlay(bpffs, &mut datapath, "over").unwrap();
            let other_sizes = Options { max_endpoints: 17, ..options };
            assert_eq!(Datapath::open(&other_sizes).unwrap().ports().unwrap(), [limited, free]);
        });
    }
}

#[test]
fn what_cannot_be_migrated_stays_at_work() {
    for hook in Hook::all() {
        sandbox(|bpffs| {
            run("ip", "link add name over type veth peer name other");
            let mut node = Node::new(bpffs);
            let old_options = options(bpffs);
            hook.attach_overlay(bpffs, &mut node.datapath, "over").unwrap();
            let before = hook.attached("over");
            let small = Options { max_endpoints: 2, ..old_options.clone() };
            let error = Datapath::open(&small).err().unwrap().to_string();
            assert!(error.contains("--max-pods"), "{error}");

            // A later build's.
            let maps = old_options.pin_dir.join("maps");
            fs::rename(maps.join("routes-v1"), maps.join("routes-v7")).unwrap();
            let error = Datapath::open(&old_options).err().unwrap();
            assert!(matches!(error, Error::Migrate { .. }), "{error}");
            let error = error.to_string();
            for word in ["routes-v7", "its version is 7", "go back to that version"] {
                assert!(error.contains(word), "{word} in: {error}");
            }
            assert_eq!(hook.attached("over"), before);
        });
    }
}

#[test]
fn a_map_of_another_shape_is_not_used() {
    sandbox(|bpffs| {
        drop(Datapath::open(&options(bpffs)).unwrap());
        let maps = options(bpffs).pin_dir.join("maps");
        fs::rename(maps.join("endpoints-v2"), maps.join("ports-v1")).unwrap();
        let error = Datapath::open(&options(bpffs)).err().unwrap();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        let error = error.to_string();
        for word in ["maps/ports-v1", "key 16", "key 4", "remove the pin"] {
            assert!(error.contains(word), "{word} in: {error}");
        }
    });
}

/// The endpoints as they were before they had sets of policy.
fn make_endpoints_1(new: &std::path::Path, old: &std::path::Path) {
    let new = aya::maps::MapData::from_pin(new).unwrap();
    maps::create_map(old, "endpoints", aya::maps::MapType::Hash, [16, 16, 64]);
    let old = aya::maps::MapData::from_pin(old).unwrap();
    let new: aya::maps::HashMap<_, [u8; 16], [u8; 24]> = aya::maps::Map::HashMap(new).try_into().unwrap();
    let mut old: aya::maps::HashMap<_, [u8; 16], [u8; 16]> = aya::maps::Map::HashMap(old).try_into().unwrap();
    for (key, value) in new.iter().map(Result::unwrap) {
        old.insert(key, <[u8; 16]>::try_from(&value[..16]).unwrap(), 0).unwrap();
    }
}

/// Lays the pins out as builds before versions did: all of them in one directory.
fn make_legacy(options: &Options) -> std::path::PathBuf {
    let legacy = options.pin_dir.join("0123456789abcdef-16-16");
    for kind in ["maps", "programs", "links"] {
        fs::create_dir_all(legacy.join(kind)).unwrap();
        for pin in pins(options, kind) {
            let old = pin.strip_suffix("-v1").unwrap_or(&pin);
            if pin == "endpoints-v2" {
                make_endpoints_1(&options.pin_dir.join("maps").join(&pin), &legacy.join("maps/endpoints"));
            }
            fs::rename(options.pin_dir.join(kind).join(&pin), legacy.join(kind).join(old)).unwrap();
        }
        fs::remove_dir(options.pin_dir.join(kind)).unwrap();
    }
    fs::remove_dir(options.pin_dir.join("new")).unwrap();
    legacy
}

#[test]
fn the_maps_of_a_build_before_versions_are_used_on() {
    for hook in Hook::all() {
        for (max_endpoints, migrated) in [(16, &[][..]), (17, &["endpoints", "limits", "ports"])] {
            sandbox(|bpffs| {
                run("ip", "link add name over type veth peer name other");
                let mut node = Node::new(bpffs);
                let options = Options { max_endpoints, ..options(bpffs) };
                hook.attach_overlay(bpffs, &mut node.datapath, "over").unwrap();
                hook.attach_uplinks(bpffs, &mut node.datapath, &["other"]).unwrap();
                put(bpffs, node.datapath.endpoint_program().unwrap(), "pod-a", "ingress");
                let at_work = Some(node.datapath.endpoint_program().unwrap().id);
                let frame = packet::udp(families()[0].a, families()[0].b, b"x").frame(GATEWAY_MAC, A_MAC);
                node.process(&node.program("from_endpoint"), node.a, 0, &frame);
                let before = map_ids(&options);
                let attached = [hook.attached("over"), hook.attached("other")];
                let old = node.datapath;
                let state = |datapath: &Datapath| {
                    let (ports, routes) = (datapath.ports().unwrap(), datapath.routes().unwrap());
                    (ports, routes, datapath.nodes().unwrap(), datapath.counters().unwrap())
                };
                let legacy = make_legacy(&options);

                // Also after agents that died: with and without the program in the shared block, and in the middle.
                for options in [options.clone(), Options { at_work, ..options.clone() }] {
                    let new = Datapath::open(&options).unwrap();
                    assert_eq!(state(&new), state(&old));
                    assert_eq!([hook.attached("over"), hook.attached("other")], attached);
                    fs::remove_file(options.pin_dir.join("maps/routes-v1")).unwrap();
                }
                let mut new = Datapath::open(&options).unwrap();
                hook.attach_uplinks(bpffs, &mut new, &["other"]).unwrap();
                hook.attach_overlay(bpffs, &mut new, "over").unwrap();
                put(bpffs, new.endpoint_program().unwrap(), "pod-a", "ingress");
                drop(new);
                let at_work = Some(Datapath::open(&options).unwrap().endpoint_program().unwrap().id);
                let mut new = Datapath::open(&Options { at_work, ..options.clone() }).unwrap();
                assert_eq!(state(&new), state(&old));
                hook.attach_uplinks(bpffs, &mut new, &["other"]).unwrap();
                hook.attach_overlay(bpffs, &mut new, "over").unwrap();
                new.retire_old_maps().unwrap();
                assert!(!legacy.exists());
                assert_eq!([hook.attached("over"), hook.attached("other")].each_ref().map(Vec::len), [1, 1]);
                // The overlay's, and two of the uplink: its ingress and its egress.
                assert_eq!(pins(&options, "links").len(), 3);
                let after = map_ids(&options);
                let changed: Vec<_> = after.iter().filter(|(pin, id)| before[*pin] != **id).collect();
                let changed: Vec<_> =
                    changed.iter().map(|(pin, _)| pin.rsplit_once("-v").unwrap().0).collect();
                assert_eq!(changed, migrated);
                assert_eq!(state(&Datapath::open(&options).unwrap()), state(&old));
            });
        }
    }
}

/// That build is started again: it finds its maps by the program, and works in a directory of its own.
#[test]
fn pins_from_before_a_downgrade_do_not_count() {
    sandbox(|bpffs| {
        let options = options(bpffs);
        let node = Node::new(bpffs);
        put(bpffs, node.datapath.endpoint_program().unwrap(), "pod-a", "ingress");
        let at_work = Some(node.datapath.endpoint_program().unwrap().id);
        let (ports, ids) = (node.datapath.ports().unwrap(), map_ids(&options));
        drop(node);
        let legacy = make_legacy(&options);
        drop(Datapath::open(&Options { max_endpoints: 17, ..options.clone() }).unwrap());
        // Pins of other maps, without anything in them.
        let other = Options { pin_dir: bpffs.join("other"), ..options.clone() };
        drop(Datapath::open(&other).unwrap());
        for (pin, _) in map_ids(&other) {
            fs::rename(other.pin_dir.join("maps").join(&pin), options.pin_dir.join("maps").join(&pin))
                .unwrap();
        }
        assert!(legacy.exists());
        let new = Datapath::open(&Options { at_work, ..options.clone() }).unwrap();
        assert_eq!((new.ports().unwrap(), map_ids(&options)), (ports, ids));
    });
}

/// What is removed at the end: all of this build's pins and of builds before, and nobody else's.
#[test]
fn pins_are_removed_by_their_names() {
    sandbox(|bpffs| {
        let options = options(bpffs);
        for legacy in [false, true] {
            drop(Datapath::open(&options).unwrap());
            drop(Datapath::open(&Options { max_routes: 17, ..options.clone() }).unwrap());
            if legacy {
                for pin in pins(&options, "new") {
                    fs::remove_file(options.pin_dir.join("new").join(pin)).unwrap();
                }
                make_legacy(&options);
                drop(Datapath::open(&options).unwrap());
            }
            assert!(datapath::remove_pins(&options.pin_dir).unwrap());
            assert!(!options.pin_dir.exists());
            assert!(!datapath::remove_pins(&options.pin_dir).unwrap());
        }
        let theirs = options.pin_dir.join("maps/theirs-v1");
        drop(Datapath::open(&options).unwrap());
        fs::rename(options.pin_dir.join("maps/nodes-v1"), &theirs).unwrap();
        datapath::remove_pins(&options.pin_dir).unwrap();
        assert!(MapInfo::from_pin(&theirs).is_ok());
        assert_eq!(fs::read_dir(&options.pin_dir).unwrap().count(), 1);
    });
}
