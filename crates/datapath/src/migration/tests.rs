//! A build in which one map has the next version, under load.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use aya::maps::{HashMap, Map, MapData};

use crate::Datapath;
use crate::maps::{ANY_SIZES, Former, MapSpec, specs};
use crate::support::hook::{Hook, put};
use crate::support::maps::create_map;
use crate::support::packets::segment;
use crate::support::policy::*;
use crate::support::*;
use crate::sys::Bytes;
use testkit::packet::{Ip, tcp, udp};

/// What a map's former version had at each key is the same by now.
fn same(entry: Bytes) -> Option<Bytes> {
    Some(entry)
}

/// A first version without routes to nowhere.
fn without_unreachable((key, value): Bytes) -> Option<Bytes> {
    (value[..4] != crate::layout::ROUTE_UNREACHABLE.to_ne_bytes()).then_some((key, value))
}

/// The maps of a build in which one has the next version.
fn next_build(options: &datapath::Options, name: &str, migrate: fn(Bytes) -> Option<Bytes>) -> Vec<MapSpec> {
    let mut specs = specs(&crate::open::sizes(options).unwrap()).to_vec();
    let spec = specs.iter_mut().find(|spec| spec.name == name).unwrap();
    let former = Former { version: spec.version, shape: spec.shape, migrate };
    (spec.version, spec.former) = (spec.version + 1, Box::leak(Box::new([former])));
    specs
}

/// A node whose programs are attached: what a Pod sends to the other Pod, and to another node's.
struct Scene {
    node: Node,
    options: datapath::Options,
    hook: Hook,
}

impl Scene {
    fn new(bpffs: &std::path::Path, hook: Hook) -> Self {
        let mut node = Node::new(bpffs);
        for name in ["pod-a", "pod-b", "vxlan"] {
            // Nothing but what the test sends.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
            run("ip", &format!("link set {name} up"));
        }
        Self::attach(bpffs, hook, &mut node.datapath);
        Self { node, options: options(bpffs), hook }
    }

    fn attach(bpffs: &std::path::Path, hook: Hook, datapath: &mut Datapath) {
        put(bpffs, datapath.endpoint_program().unwrap(), "pod-a", "ingress");
        hook.attach_overlay(bpffs, datapath, "vxlan").unwrap();
    }

    /// Packets that were counted, by reason.
    fn counted(datapath: &Datapath) -> BTreeMap<&'static str, u64> {
        let counters = datapath.counters().unwrap();
        counters.into_iter().filter(|one| one.packets > 0).map(|one| (one.name, one.packets)).collect()
    }
}

#[test]
fn a_map_of_a_new_version_migrates_alone_while_traffic_runs() {
    for hook in Hook::all() {
        for name in ["ports", "routes", "flows", "counters"] {
            sandbox(|bpffs| {
                let mut scene = Scene::new(bpffs, hook);
                let before = map_ids(&scene.options);
                let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let [f, _] = families();
                        let frames = [f.b, f.remote].map(|to| udp(f.a, to, b"x").frame(GATEWAY_MAC, A_MAC));
                        while !stop.load(Ordering::Relaxed) {
                            frames.iter().for_each(|frame| netns::send_frame("pod-b", frame));
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                    let some_more = || {
                        let until = sent.load(Ordering::Relaxed) + 20;
                        while sent.load(Ordering::Relaxed) < until {
                            thread::sleep(Duration::from_millis(1));
                        }
                    };
                    some_more();
                    let specs = next_build(&scene.options, name, same);
                    // An agent that is killed before its programs are attached costs nothing.
                    drop(Datapath::open_with(&scene.options, specs.clone()).unwrap());
                    let mut new = Datapath::open_with(&scene.options, specs).unwrap();
                    assert_eq!(map_ids(&scene.options), before);
                    some_more();
                    Scene::attach(bpffs, scene.hook, &mut new);
                    new.retire_old_maps().unwrap();
                    some_more();
                    scene.node.datapath = new;
                    stop.store(true, Ordering::Relaxed);
                });
                // The last frame is counted when it was sent.
                let sent = sent.into_inner();
                let counted = Scene::counted(&scene.node.datapath);
                assert_eq!(counted.keys().collect::<Vec<_>>(), [&"local", &"overlay_out"], "{name}");
                // What is counted at the moment when the old counts are added is not.
                let is_exact = |count: &u64| *count == sent || name == "counters" && *count < sent;
                assert!(counted.values().all(is_exact), "{name}: {counted:?} of {sent}");
                let after = map_ids(&scene.options);
                let mut expected = before.clone();
                expected.remove(&format!("{name}-v1"));
                let (new, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
                    after.into_iter().partition(|(pin, _)| *pin == format!("{name}-v2"));
                assert_eq!((new.len(), kept), (1, expected), "{name}: the others are what they were");
                assert_eq!(pins(&scene.options, "new"), [""; 0]);
                assert_eq!(
                    (scene.node.datapath.ports().unwrap().len(), 8),
                    (3, scene.node.datapath.routes().unwrap().len())
                );
            });
        }
    }
}

/// What programs record in the old map until they are replaced, and count there.
#[test]
fn what_programs_write_meanwhile_is_moved() {
    for name in ["flows", "flows_used", "answers", "counters"] {
        sandbox(|bpffs| {
            let hook = Hook::all()[0];
            let mut scene = Scene::new(bpffs, hook);
            let [f, _] = families();
            let old = scene.node.program("from_endpoint");
            let mido = scene.node.config.mido_ifindex;
            let to_b = |port: u16| tcp(f.a, f.b, &port.to_be_bytes()).frame(GATEWAY_MAC, A_MAC);
            let exceeded = Ip { hops: 1, ..udp(f.a, f.b, b"x") }.frame(GATEWAY_MAC, A_MAC);
            scene.node.run(&old, mido, 0, &to_b(1));
            let mut new =
                Datapath::open_with(&scene.options, next_build(&scene.options, name, same)).unwrap();
            // Old programs still run.
            scene.node.run(&old, scene.node.a, 0, &exceeded);
            scene.node.run(&old, mido, 0, &udp(f.b, f.a, b"y").frame(GATEWAY_MAC, A_MAC));
            Scene::attach(bpffs, hook, &mut new);
            let before = Scene::counted(&scene.node.datapath);
            new.retire_old_maps().unwrap();
            assert_eq!(Scene::counted(&new), before, "{name}");
            scene.node.datapath = new;
            let program = scene.node.program("from_endpoint");
            let next = udp(f.b, f.a, b"z").frame(GATEWAY_MAC, B_MAC);
            assert_eq!(scene.node.process(&program, scene.node.b, 0, &next).reason, "via_node", "{name}");
            let pin =
                pins(&scene.options, "maps").into_iter().find(|pin| pin.starts_with("answers")).unwrap();
            let map = MapData::from_pin(scene.options.pin_dir.join("maps").join(pin)).unwrap();
            let map: HashMap<_, u32, [u64; 2]> = Map::LruHashMap(map).try_into().unwrap();
            assert!(map.get(&scene.node.a, 0).unwrap()[0] > 0, "{name}: an answer is owed");
        });
    }
}

/// Of a row, what was counted before, in the old map meanwhile, and in the new one.
#[test]
fn drops_are_counted_on() {
    sandbox(|bpffs| {
        let hook = Hook::all()[0];
        let mut scene = Scene::new(bpffs, hook);
        let a = scene.node.a;
        let nothing = Table(all(deny(1)), vec![]);
        Draft::new().pod(a, open(), nothing).apply(&mut scene.node.datapath);
        let old = scene.node.program("from_endpoint");
        let frame = |f: &Family, port: u16| {
            segment(17, (f.a, 1000 + port), (f.b, port), 0, b"x").frame(GATEWAY_MAC, A_MAC)
        };
        for f in families() {
            scene.node.run(&old, a, 0, &frame(&f, 1));
            scene.node.run(&old, a, 0, &frame(&f, 1));
        }
        let mut new = Datapath::open_with(&scene.options, next_build(&scene.options, "drops", same)).unwrap();
        let program = scene.node.program("from_endpoint");
        for f in families() {
            // The new programs have begun when the old ones end.
            scene.node.run(&program, a, 0, &frame(&f, 1));
            scene.node.run(&old, a, 0, &frame(&f, 1));
            scene.node.run(&old, a, 0, &frame(&f, 2));
        }
        Scene::attach(bpffs, hook, &mut new);
        new.retire_old_maps().unwrap();
        let rows = new.drops().all().unwrap();
        let mut found: Vec<_> = rows.iter().map(|row| (row.source.unwrap(), row.port, row.packets)).collect();
        found.sort_unstable();
        let [v4, v6] = families();
        assert_eq!(found, [(v4.a, 1, 4), (v4.a, 2, 1), (v6.a, 1, 4), (v6.a, 2, 1)]);
    });
}

/// A killed agent whose programs were attached already: what they recorded in the new maps stays.
#[test]
fn an_agent_killed_before_old_maps_retire_loses_nothing() {
    for name in ["flows", "counters", "ports"] {
        sandbox(|bpffs| {
            let hook = Hook::all()[0];
            let mut scene = Scene::new(bpffs, hook);
            let [f, _] = families();
            let mido = scene.node.config.mido_ifindex;
            let specs = next_build(&scene.options, name, same);
            let mut killed = Datapath::open_with(&scene.options, specs.clone()).unwrap();
            Scene::attach(bpffs, hook, &mut killed);
            let at_work = Some(killed.endpoint_program().unwrap().id);
            scene.node.datapath = killed;
            let program = scene.node.program("from_endpoint");
            scene.node.run(&program, mido, 0, &udp(f.b, f.a, b"y").frame(GATEWAY_MAC, A_MAC));
            let options = datapath::Options { at_work, ..scene.options.clone() };
            let mut new = Datapath::open_with(&options, specs).unwrap();
            Scene::attach(bpffs, hook, &mut new);
            new.retire_old_maps().unwrap();
            assert_eq!(Scene::counted(&new), BTreeMap::from([("local", 1)]), "{name}");
            scene.node.datapath = new;
            let program = scene.node.program("from_endpoint");
            let next = udp(f.b, f.a, b"z").frame(GATEWAY_MAC, B_MAC);
            assert_eq!(scene.node.process(&program, scene.node.b, 0, &next).reason, "via_node", "{name}");
        });
    }
}

#[test]
fn entries_become_what_the_new_version_says() {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let specs = next_build(&options(bpffs), "routes", without_unreachable);
        let mut new = Datapath::open_with(&options(bpffs), specs.clone()).unwrap();
        new.retire_old_maps().unwrap();
        let mut expected = node.datapath.routes().unwrap();
        expected.retain(|_, route| *route != crate::Route::Unreachable);
        assert_eq!((new.routes().unwrap(), expected.len()), (expected, 6));
        // Once more: its own version is not migrated again.
        new.set_route("10.7.0.0/24".parse().unwrap(), crate::Route::Unreachable).unwrap();
        let before = (map_ids(&options(bpffs)), new.routes().unwrap());
        let new = Datapath::open_with(&options(bpffs), specs).unwrap();
        assert_eq!((map_ids(&options(bpffs)), new.routes().unwrap()), before);
    });
}

#[test]
fn a_map_without_a_pin_has_the_version_of_its_shape() {
    let former = |value| Former {
        version: 1,
        shape: crate::maps::Shape { value, ..specs(&ANY_SIZES)[1].shape },
        migrate: same,
    };
    let spec = MapSpec { version: 2, former: Box::leak(Box::new([former(8)])), ..specs(&ANY_SIZES)[1] };
    assert_eq!(spec.version_of(spec.shape), Some(2));
    assert_eq!(spec.version_of(former(8).shape), Some(1));
    assert_eq!(spec.version_of(former(12).shape), None);
    assert!(spec.migrate_from(1).is_some() && spec.migrate_from(3).is_none());
}

/// A map of one entry, pinned.
fn create_array(pin: &std::path::Path, name: &str, value: &[u8]) {
    create_map(pin, name, aya::maps::MapType::Array, [4, value.len(), 1]);
    crate::sys::RawMap::new(MapData::from_pin(pin).unwrap()).unwrap().set(&[0; 4], value).unwrap();
}

/// The agent before Services, or before policy, is at work.
#[test]
fn a_former_configuration_ends_with_zeros() {
    use crate::layout::Config;
    for (version, size) in [(1, Config::SIZE_1), (2, Config::SIZE_2)] {
        sandbox(|bpffs| {
            let node = Node::new(bpffs);
            let mut whole = node.datapath.config.get(&0).unwrap().unwrap();
            whole.services = 1;
            let (options, maps) = (options(bpffs), options(bpffs).pin_dir.join("maps"));
            std::fs::remove_file(maps.join("config-v3")).unwrap();
            let old = maps.join(format!("config-v{version}"));
            create_array(&old, "config", &bytemuck::bytes_of(&whole)[..size]);
            let mut new = Datapath::open(&options).unwrap();
            let mut expected = [bytemuck::bytes_of(&whole), &[0; 8]].concat();
            expected.truncate(size);
            expected.resize(size_of::<Config>(), 0);
            let found = new.config.get(&0).unwrap().unwrap();
            assert_eq!(bytemuck::bytes_of(&found), expected, "version {version}");
            new.retire_old_maps().unwrap();
            let configs: Vec<_> =
                pins(&options, "maps").into_iter().filter(|pin| pin.starts_with("config")).collect();
            assert_eq!((configs, pins(&options, "new")), (vec!["config-v3".to_owned()], vec![]));
        });
    }
}

/// The agent before policy is at work: no Pod is closed, and connections go on.
#[test]
fn endpoints_and_connections_of_version_1_know_no_policy() {
    use crate::layout::connections::{CONNECTION_REPLIED, Connection, Tuple};
    use crate::layout::{Address, Endpoint};
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let (options, maps) = (options(bpffs), options(bpffs).pin_dir.join("maps"));
        let ports = node.datapath.ports().unwrap();
        let endpoints = node.datapath.ports.endpoints.all().unwrap();
        let raw = |pin: &std::path::Path| crate::sys::RawMap::new(MapData::from_pin(pin).unwrap()).unwrap();
        let [f, _] = families();
        for (name, kind, sizes) in [
            ("endpoints", aya::maps::MapType::Hash, [16, Endpoint::SIZE_1, 64]),
            ("connections", aya::maps::MapType::LruHash, [40, Connection::SIZE_1, 4096]),
            ("new_connections", aya::maps::MapType::LruHash, [40, Connection::SIZE_1, 65_536]),
        ] {
            std::fs::remove_file(maps.join(format!("{name}-v2"))).unwrap();
            create_map(&maps.join(format!("{name}-v1")), name, kind, sizes);
        }
        for (address, endpoint) in &endpoints {
            let value = &bytemuck::bytes_of(endpoint)[..Endpoint::SIZE_1];
            raw(&maps.join("endpoints-v1")).set(bytemuck::bytes_of(address), value).unwrap();
        }
        // The Pod's own end is the lower one in both.
        let key = |host: u8| Tuple {
            lower: Address::from(f.a),
            upper: Address::from(std::net::IpAddr::from([10, 1, 0, host])),
            protocol: 17,
            ..Tuple::default()
        };
        let value = Connection { state: CONNECTION_REPLIED, seen: 7, ..Connection::default() };
        for (name, host) in [("connections", 200), ("new_connections", 201)] {
            let value = &bytemuck::bytes_of(&value)[..Connection::SIZE_1];
            raw(&maps.join(format!("{name}-v1"))).set(bytemuck::bytes_of(&key(host)), value).unwrap();
        }
        let mut new = Datapath::open(&options).unwrap();
        new.retire_old_maps().unwrap();
        assert_eq!(new.ports().unwrap(), ports);
        assert!(ports.iter().all(|port| port.set == crate::policy::OPEN));
        assert_eq!(new.ports.endpoints.all().unwrap(), endpoints);
        assert_eq!(new.policy_state(), crate::policy::State::default());
        for (name, host) in [("connections", 200), ("new_connections", 201)] {
            let found = raw(&maps.join(format!("{name}-v2"))).get(bytemuck::bytes_of(&key(host))).unwrap();
            assert_eq!(found.as_deref(), Some(bytemuck::bytes_of(&value)), "{name}");
        }
        node.datapath = new;
        let frame = udp(f.a, f.b, b"x").frame(GATEWAY_MAC, A_MAC);
        assert_eq!(node.process(&node.program("from_endpoint"), node.a, 0, &frame).reason, "local");
    });
}

/// The agent that had rows of policy alone is at work: they are counted on.
#[test]
fn drops_of_version_1_are_counted_on() {
    use crate::layout::drops::{DROP_INGRESS, DropCounter, DropKey};
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let (options, maps) = (options(bpffs), options(bpffs).pin_dir.join("maps"));
        std::fs::remove_file(maps.join("drops-v2")).unwrap();
        let sizes = [DropKey::SIZE_1, DropCounter::SIZE_1, 1024];
        create_map(&maps.join("drops-v1"), "drops", aya::maps::MapType::LruHash, sizes);
        let old = crate::sys::RawMap::new(MapData::from_pin(maps.join("drops-v1")).unwrap()).unwrap();
        let reason = crate::reasons().iter().position(|reason| reason.name == "policy_ingress").unwrap();
        for f in families() {
            // By the layout of then: addresses, rule, port, protocol, reason, flags; counts, times, port.
            let address = |of| bytemuck::bytes_of(&crate::layout::Address::from(of)).to_vec();
            let rest = [0, 80, 6, reason as u8, DROP_INGRESS, 0, 0, 0];
            let key = [&address(f.a)[..], &address(f.b), &7u32.to_ne_bytes(), &rest].concat();
            let counts = [3u64, 300, 1000, 2000].map(u64::to_ne_bytes).concat();
            old.set(&key, &[&counts[..], &[0x9c, 0x40, 0, 0, 0, 0, 0, 0]].concat()).unwrap();
        }
        let mut new = Datapath::open(&options).unwrap();
        new.retire_old_maps().unwrap();
        let closed = Table(all(deny(7)), vec![]);
        Draft::new().pod(node.b, closed, open()).pod(node.a, open(), open()).apply(&mut new);
        node.datapath = new;
        for f in families() {
            let packet = segment(6, (f.a, 50_000), (f.b, 80), 2, b"").frame(GATEWAY_MAC, A_MAC);
            node.process(&node.program("from_endpoint"), node.a, 0, &packet);
        }
        let rows = node.datapath.drops().all().unwrap();
        assert_eq!(rows.len(), 2, "{rows:?}");
        for f in families() {
            let row = rows.iter().find(|row| row.source == Some(f.a)).unwrap();
            assert_eq!((row.destination, row.port, row.protocol, row.rule), (Some(f.b), 80, 6, 7));
            assert_eq!((row.reason, row.ingress, row.others), ("policy_ingress", true, false));
            assert_eq!((row.packets, row.source_port), (4, 50_000));
            assert_eq!(row.first, Duration::from_nanos(1000));
            assert_eq!((row.interface, row.claimed, row.claimed_mac), (0, None, None));
        }
    });
}

/// What does not fit is zero, or else the old map stays at work.
#[test]
fn an_array_shrinks_to_what_is_in_use() {
    sandbox(|bpffs| {
        let (large, small) = (options(bpffs), datapath::Options { max_backends: 64, ..options(bpffs) });
        drop(Datapath::open(&large).unwrap());
        let backends = || {
            let map = MapData::from_pin(large.pin_dir.join("maps/backends-v1")).unwrap();
            crate::sys::RawMap::new(map).unwrap()
        };
        backends().set(&63u32.to_ne_bytes(), &[7; 24]).unwrap();
        backends().set(&64u32.to_ne_bytes(), &[7; 24]).unwrap();
        let error = Datapath::open(&small).err().unwrap().to_string();
        assert!(error.contains("map backends") && error.contains("--max-backends"), "{error}");
        backends().set(&64u32.to_ne_bytes(), &[0; 24]).unwrap();
        Datapath::open(&small).unwrap().retire_old_maps().unwrap();
        assert_eq!(backends().max_entries(), 64);
    });
}

/// Numbers go up with the Services that come and go: a smaller table must not fail for the counts of those that are gone.
#[test]
fn counts_for_which_a_smaller_array_has_no_index_are_dropped() {
    sandbox(|bpffs| {
        let (large, small) = (options(bpffs), datapath::Options { max_services: 8, ..options(bpffs) });
        drop(Datapath::open(&large).unwrap());
        let counts = || {
            let map = MapData::from_pin(large.pin_dir.join("maps/service_counts-v1")).unwrap();
            crate::sys::RawMap::new(map).unwrap()
        };
        counts().set(&8u32.to_ne_bytes(), &[7; 16]).unwrap();
        counts().set(&9u32.to_ne_bytes(), &[7; 16]).unwrap();
        Datapath::open(&small).unwrap().retire_old_maps().unwrap();
        assert_eq!(counts().max_entries(), 9);
        assert_eq!(counts().get(&8u32.to_ne_bytes()).unwrap(), Some(vec![7; 16]));
    });
}
