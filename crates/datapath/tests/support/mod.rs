//! A network namespace with a BPF file system of its own, and the programs run on single packets.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod cost;
pub mod hook;
pub mod maps;
pub mod netns;
pub mod packets;
pub mod policy;
pub mod random;
pub mod real;
pub mod scene;
pub mod services;
pub mod tunnel;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use aya::maps::MapInfo;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use datapath::policy::OPEN;
use datapath::{Datapath, Limits, NodeConfig, Options, Port, Role, Route};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

pub const GATEWAY_MAC: [u8; 6] = [0x02, 0x6d, 0x69, 0x64, 0x6f, 0x01];
pub const OVERLAY_MAC: [u8; 6] = [0x02, 0x6d, 0x69, 0x64, 0x6f, 0x02];
pub const NODE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];
pub const A_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xaa];
pub const B_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xbb];
pub const VNI: u32 = 1;
pub const TUNNEL_PORT: u16 = 4789;
pub const OVERLAY_MTU: u32 = 1400;
pub const TC_ACT_SHOT: u32 = 2;
pub const TC_ACT_REDIRECT: u32 = 7;

/// Runs a test on a thread of its own in a new network and mount namespace, with a BPF file system
/// at the path given. All of it is gone when the thread ends.
pub fn sandbox<R: Send>(test: impl FnOnce(&Path) -> R + Send) -> R {
    let directory = std::env::temp_dir().join(testkit::unique("datapath-"));
    fs::create_dir(&directory).unwrap();
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .expect("a namespace of its own: run the tests as root");
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("bpf"), &directory, Some("bpf"), MsFlags::empty(), none).expect("a bpf file system");
            run("ip", "link set lo up");
            test(&directory)
        });
        thread.join()
    });
    fs::remove_dir(&directory).unwrap();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a program that must succeed, and returns what it printed.
pub fn run(program: &str, args: &str) -> String {
    testkit::run(Command::new(program).args(args.split_whitespace()))
}

pub fn ifindex(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

/// One address of everybody a packet can meet.
#[derive(Clone, Copy)]
pub struct Family {
    pub a: IpAddr,
    pub b: IpAddr,
    pub gateway: IpAddr,
    pub node: IpAddr,
    /// In this node's podCIDR, but nobody's.
    pub missing: IpAddr,
    /// A Pod of a node that is reached over IPv4, and of one that is reached over IPv6.
    pub remote: IpAddr,
    pub remote6: IpAddr,
    pub unserved: IpAddr,
    pub external: IpAddr,
}

pub fn families() -> [Family; 2] {
    [family("10.1.0.", "10.1.1.5", "10.1.2.5", "10.1.9.9", "192.0.2.1"), {
        family("fd01::", "fd01:0:0:1::5", "fd01:0:0:2::5", "fd01:0:0:9::9", "2001:db8::1")
    }]
}

fn family(prefix: &str, remote: &str, remote6: &str, unserved: &str, external: &str) -> Family {
    let own = |host: u8| format!("{prefix}{host}").parse().unwrap();
    let [remote, remote6, unserved, external] =
        [remote, remote6, unserved, external].map(|text| text.parse().unwrap());
    Family {
        a: own(3),
        b: own(4),
        gateway: own(1),
        node: own(2),
        missing: own(9),
        remote,
        remote6,
        unserved,
        external,
    }
}

/// By which other nodes know this one.
pub const NODE_ADDRESSES: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];

pub const PEER: &str = "198.51.100.7";
pub const PEER6: &str = "2001:db8:1::7";

pub fn options(pin_dir: &Path) -> Options {
    Options {
        pin_dir: pin_dir.join("midonet-kube"),
        max_endpoints: 16,
        max_routes: 16,
        max_connections: Some(4096),
        max_services: 64,
        max_backends: 4096,
        policy: datapath::policy::Sizes { addresses: 16_384, entries: 65_536, rules: 16_384 },
        max_drops: 1024,
        recording: None,
        at_work: None,
    }
}

/// A node with the devices `node`, `mido` and `vxlan`, without an address of its own.
pub fn config(gateways: [IpAddr; 2]) -> NodeConfig {
    NodeConfig {
        gateways: gateways.to_vec(),
        gateway_mac: GATEWAY_MAC,
        overlay_mac: OVERLAY_MAC,
        node_ifindex: ifindex("node"),
        node_mac: NODE_MAC,
        mido_ifindex: ifindex("mido"),
        overlay_ifindex: ifindex("vxlan"),
        vni: VNI,
        overlay_mtu: OVERLAY_MTU,
        tunnel_port: TUNNEL_PORT,
        shaper: None,
        tunnel_address4: None,
        tunnel_address6: None,
        direct: false,
        node_address4: None,
        node_address6: None,
        source_ports: 20_000..=29_999,
        services: false,
    }
}

/// A Pod's port, with a MAC of its own.
pub fn port(ifindex: u32, addresses: &[&str]) -> Port {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let mac = [2, 0, 0, 0, 0, ifindex as u8];
    Port { ifindex, mac, addresses, role: Role::Pod, limits: Limits::default(), set: OPEN }
}

/// The names of the pins in one of the directories of pins.
pub fn pins(options: &Options, kind: &str) -> Vec<String> {
    let entries = fs::read_dir(options.pin_dir.join(kind)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The kernel's id of each map at work, by the name of its pin.
pub fn map_ids(options: &Options) -> BTreeMap<String, u32> {
    let id = |pin: &String| MapInfo::from_pin(options.pin_dir.join("maps").join(pin)).unwrap().id();
    pins(options, "maps").into_iter().map(|pin| (pin.clone(), id(&pin))).collect()
}

/// The kernel's id of a pinned program.
pub fn program_id(options: &Options, name: &str) -> u32 {
    let pin = options.pin_dir.join("programs").join(name);
    SchedClassifier::from_pin(pin).unwrap().info().unwrap().id()
}

/// The datapath of one node with two Pods, on devices that are only there to have an index.
pub struct Node {
    pub datapath: Datapath,
    pub programs: PathBuf,
    pub config: NodeConfig,
    pub a: u32,
    pub b: u32,
    pub unbound: u32,
}

impl Node {
    pub fn new(bpffs: &Path) -> Self {
        for pair in [("pod-a", "pod-b"), ("unbound", "vxlan"), ("node", "mido")] {
            run("ip", &format!("link add name {} type veth peer name {}", pair.0, pair.1));
        }
        let options = options(bpffs);
        let mut datapath = Datapath::open(&options).unwrap();
        let config = NodeConfig {
            node_address4: Some(NODE_ADDRESSES[0].parse().unwrap()),
            node_address6: Some(NODE_ADDRESSES[1].parse().unwrap()),
            ..config(families().map(|family| family.gateway))
        };
        datapath.set_config(&config).unwrap();
        for (name, mac, role, addresses) in [
            ("pod-a", A_MAC, Role::Pod, families().map(|family| family.a)),
            ("pod-b", B_MAC, Role::Pod, families().map(|family| family.b)),
            ("mido", NODE_MAC, Role::Node, families().map(|family| family.node)),
        ] {
            let port = Port {
                ifindex: ifindex(name),
                mac,
                addresses: addresses.to_vec(),
                role,
                limits: Limits::default(),
                set: OPEN,
            };
            datapath.bind(&port).unwrap();
        }
        for (prefix, route) in [
            ("10.1.0.0/24", Route::Local),
            ("fd01::/64", Route::Local),
            ("10.1.1.0/24", Route::Tunnel(PEER.parse().unwrap())),
            ("fd01:0:0:1::/64", Route::Tunnel(PEER.parse().unwrap())),
            ("10.1.2.0/24", Route::Tunnel(PEER6.parse().unwrap())),
            ("fd01:0:0:2::/64", Route::Tunnel(PEER6.parse().unwrap())),
            ("10.1.0.0/16", Route::Unreachable),
            ("fd01::/48", Route::Unreachable),
        ] {
            datapath.set_route(prefix.parse().unwrap(), route).unwrap();
        }
        let (a, b, unbound) = (ifindex("pod-a"), ifindex("pod-b"), ifindex("unbound"));
        Self { datapath, programs: options.pin_dir.join("programs"), config, a, b, unbound }
    }

    pub fn program(&self, name: &str) -> SchedClassifier {
        SchedClassifier::from_pin(self.programs.join(name)).unwrap()
    }

    /// Runs a program on a frame that came in at an interface, and says what it did and counted.
    pub fn process(&self, program: &SchedClassifier, ifindex: u32, gso_size: u32, frame: &[u8]) -> Verdict {
        let (verdict, counted) = self.run(program, ifindex, gso_size, frame);
        let [(reason, bytes)] = counted[..] else {
            panic!("a packet ends under one counter, not {counted:?}");
        };
        assert_eq!(bytes, frame.len() as u64, "bytes of {reason}");
        Verdict { reason, ..verdict }
    }

    /// The same, with each counter that it changed and the bytes there; the verdict has no reason.
    pub fn run(
        &self,
        program: &SchedClassifier,
        ifindex: u32,
        gso_size: u32,
        frame: &[u8],
    ) -> (Verdict, Vec<(&'static str, u64)>) {
        let before = self.datapath.counters().unwrap();
        let mut context = [0u8; 192]; // struct __sk_buff
        context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
        context[176..180].copy_from_slice(&gso_size.to_ne_bytes());
        let mut out = vec![0; 4096];
        let mut after = context;
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ctx_out: Some(&mut after),
                ..TestRunOptions::new()
            })
            .unwrap();
        out.truncate(result.data_size_out as usize);
        let priority = u32::from_ne_bytes(after[32..36].try_into().unwrap());
        let after = self.datapath.counters().unwrap();
        let counted = before.iter().zip(&after).filter(|(before, after)| before != after);
        let counted = counted.map(|(before, after)| {
            assert_eq!(after.packets, before.packets + 1, "{}", after.name);
            (after.name, after.bytes - before.bytes)
        });
        (Verdict { action: result.return_value, reason: "", priority, frame: out }, counted.collect())
    }
}

/// What became of a packet.
#[derive(Debug)]
pub struct Verdict {
    pub action: u32,
    pub reason: &'static str,
    /// Of the packet, which is what queues it in a class of the shaper.
    pub priority: u32,
    pub frame: Vec<u8>,
}
