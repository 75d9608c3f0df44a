//! What outlives the agent, and what the agent reads back.

use std::fs;
use std::path::Path;

use crate::support::hook::{Hook, put};
use crate::support::*;
use aya::programs::tc::SchedClassifier;
use datapath::{Datapath, Error, Options};
use testkit::packet;

#[test]
fn ports_routes_and_counters_outlive_the_agent() {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let frame = packet::udp(families()[0].a, families()[0].b, b"x").frame(GATEWAY_MAC, A_MAC);
        node.process(&node.program("from_endpoint"), node.a, 0, &frame);
        let (ports, routes) = (node.datapath.ports().unwrap(), node.datapath.routes().unwrap());
        assert_eq!((ports.len(), routes.len()), (3, 8));
        let counters = node.datapath.counters().unwrap();
        let (old, maps) = (program_id(&options(bpffs), "from_endpoint"), map_ids(&options(bpffs)));
        drop(node);

        let datapath = Datapath::open(&options(bpffs)).unwrap();
        assert_eq!(datapath.ports().unwrap(), ports);
        assert_eq!(datapath.routes().unwrap(), routes);
        assert_eq!(datapath.counters().unwrap(), counters);
        assert_eq!(map_ids(&options(bpffs)), maps);
        assert_ne!(
            program_id(&options(bpffs), "from_endpoint"),
            old,
            "the new agent's programs replace the old"
        );
        assert_eq!(pins(&options(bpffs), "programs").len(), 4);
    });
}

#[test]
fn a_new_agent_clears_up_after_one_that_died_half_way() {
    sandbox(|bpffs| {
        drop(Datapath::open(&options(bpffs)).unwrap());
        let programs = options(bpffs).pin_dir.join("programs");
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
            assert_eq!(after, [program_id(&options(bpffs), "from_overlay")]);
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
fn the_uplinks_programs_come_and_go() {
    let count =
        |hook: Hook, interface: &str| (hook.attached(interface).len(), hook.attached_egress(interface).len());
    for hook in Hook::all() {
        sandbox(|bpffs| {
            run("ip", "link add name up type veth peer name other");
            let mut datapath = Datapath::open(&options(bpffs)).unwrap();
            hook.attach_uplinks(bpffs, &mut datapath, &[]).unwrap();
            hook.attach_uplinks(bpffs, &mut datapath, &["up"]).unwrap();
            assert_eq!(count(hook, "up"), (1, 1));
            assert_ne!(hook.attached("up"), hook.attached_egress("up"), "each end has its own program");
            assert!(hook == Hook::Clsact || datapath.has_uplink(ifindex("up")).unwrap());
            // Another interface becomes the uplink.
            hook.attach_uplinks(bpffs, &mut datapath, &["other"]).unwrap();
            hook.leaves("up");
            assert_eq!(count(hook, "other"), (1, 1));
            // There can be several.
            hook.attach_uplinks(bpffs, &mut datapath, &["up", "other"]).unwrap();
            assert_eq!([count(hook, "up"), count(hook, "other")], [(1, 1); 2]);
            let links = options(bpffs).pin_dir.join("links");
            assert_eq!(datapath.missing_pins(), [links.join("overlay")]);
            hook.attach_uplinks(bpffs, &mut datapath, &["other"]).unwrap();
            hook.leaves("up");
            drop(datapath);
            let mut datapath = Datapath::open(&options(bpffs)).unwrap();
            assert_eq!(count(hook, "other"), (1, 1), "the pins keep them");
            hook.attach_uplinks(bpffs, &mut datapath, &["other"]).unwrap();
            assert_eq!(count(hook, "other"), (1, 1), "replaced in place");
            // One of the two is taken away.
            let egress = links.join(format!("uplink-egress-{}", ifindex("other")));
            fs::remove_file(&egress).unwrap();
            assert_eq!(datapath.missing_pins(), [links.join("overlay"), egress]);
            if hook == Hook::Tcx {
                wait_until("the link is gone", || hook.attached_egress("other").is_empty());
                assert!(!datapath.has_uplink(ifindex("other")).unwrap(), "one end is not enough");
            }
            hook.attach_uplinks(bpffs, &mut datapath, &["other"]).unwrap();
            assert_eq!(count(hook, "other"), (1, 1));
            hook.attach_uplinks(bpffs, &mut datapath, &[]).unwrap();
            hook.leaves("other");
            assert!(hook == Hook::Clsact || !datapath.has_uplink(ifindex("other")).unwrap());
        });
    }
}

#[test]
fn pins_need_a_bpf_file_system() {
    let options = Options { pin_dir: "/tmp/no-bpf-here/at all".into(), ..options(Path::new("/tmp")) };
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
    put(bpffs, node.datapath.endpoint_program().unwrap(), "pod-a", "ingress");
    let at_work = Some(node.datapath.endpoint_program().unwrap().id);
    let frame = packet::udp(families()[0].a, families()[0].b, b"x").frame(GATEWAY_MAC, A_MAC);
    node.process(&node.program("from_endpoint"), node.a, 0, &frame);
    let old = node.datapath;
    let (ports, routes, counters) = (old.ports().unwrap(), old.routes().unwrap(), old.counters().unwrap());
    drop(old);
    let maps = pins(&options(bpffs), "maps").len();
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
    put(bpffs, new.endpoint_program().unwrap(), "pod-a", "ingress");
    new.retire_old_maps().unwrap();
    wait_until("one program is left at each device", || {
        [hook.attached("over").len(), hook.attached("other").len()] == [1, 1]
    });
    assert_eq!(hook.attached("over"), [new.overlay_program().unwrap().id]);
    assert_eq!((pins(&new_options, "maps").len(), pins(&new_options, "new").len()), (maps, 0));
    // Its own pins are there again.
    new.release(new.ports().unwrap()[0].ifindex).unwrap();
    let left = new.ports().unwrap();
    let new_options = Options { at_work: Some(new.endpoint_program().unwrap().id), ..new_options };
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
