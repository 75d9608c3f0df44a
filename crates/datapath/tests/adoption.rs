//! What outlives the agent, and what the agent reads back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::programs::tc::SchedClassifier;
use datapath::{Datapath, Error, Limit, Limits, Options, Port, Role, Route};
use support::hook::{Hook, put};
use support::*;

fn port(ifindex: u32, addresses: &[&str]) -> Port {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Port {
        ifindex,
        mac: [2, 0, 0, 0, 0, ifindex as u8],
        addresses,
        role: Role::Pod,
        limits: Limits::default(),
    }
}

fn layouts(options: &Options) -> Vec<PathBuf> {
    fs::read_dir(&options.pin_dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn program_id(layout: &Path, name: &str) -> u32 {
    SchedClassifier::from_pin(layout.join("programs").join(name)).unwrap().info().unwrap().id()
}

#[test]
fn ports_routes_and_counters_outlive_the_agent() {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let frame = packet::udp(families()[0].a, families()[0].b, b"x").frame(GATEWAY_MAC, A_MAC);
        node.judge(&node.program("from_endpoint"), node.a, 0, &frame);
        let (ports, routes) = (node.datapath.ports().unwrap(), node.datapath.routes().unwrap());
        assert_eq!((ports.len(), routes.len()), (3, 8));
        let counters = node.datapath.counters().unwrap();
        let layout = layouts(&options(bpffs)).remove(0);
        let old = program_id(&layout, "from_endpoint");
        drop(node);

        let datapath = Datapath::open(&options(bpffs)).unwrap();
        assert_eq!(datapath.ports().unwrap(), ports);
        assert_eq!(datapath.routes().unwrap(), routes);
        assert_eq!(datapath.counters().unwrap(), counters);
        assert_eq!(layouts(&options(bpffs)), std::slice::from_ref(&layout));
        assert_ne!(program_id(&layout, "from_endpoint"), old, "the new agent's programs replace the old");
        assert_eq!(fs::read_dir(layout.join("programs")).unwrap().count(), 3);
    });
}

#[test]
fn a_new_agent_clears_up_after_one_that_died_half_way() {
    sandbox(|bpffs| {
        drop(Datapath::open(&options(bpffs)).unwrap());
        let programs = layouts(&options(bpffs)).remove(0).join("programs");
        fs::rename(programs.join("from_overlay"), programs.join("from_overlay-new")).unwrap();
        drop(Datapath::open(&options(bpffs)).unwrap());
        assert!(programs.join("from_overlay").exists());
        assert!(!programs.join("from_overlay-new").exists());
    });
}

#[test]
fn the_overlay_link_is_kept_and_its_program_replaced() {
    for hook in Hook::all() {
        sandbox(|bpffs| {
            run("ip", "link add name over type veth peer name other");
            let mut first = Datapath::open(&options(bpffs)).unwrap();
            hook.attach_overlay(bpffs, &mut first, "over").unwrap();
            let before = hook.attached("over");
            drop(first);
            assert_eq!(hook.attached("over"), before, "the pin keeps it");

            let mut second = Datapath::open(&options(bpffs)).unwrap();
            assert_eq!(hook.attached("over"), before, "until the new one is attached");
            hook.attach_overlay(bpffs, &mut second, "over").unwrap();
            hook.attach_overlay(bpffs, &mut second, "over").unwrap();
            let after = hook.attached("over");
            assert_eq!(after, [program_id(&layouts(&options(bpffs))[0], "from_overlay")]);
            assert_ne!(after, before);

            // The device is made anew.
            run("ip", "link del over");
            run("ip", "link add name over type veth peer name other");
            hook.attach_overlay(bpffs, &mut second, "over").unwrap();
            assert_eq!(hook.attached("over"), after);
            // And another device becomes the overlay.
            hook.attach_overlay(bpffs, &mut second, "other").unwrap();
            hook.leaves("over");
            assert_eq!(hook.attached("other"), after);

            let error = second.attach_overlay(9999).unwrap_err().to_string();
            assert!(error.contains("no interface with index 9999"), "{error}");
        });
    }
}

#[test]
fn another_layout_takes_over_everything() {
    for hook in Hook::all() {
        sandbox(|bpffs| {
            run("ip", "link add name over type veth peer name other");
            let mut node = Node::new(bpffs);
            let old_options = options(bpffs);
            hook.attach_overlay(bpffs, &mut node.datapath, "over").unwrap();
            hook.attach_uplinks(bpffs, &mut node.datapath, &["other"]).unwrap();
            let frame = packet::udp(families()[0].a, families()[0].b, b"x").frame(GATEWAY_MAC, A_MAC);
            node.judge(&node.program("from_endpoint"), node.a, 0, &frame);
            let (peer, peer6) = (PEER.parse().unwrap(), PEER6.parse().unwrap());
            node.datapath.set_node(peer, Some(peer)).unwrap();
            node.datapath.set_node(peer6, None).unwrap();
            let old = node.datapath;
            let before = [hook.attached("over"), hook.attached("other")];

            // As if cut short in the middle of it.
            let new_options = Options { max_endpoints: 17, ..old_options.clone() };
            let mut new = Datapath::open(&new_options).unwrap();
            new.bind(&port(77, &["10.1.0.77"])).unwrap();
            new.release(node.b).unwrap();
            new.set_route("10.9.0.0/16".parse().unwrap(), Route::Local).unwrap();
            new.set_node(peer6, Some(peer)).unwrap();
            new.set_node("192.0.2.9".parse().unwrap(), None).unwrap();
            drop(new);

            let mut new = Datapath::open(&new_options).unwrap();
            assert_eq!(new.ports().unwrap(), old.ports().unwrap());
            assert_eq!(new.routes().unwrap(), old.routes().unwrap());
            assert_eq!(new.nodes().unwrap(), old.nodes().unwrap());
            assert_eq!(new.counters().unwrap(), old.counters().unwrap());
            assert_eq!(layouts(&old_options).len(), 2);
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

            // At work itself, it listens to the other no more.
            new.bind(&port(77, &["10.1.0.77"])).unwrap();
            drop(new);
            let new = Datapath::open(&new_options).unwrap();
            assert_eq!(new.ports().unwrap().len(), 4);

            let foreign = old_options.pin_dir.join("somebody-elses");
            fs::create_dir(&foreign).unwrap();
            new.remove_other_layouts().unwrap();
            assert_eq!(layouts(&old_options).len(), 2, "the new one and somebody else's");
            assert!(foreign.exists());
            assert_eq!([hook.attached("over"), hook.attached("other")].each_ref().map(Vec::len), [1, 1]);
        });
    }
}

#[test]
fn limits_are_kept_adopted_and_taken_over() {
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
            let at_work = layouts(&options).remove(0);
            let other_sizes = Options { max_endpoints: 17, ..options.clone() };
            assert_eq!(Datapath::open(&other_sizes).unwrap().ports().unwrap(), [limited, free.clone()]);
            // Former versions had no such maps.
            datapath.bind(&port(7, &["10.0.0.7"])).unwrap();
            fs::remove_file(at_work.join("maps/limits")).unwrap();
            fs::remove_file(at_work.join("maps/nodes")).unwrap();
            let other_sizes = Options { max_endpoints: 18, ..options };
            assert_eq!(
                Datapath::open(&other_sizes).unwrap().ports().unwrap(),
                [port(7, &["10.0.0.7"]), free]
            );
        });
    }
}

#[test]
fn what_cannot_be_taken_over_stays_at_work() {
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

            let maps = node.programs.parent().unwrap().join("maps");
            fs::remove_file(maps.join("ports")).unwrap();
            fs::rename(maps.join("routes"), maps.join("ports")).unwrap();
            let other = Options { max_endpoints: 40, ..old_options };
            let error = Datapath::open(&other).err().unwrap();
            assert!(matches!(error, Error::Takeover { .. }), "{error}");
            assert!(error.to_string().contains("go back to that version"), "{error}");
            assert_eq!(hook.attached("over"), before);
        });
    }
}

#[test]
fn the_uplinks_program_comes_and_goes() {
    for hook in Hook::all() {
        sandbox(|bpffs| {
            run("ip", "link add name up type veth peer name other");
            let mut datapath = Datapath::open(&options(bpffs)).unwrap();
            hook.attach_uplinks(bpffs, &mut datapath, &[]).unwrap();
            hook.attach_uplinks(bpffs, &mut datapath, &["up"]).unwrap();
            assert_eq!(hook.attached("up").len(), 1);
            assert!(hook == Hook::Clsact || datapath.has_uplink(ifindex("up")).unwrap());
            // Another interface becomes the uplink.
            hook.attach_uplinks(bpffs, &mut datapath, &["other"]).unwrap();
            hook.leaves("up");
            assert_eq!(hook.attached("other").len(), 1);
            // There can be several.
            hook.attach_uplinks(bpffs, &mut datapath, &["up", "other"]).unwrap();
            assert_eq!([hook.attached("up"), hook.attached("other")].each_ref().map(Vec::len), [1, 1]);
            assert_eq!(datapath.missing_pins().unwrap(), [layouts(&options(bpffs))[0].join("links/overlay")]);
            hook.attach_uplinks(bpffs, &mut datapath, &["other"]).unwrap();
            hook.leaves("up");
            drop(datapath);
            let mut datapath = Datapath::open(&options(bpffs)).unwrap();
            assert_eq!(hook.attached("other").len(), 1, "the pin keeps it");
            hook.attach_uplinks(bpffs, &mut datapath, &[]).unwrap();
            hook.leaves("other");
            assert!(hook == Hook::Clsact || !datapath.has_uplink(ifindex("other")).unwrap());
        });
    }
}

#[test]
fn a_map_of_another_shape_is_not_adopted() {
    sandbox(|bpffs| {
        drop(Datapath::open(&options(bpffs)).unwrap());
        let layout = layouts(&options(bpffs)).remove(0);
        let maps = layout.join("maps");
        fs::remove_file(maps.join("ports")).unwrap();
        fs::rename(maps.join("endpoints"), maps.join("ports")).unwrap();
        let error = Datapath::open(&options(bpffs)).err().unwrap();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        let error = error.to_string();
        for word in ["maps/ports", "key 16", "key 4", "remove the directory"] {
            assert!(error.contains(word), "{word} in: {error}");
        }
    });
}

#[test]
fn pins_need_a_bpf_file_system() {
    let options =
        Options { pin_dir: "/tmp/no-bpf-here/at all".into(), max_endpoints: 1, max_routes: 1, at_work: None };
    let error = Datapath::open(&options).err().unwrap().to_string();
    assert!(error.contains("mount -t bpf bpf /tmp"), "{error}");
    assert!(!Path::new("/tmp/no-bpf-here").exists());
    let error = Datapath::open(&Options { max_endpoints: 0, ..options }).err().unwrap();
    assert!(matches!(error, Error::Sizes { .. }), "{error}");
}

#[test]
fn pins_need_a_directory_that_is_roots_alone() {
    sandbox(|bpffs| {
        let (options, base) = (options(bpffs), options(bpffs).pin_dir);
        drop(Datapath::open(&options).unwrap());
        for (command, path, reason) in [
            ("chown 1000", &base, "belongs to user 1000"),
            ("chmod 0775", &base, "can be written to by others than root (mode 775)"),
            ("chmod 1777", &base, "can be written to by others than root (mode 1777)"),
            ("chown 1000", &bpffs.to_owned(), "belongs to user 1000"),
            ("chmod 0777", &bpffs.to_owned(), "can be written to by others than root (mode 777)"),
        ] {
            let before = fs::metadata(path).unwrap();
            let (program, argument) = command.split_once(' ').unwrap();
            run(program, &format!("{argument} {}", path.display()));
            let error = Datapath::open(&options).err().unwrap();
            assert!(matches!(error, Error::NotRoots { .. }), "{command}: {error}");
            let error = error.to_string();
            for word in [reason, &path.display().to_string(), "chown root", "--bpf-dir"] {
                assert!(error.contains(word), "{command}: {word} in: {error}");
            }
            run("chown", &format!("0 {}", path.display()));
            fs::set_permissions(path, before.permissions()).unwrap();
        }
        Datapath::open(&options).unwrap();
    });
}

/// What an agent with these options finds without any pin, when the programs at work are those of `node`.
fn finds_everything(bpffs: &Path, hook: Hook, new_options: &Options, lose_pins: impl FnOnce()) {
    run("ip", "link add name over type veth peer name other");
    let mut node = Node::new(bpffs);
    hook.attach_overlay(bpffs, &mut node.datapath, "over").unwrap();
    hook.attach_uplinks(bpffs, &mut node.datapath, &["other"]).unwrap();
    put(bpffs, node.datapath.endpoint_program().unwrap(), "pod-a");
    let at_work = Some(node.datapath.endpoint_program().unwrap().id);
    let frame = packet::udp(families()[0].a, families()[0].b, b"x").frame(GATEWAY_MAC, A_MAC);
    node.judge(&node.program("from_endpoint"), node.a, 0, &frame);
    let old = node.datapath;
    let (ports, routes, counters) = (old.ports().unwrap(), old.routes().unwrap(), old.counters().unwrap());
    drop(old);
    lose_pins();

    let new_options = Options { at_work, ..new_options.clone() };
    for round in ["first", "cut short and started again"] {
        let new = Datapath::open(&new_options).unwrap();
        assert_eq!(new.ports().unwrap(), ports, "{round}");
        assert_eq!(new.routes().unwrap(), routes, "{round}");
        assert_eq!(new.counters().unwrap(), counters, "{round}");
    }
    let mut new = Datapath::open(&new_options).unwrap();
    hook.attach_uplinks(bpffs, &mut new, &["other"]).unwrap();
    hook.attach_overlay(bpffs, &mut new, "over").unwrap();
    put(bpffs, new.endpoint_program().unwrap(), "pod-a");
    new.remove_other_layouts().unwrap();
    wait_until("one program is left at each device", || {
        [hook.attached("over").len(), hook.attached("other").len()] == [1, 1]
    });
    assert_eq!(hook.attached("over"), [new.overlay_program().unwrap().id]);
    assert_eq!(layouts(&new_options).len(), 1);
    // Its own pins are there again: it is asked for nothing else any more.
    new.release(new.ports().unwrap()[0].ifindex).unwrap();
    let left = new.ports().unwrap();
    drop(new);
    assert_eq!(Datapath::open(&new_options).unwrap().ports().unwrap(), left);
}

/// Links without a pin are freed by a worker of the kernel's.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn without_pins_the_maps_are_found_by_the_attached_program() {
    for hook in Hook::all() {
        for max_endpoints in [16, 17] {
            sandbox(|bpffs| {
                let options = Options { max_endpoints, ..options(bpffs) };
                let base = options.pin_dir.clone();
                finds_everything(bpffs, hook, &options, || fs::remove_dir_all(&base).unwrap());
            });
        }
    }
}

#[test]
fn under_another_bpf_file_system_maps_and_links_are_found() {
    for hook in Hook::all() {
        sandbox(|bpffs| {
            let none = nix::mount::MsFlags::empty();
            finds_everything(bpffs, hook, &options(bpffs), || {
                nix::mount::mount(Some("bpf"), bpffs, Some("bpf"), none, None::<&str>).unwrap();
            });
        });
    }
}

#[test]
fn only_the_datapaths_own_program_is_trusted_for_its_maps() {
    sandbox(|bpffs| {
        let options = options(bpffs);
        let node = Node::new(bpffs);
        let mut ebpf = aya::EbpfLoader::new().load_file(env!("DATAPATH_TUNNEL_OBJECT")).unwrap();
        let other: &mut SchedClassifier = ebpf.program_mut("with_tunnel").unwrap().try_into().unwrap();
        other.load().unwrap();
        let overlay = node.program("from_overlay").info().unwrap().id();
        for at_work in [other.info().unwrap().id(), overlay, u32::MAX] {
            let pin_dir = bpffs.join(format!("for-{at_work}"));
            let new =
                Datapath::open(&Options { at_work: Some(at_work), pin_dir, ..options.clone() }).unwrap();
            assert_eq!(new.ports().unwrap(), []);
        }
    });
}

#[test]
fn binding_replaces_and_releasing_removes() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let both = port(7, &["10.0.0.7", "fd00::7"]);
        datapath.bind(&both).unwrap();
        datapath.bind(&both).unwrap();
        assert_eq!(datapath.ports().unwrap(), std::slice::from_ref(&both));

        // The interface gets other addresses.
        datapath.bind(&port(7, &["10.0.0.8", "fd00::7"])).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["10.0.0.8", "fd00::7"])]);
        // One address goes to another interface, then the other.
        datapath.bind(&port(9, &["10.0.0.8"])).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["fd00::7"]), port(9, &["10.0.0.8"])]);
        datapath.bind(&port(9, &["10.0.0.8", "fd00::7"])).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(9, &["10.0.0.8", "fd00::7"])]);

        // The former owner's release takes nothing from the new one.
        datapath.release(7).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(9, &["10.0.0.8", "fd00::7"])]);
        datapath.release(9).unwrap();
        datapath.release(9).unwrap();
        assert_eq!(datapath.ports().unwrap(), []);
    });
}

#[test]
fn nobody_gets_the_gateways_address() {
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let before = node.datapath.ports().unwrap();
        for f in families() {
            let port = Port { mac: A_MAC, addresses: vec![f.a, f.gateway], ..port(node.a, &[]) };
            let error = node.datapath.bind(&port).unwrap_err().to_string();
            assert!(error.contains(&format!("{} is the gateway's", f.gateway)), "{error}");
        }
        assert_eq!(node.datapath.ports().unwrap(), before);
    });
}

/// A crash between the two maps: the record names an address that is not there, or is another's.
#[test]
fn half_a_port_is_not_read_back_as_a_whole_one() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        datapath.bind(&port(7, &["10.0.0.7", "fd00::7"])).unwrap();
        let maps = layouts(&options(bpffs)).remove(0).join("maps");
        let endpoints = aya::maps::MapData::from_pin(maps.join("endpoints")).unwrap();
        let mut endpoints: aya::maps::HashMap<_, [u8; 16], [u8; 16]> =
            aya::maps::Map::HashMap(endpoints).try_into().unwrap();
        let key = "::ffff:10.0.0.7".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let mut stolen = endpoints.get(&key, 0).unwrap();
        stolen[..4].copy_from_slice(&9u32.to_ne_bytes());
        endpoints.insert(key, stolen, 0).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["fd00::7"])]);
        endpoints.remove(&key).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["fd00::7"])]);
        datapath.bind(&port(7, &["10.0.0.7", "fd00::7"])).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["10.0.0.7", "fd00::7"])]);
    });
}

/// The agent hands it from thread to thread.
#[test]
fn it_can_be_sent() {
    fn send<T: Send>() {}
    send::<Datapath>();
}

/// The record alone would not show it: an address that was given away or released sends nothing.
#[test]
fn what_is_released_passes_no_more() {
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let program = node.program("from_endpoint");
        for f in families() {
            let to_b = packet::udp(f.a, f.b, b"x").frame(GATEWAY_MAC, A_MAC);
            assert_eq!(node.judge(&program, node.a, 0, &to_b).reason, "local");
        }
        let a = Port { mac: A_MAC, addresses: vec![families()[1].a], ..port(node.a, &[]) };
        node.datapath.bind(&a).unwrap();
        let reasons = |node: &Node| {
            families().map(|f| {
                let frame = packet::udp(f.a, f.b, b"x").frame(GATEWAY_MAC, A_MAC);
                node.judge(&program, node.a, 0, &frame).reason
            })
        };
        assert_eq!(reasons(&node), ["source_ip", "local"]);
        node.datapath.release(node.b).unwrap();
        assert_eq!(reasons(&node), ["source_ip", "no_endpoint"]);
        node.datapath.release(node.a).unwrap();
        assert_eq!(reasons(&node), ["port_not_bound", "port_not_bound"]);
    });
}

#[test]
fn full_maps_name_the_setting() {
    sandbox(|bpffs| {
        let options = Options { max_endpoints: 2, max_routes: 2, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let address = |n: u32, m: u32| format!("10.0.{n}.{m}");
        for n in 1..=2 {
            let all: Vec<_> = (1..=4).map(|m| address(n, m)).collect();
            datapath.bind(&port(n, &all.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        }
        let before = datapath.ports().unwrap();
        let error = datapath.bind(&port(3, &["10.0.3.1", "10.0.1.1"])).unwrap_err().to_string();
        assert!(error.contains("interface 3") && error.contains("--max-pods"), "{error}");
        assert_eq!(datapath.ports().unwrap(), before, "nothing is lost");

        let routes: Vec<ipnet::IpNet> = ["10.1.0.0/24", "10.2.0.0/24"].map(|p| p.parse().unwrap()).to_vec();
        for prefix in &routes {
            datapath.set_route(*prefix, Route::Local).unwrap();
        }
        datapath.set_route(routes[0], Route::Unreachable).unwrap();
        let error = datapath.set_route("10.3.0.0/24".parse().unwrap(), Route::Local).unwrap_err().to_string();
        assert!(error.contains("10.3.0.0/24") && error.contains("--max-nodes"), "{error}");
        datapath.remove_route(routes[0]).unwrap();
        datapath.remove_route(routes[0]).unwrap();
        assert_eq!(datapath.routes().unwrap(), BTreeMap::from([(routes[1], Route::Local)]));
    });
}

#[test]
fn routes_that_cannot_be_right_are_refused() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let mut refused =
            |prefix: &str, route| datapath.set_route(prefix.parse().unwrap(), route).unwrap_err().to_string();
        let end: IpAddr = "0.0.0.0".parse().unwrap();
        assert!(refused("10.1.0.0/24", Route::Tunnel(end)).contains("0.0.0.0"));
        assert!(refused("::/0", Route::Local).contains("IPv4"));
        assert_eq!(datapath.routes().unwrap(), BTreeMap::new());
    });
}
