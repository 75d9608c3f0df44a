//! Packets of the tunnels, as the device and as the uplink give them to the programs.

use std::net::IpAddr;
use std::path::Path;

use aya::maps::{Array, ProgramArray};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};
use datapath::NodeConfig;
use testkit::packet::{Ip, udp_to};

use super::{Node, TUNNEL_PORT, Verdict, ifindex, run};

pub const OWN: &str = "198.51.100.1";
pub const UPLINK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x01];
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x07];

/// Runs `from_overlay` on packets that have come through a tunnel: `BPF_PROG_TEST_RUN` has no tunnel device, so a
/// small program gives the packet its metadata first.
pub struct Overlay {
    ebpf: Ebpf,
}

impl Overlay {
    /// With the object that the tests' build made: `env!("DATAPATH_TUNNEL_OBJECT")`.
    pub fn new(node: &Node, object: &str) -> Self {
        let mut ebpf = EbpfLoader::new().load_file(object).unwrap();
        let program: &mut SchedClassifier = ebpf.program_mut("with_tunnel").unwrap().try_into().unwrap();
        program.load().unwrap();
        let from_overlay = node.program("from_overlay");
        let mut next = ProgramArray::try_from(ebpf.map_mut("next").unwrap()).unwrap();
        next.set(0, from_overlay.fd().unwrap(), 0).unwrap();
        Self { ebpf }
    }

    pub fn process(&mut self, node: &Node, peer: &str, vni: u32, frame: &[u8]) -> Verdict {
        let peer: IpAddr = peer.parse().unwrap();
        let mut tunnel = [0u8; 48]; // struct tunnel in bpf/tunnel.bpf.c
        tunnel[..4].copy_from_slice(&vni.to_ne_bytes());
        match peer {
            IpAddr::V4(v4) => tunnel[28..32].copy_from_slice(&u32::from(v4).to_ne_bytes()),
            IpAddr::V6(v6) => tunnel[28..44].copy_from_slice(&v6.octets()),
        }
        tunnel[44..].copy_from_slice(&u32::from(peer.is_ipv6()).to_ne_bytes()); // BPF_F_TUNINFO_IPV6
        let mut map: Array<_, [u8; 48]> = self.ebpf.map_mut("tunnel").unwrap().try_into().unwrap();
        map.set(0, tunnel, 0).unwrap();
        let program: &SchedClassifier = self.ebpf.program("with_tunnel").unwrap().try_into().unwrap();
        node.process(program, node.config.overlay_ifindex, 0, frame)
    }
}

/// A node whose programs handle the headers themselves, and its uplink.
pub fn uplink_node(bpffs: &Path) -> (Node, u32) {
    let mut node = Node::new(bpffs);
    run("ip", "link add name uplink address 02:00:00:00:00:01 type veth peer name wire");
    run("ip", "link set wire up");
    run("ip", "link set uplink up");
    run("ip", &format!("addr add {OWN}/24 dev uplink"));
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let tunnel_address4 = Some(OWN.parse().unwrap());
    node.config = NodeConfig { tunnel_address4, direct: true, ..node.config };
    node.datapath.set_config(&node.config).unwrap();
    (node, ifindex("uplink"))
}

/// The tunnel's packet around an inner frame, as `peer` sends it.
pub fn tunnel(peer: &str, vni: u32, inner: &[u8]) -> Ip {
    let vxlan = [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), inner].concat();
    let mut packet = udp_to(peer.parse().unwrap(), OWN.parse().unwrap(), TUNNEL_PORT, &vxlan);
    packet.payload[6..8].fill(0);
    packet
}
