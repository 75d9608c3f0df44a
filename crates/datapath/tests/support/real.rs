//! Nodes with real packets: namespaces for nodes and Pods, and a wire between two nodes.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use datapath::policy::OPEN;
use datapath::{Datapath, Limits, NodeConfig, Options, Port, Role, Route};
use testkit::Namespace;

use super::hook::Hook;
use super::*;

pub const POD_MTU: u32 = 1500;

/// The one that the agent takes on this kernel.
pub fn hook() -> Hook {
    Hook::all()[0]
}

pub fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// A node in a namespace of its own, with as many Pods as wanted: addresses podCIDR + 3 and so on.
pub struct RealNode {
    pub datapath: Datapath,
    pub netns: Namespace,
    pub pods: Vec<Namespace>,
    pub number: u8,
    pub pin_dir: PathBuf,
}

impl RealNode {
    /// Node `number` serves 10.`number`.0.0/24 and fd00:`number`::/64.
    pub fn new(bpffs: &Path, number: u8, pods: u8) -> Self {
        let netns = Namespace::new();
        let options = Options { pin_dir: bpffs.join(format!("node{number}")), ..options(bpffs) };
        let (datapath, pods) = netns.run(|| {
            run("ip", "link add name vxlan type vxlan external dstport 4789 udp6zerocsumrx");
            run("ip", &format!("link set vxlan address {} up", text(OVERLAY_MAC)));
            run("ip", "link add name node type veth peer name mido");
            run("ip", &format!("link set mido address {} up", text(GATEWAY_MAC)));
            run("ip", &format!("link set node address {} up", text(NODE_MAC)));
            let mut datapath = Datapath::open(&options).unwrap();
            let program = options.pin_dir.join("programs/from_endpoint");
            run("tc", "qdisc add dev mido ingress_block 7 clsact");
            run("tc", &format!("filter add block 7 bpf direct-action object-pinned {}", program.display()));
            datapath.set_config(&Self::config(number)).unwrap();
            hook().attach_overlay(bpffs, &mut datapath, "vxlan").unwrap();
            for (prefix, _) in Self::prefixes(number) {
                datapath.set_route(prefix.parse().unwrap(), Route::Local).unwrap();
            }
            let address =
                |host| Self::prefixes(number).map(|(_, base)| format!("{base}{host}").parse().unwrap());
            let port = |name: &str, mac, host: u8, role| Port {
                ifindex: ifindex(name),
                mac,
                addresses: address(host).to_vec(),
                role,
                limits: Limits::default(),
                set: OPEN,
            };
            datapath.bind(&port("mido", NODE_MAC, 2, Role::Node)).unwrap();
            let [v4, v6] = address(2);
            configure("node", v4, v6, address(1));
            let pods = (0..pods).map(|pod| {
                let (outer, mac) = (format!("outer{pod}"), [2, 0, 0, 0, number, pod]);
                let netns = Namespace::new();
                run(
                    "ip",
                    &format!(
                        "link add name {outer} type veth peer name eth0 netns {}",
                        netns.path().display()
                    ),
                );
                run("ip", &format!("link set {outer} address {} mtu {POD_MTU}", text(GATEWAY_MAC)));
                run("tc", &format!("qdisc add dev {outer} ingress_block 7 clsact"));
                datapath.bind(&port(&outer, mac, 3 + pod, Role::Pod)).unwrap();
                run("ip", &format!("link set {outer} up"));
                netns.run(|| {
                    run("ip", &format!("link set eth0 address {} mtu {POD_MTU} up", text(mac)));
                    let [v4, v6] = address(3 + pod);
                    configure("eth0", v4, v6, address(1));
                });
                netns
            });
            let pods = pods.collect();
            (datapath, pods)
        });
        Self { datapath, netns, pods, number, pin_dir: options.pin_dir }
    }

    pub fn prefixes(number: u8) -> [(String, String); 2] {
        [
            (format!("10.{number}.0.0/24"), format!("10.{number}.0.")),
            (format!("fd00:{number}::/64"), format!("fd00:{number}::")),
        ]
    }

    pub fn config(number: u8) -> NodeConfig {
        config(Self::prefixes(number).map(|(_, base)| format!("{base}1").parse().unwrap()))
    }

    /// The addresses of podCIDR + `host` in both families.
    pub fn addresses(&self, host: u8) -> [IpAddr; 2] {
        Self::prefixes(self.number).map(|(_, base)| format!("{base}{host}").parse().unwrap())
    }

    pub fn packets(&self, name: &str) -> u64 {
        let counters = self.datapath.counters().unwrap();
        counters.iter().find(|counter| counter.name == name).unwrap().packets
    }

    /// Bytes for each packet counted since then: far above the MTU if the kernel was left its offloads.
    pub fn mean_size(&self, name: &str) -> u64 {
        let counters = self.datapath.counters().unwrap();
        let counter = counters.iter().find(|counter| counter.name == name).unwrap();
        counter.bytes / counter.packets
    }

    /// What became of the packets so far.
    pub fn fates(&self) -> Vec<String> {
        let counters = self.datapath.counters().unwrap();
        let counted = counters.iter().filter(|counter| counter.packets > 0);
        counted.map(|counter| format!("{} {}", counter.name, counter.packets)).collect()
    }
}

/// Both addresses, and the whole world behind the gateway.
fn configure(interface: &str, v4: IpAddr, v6: IpAddr, gateways: [IpAddr; 2]) {
    run("ip", &format!("addr add {v4}/32 dev {interface}"));
    run("ip", &format!("addr add {v6}/128 dev {interface} nodad"));
    for gateway in gateways {
        run("ip", &format!("route add {gateway} dev {interface}"));
        let family = if gateway.is_ipv6() { "-6" } else { "-4" };
        run("ip", &format!("{family} route add default via {gateway} dev {interface}"));
    }
}

/// Two nodes on one wire, each with one Pod, and each with the other's podCIDRs behind its tunnel.
pub fn connected(bpffs: &Path, underlay: [&str; 2], direct: [bool; 2]) -> [RealNode; 2] {
    let mut nodes = [1, 2].map(|number| RealNode::new(bpffs, number, 1));
    let paths = [0, 1].map(|number: usize| nodes[number].netns.path().display().to_string());
    let link = format!("link add name underlay netns {} type veth peer name underlay netns", paths[0]);
    run("ip", &format!("{link} {}", paths[1]));
    for (number, peer) in [(0, 1), (1, 0)] {
        let prefixes = RealNode::prefixes(nodes[peer].number);
        let RealNode { netns, datapath, number: name, .. } = &mut nodes[number];
        let address = underlay[number];
        netns.run(|| {
            run("ip", "link set underlay up");
            let suffix = if address.contains(':') { "/64 dev underlay nodad" } else { "/24 dev underlay" };
            run("ip", &format!("addr add {address}{suffix}"));
            // As the agent does: the routing look-up answers routers only.
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            if direct[number] {
                let tunnel_address4 = Some(address.parse().unwrap());
                datapath
                    .set_config(&NodeConfig { tunnel_address4, direct: true, ..RealNode::config(*name) })
                    .unwrap();
                hook().attach_uplinks(bpffs, datapath, &["underlay"]).unwrap();
            }
        });
        for (prefix, _) in prefixes {
            let route = Route::Tunnel(underlay[peer].parse().unwrap());
            datapath.set_route(prefix.parse().unwrap(), route).unwrap();
        }
    }
    nodes
}
