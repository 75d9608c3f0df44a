//! What may not pass: each attack is refused, and counted with its reason. Frame by frame, with every
//! field forged in turn, the same is tested in `datapath/tests/{decisions,neighbours,overlay,uplink,mutations}.rs`;
//! here it is real sockets, the real agent, and a victim who must not notice.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use e2e::{DEADLINE, TestLab};
use lab::probe::ping;
use lab::{Family, Pod, Target};
use naming::GATEWAY_MAC;
use plumbing::NetNs;

/// Where the victim listens.
const PORT: u16 = 7009;

struct Scene {
    lab: TestLab,
    attacker: Pod,
    victim: Pod,
    far: Pod,
}

impl Scene {
    fn new() -> Self {
        let lab = TestLab::up(2, Family::Dual, &[]).unwrap();
        let add = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
        let (attacker, victim, far) = (add("node1", "attacker"), add("node1", "victim"), add("node2", "far"));
        Self { lab, attacker, victim, far }
    }

    fn netns(&self, pod: &Pod) -> NetNs {
        self.lab.netns(&Target::Pod(pod.key.clone())).unwrap()
    }

    /// Sends frames out of the attacker's interface, as they are.
    fn send(&self, frames: &[Vec<u8>]) {
        self.netns(&self.attacker).run(|| send_frames(frames)).unwrap();
    }

    fn counted(&self, reason: &str) -> u64 {
        self.lab.counted("node1", reason).unwrap()
    }

    /// Sends frames that must be dropped for that reason, each of them.
    fn refused(&self, reason: &str, frames: &[Vec<u8>]) {
        let before = self.counted(reason);
        self.send(frames);
        let wanted = before + u64::try_from(frames.len()).unwrap();
        testkit::wait_until(DEADLINE, &format!("{wanted} packets are dropped as {reason}"), || {
            self.counted(reason) >= wanted
        });
    }

    /// The victim's sockets, one a family.
    fn listen(&self, pod: &Pod) -> Vec<UdpSocket> {
        let bind =
            |address: IpAddr| self.netns(pod).run(|| UdpSocket::bind((address, PORT))).unwrap().unwrap();
        pod.addresses().into_iter().map(bind).collect()
    }
}

fn send_frames(frames: &[Vec<u8>]) {
    let index = nix::net::if_::if_nametoindex("eth0").unwrap();
    let everything = i32::from(u16::to_be(0x0003));
    let socket =
        socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(everything.into())).unwrap();
    let to = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap(),
        sll_protocol: 0,
        sll_ifindex: i32::try_from(index).unwrap(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    for frame in frames {
        // SAFETY: the frame and the address are whole, and their lengths are theirs.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                std::ptr::from_ref(&to).cast(),
                u32::try_from(size_of_val(&to)).unwrap(),
            )
        };
        assert_eq!(usize::try_from(sent).unwrap(), frame.len());
    }
}

fn mac(pod: &Pod) -> [u8; 6] {
    pod.mac.unwrap().0
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn sum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// An IP packet of either family; `protocol` says what `payload` is.
fn ip(from: IpAddr, to: IpAddr, protocol: u8, hops: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    let (source, destination) = (octets(from), octets(to));
    if from.is_ipv4() {
        let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let head = [&[0x45, 0][..], &length, &[0, 1, 0, 0, hops, protocol]].concat();
        let check = sum(&[&head, &[0, 0], &source, &destination]);
        return (0x0800, [&head[..], &check, &source, &destination, payload].concat());
    }
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    (0x86dd, [&[0x60, 0, 0, 0][..], &length, &[protocol, hops], &source, &destination, payload].concat())
}

fn udp(from: IpAddr, to: IpAddr, port: u16, payload: &[u8]) -> (u16, Vec<u8>) {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let ports = [40000u16.to_be_bytes(), port.to_be_bytes()].concat();
    let pseudo = [octets(from), octets(to), vec![0, 17], length.to_vec()].concat();
    let check = sum(&[&pseudo, &ports, &length, &[0, 0], payload]);
    ip(from, to, 17, 64, &[&ports[..], &length, &check, payload].concat())
}

/// A frame to the gateway, as a Pod sends all of its own.
fn to_gateway(from: [u8; 6], (kind, packet): (u16, Vec<u8>)) -> Vec<u8> {
    ethernet(GATEWAY_MAC.0, from, kind, &packet)
}

/// The socket's datagram, if one comes soon.
fn received(sockets: &[UdpSocket]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for socket in sockets {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut buffer = [0; 256];
        if let Ok(length) = socket.recv(&mut buffer) {
            all.push(buffer[..length].to_vec());
        }
    }
    all
}

/// The pairs of addresses of one family.
fn both<'a>(a: &'a Pod, b: &'a Pod) -> impl Iterator<Item = (IpAddr, IpAddr)> + use<'a> {
    a.addresses().into_iter().zip(b.addresses())
}

#[test]
fn honest_frames_of_the_same_make_do_arrive() {
    let scene = Scene::new();
    let victim = scene.listen(&scene.victim);
    let own = mac(&scene.attacker);
    let frames: Vec<_> = both(&scene.attacker, &scene.victim)
        .map(|(from, to)| to_gateway(own, udp(from, to, PORT, b"honest")))
        .collect();
    scene.send(&frames);
    let mut arrived = Vec::new();
    testkit::wait_until(DEADLINE, "honest frames arrive: else the other tests would prove nothing", || {
        arrived.extend(received(&victim));
        arrived.len() >= frames.len()
    });
    assert_eq!(arrived, [b"honest", b"honest"]);
}

#[test]
fn a_spoofed_source_mac_is_refused() {
    let scene = Scene::new();
    let victim = scene.listen(&scene.victim);
    for forged in [mac(&scene.victim), GATEWAY_MAC.0, [2, 0, 0, 0, 0, 9]] {
        let frames: Vec<_> = both(&scene.attacker, &scene.victim)
            .map(|(from, to)| to_gateway(forged, udp(from, to, PORT, b"forged")))
            .collect();
        scene.refused("source_mac", &frames);
    }
    assert_eq!(received(&victim), [b""; 0]);
}

#[test]
fn a_spoofed_source_address_is_refused() {
    let scene = Scene::new();
    let own = mac(&scene.attacker);
    let (near, far) = (scene.listen(&scene.victim), scene.listen(&scene.far));
    for (target, forged) in [
        // In the name of another Pod, of this node and of another one; of nobody; of the world.
        (&scene.victim, scene.far.addresses()),
        (&scene.far, scene.victim.addresses()),
        (&scene.victim, ["10.244.1.77", "fd44:0:0:1::77"].map(|text| text.parse().unwrap()).to_vec()),
        (&scene.victim, ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap()).to_vec()),
        (&scene.victim, ["10.244.1.2", "fd44:0:0:1::2"].map(|text| text.parse().unwrap()).to_vec()),
    ] {
        let frames: Vec<_> = forged
            .into_iter()
            .zip(target.addresses())
            .map(|(from, to)| to_gateway(own, udp(from, to, PORT, b"forged")))
            .collect();
        scene.refused("source_ip", &frames);
    }
    assert_eq!((received(&near), received(&far)), (vec![], vec![]));
}

/// An ARP packet (RFC 826).
fn arp(operation: u16, sender: ([u8; 6], &str), target: ([u8; 6], &str)) -> Vec<u8> {
    let address = |text: &str| octets(text.parse().unwrap());
    let head = [&[0, 1, 8, 0, 6, 4][..], &operation.to_be_bytes()].concat();
    [&head[..], &sender.0, &address(sender.1), &target.0, &address(target.1)].concat()
}

#[test]
fn forged_arp_is_refused() {
    let scene = Scene::new();
    let own = mac(&scene.attacker);
    let broadcast = [0xff; 6];
    let victim = scene.victim.addresses()[0].to_string();
    let neighbours = || {
        let at = Target::Pod(scene.victim.key.clone());
        scene.lab.stdout(&at, "ip", &["-4", "neigh"]).unwrap()
    };
    ping(&scene.netns(&scene.victim), scene.far.addresses()[0], DEADLINE).unwrap();
    // A question in the victim's name; one with another MAC in it than the frame's.
    let questions = [
        arp(1, (own, &victim), ([0; 6], "10.244.1.1")),
        arp(1, (mac(&scene.victim), &scene.attacker.addresses()[0].to_string()), ([0; 6], "10.244.1.1")),
    ]
    .map(|packet| ethernet(broadcast, own, 0x0806, &packet));
    scene.refused("arp_forged", &questions);
    // "I am the gateway", to all and to the victim.
    let answers = [broadcast, mac(&scene.victim), GATEWAY_MAC.0]
        .map(|to| ethernet(to, own, 0x0806, &arp(2, (own, "10.244.1.1"), (mac(&scene.victim), &victim))));
    let drops =
        || scene.counted("arp_forged") + scene.counted("arp_other") + scene.counted("destination_mac");
    let before = drops();
    scene.send(&answers);
    testkit::wait_until(DEADLINE, "the answers are dropped", || drops() >= before + 3);
    assert!(neighbours().contains(&GATEWAY_MAC.to_string()), "{}", neighbours());
}

/// A neighbour solicitation (135) or advertisement (136) with a link-layer address (RFC 4861).
fn neighbour(kind: u8, from: IpAddr, to: IpAddr, target: IpAddr, link: [u8; 6]) -> (u16, Vec<u8>) {
    let (flags, option) = if kind == 136 { (0x20, 2) } else { (0, 1) };
    let body = [&[flags, 0, 0, 0][..], &octets(target), &[option, 1], &link].concat();
    let length = u32::try_from(4 + body.len()).unwrap().to_be_bytes();
    let pseudo = [octets(from), octets(to), length.to_vec(), vec![0, 0, 0, 58]].concat();
    let check = sum(&[&pseudo, &[kind, 0, 0, 0], &body]);
    ip(from, to, 58, 255, &[&[kind, 0][..], &check, &body].concat())
}

#[test]
fn forged_neighbour_discovery_is_refused() {
    let scene = Scene::new();
    let own = mac(&scene.attacker);
    let gateway: IpAddr = "fd44:0:0:1::1".parse().unwrap();
    let [mine, victims, far] = [&scene.attacker, &scene.victim, &scene.far].map(|pod| pod.addresses()[1]);
    ping(&scene.netns(&scene.victim), far, DEADLINE).unwrap();
    let forged = [
        to_gateway(own, neighbour(135, mine, gateway, gateway, mac(&scene.victim))),
        to_gateway(own, neighbour(135, victims, gateway, gateway, own)),
    ];
    let drops = || {
        ["ndp_forged", "ndp_other", "source_ip", "destination_mac"]
            .iter()
            .map(|r| scene.counted(r))
            .sum::<u64>()
    };
    let before = drops();
    scene.send(&forged);
    testkit::wait_until(DEADLINE, "the solicitations are dropped", || drops() >= before + 2);
    assert!(scene.counted("ndp_forged") >= 1);
    // "I am the gateway", to the victim.
    let before = drops();
    let advertised = neighbour(136, mine, victims, gateway, own);
    scene.send(&[
        to_gateway(own, advertised.clone()),
        ethernet(mac(&scene.victim), own, advertised.0, &advertised.1),
    ]);
    testkit::wait_until(DEADLINE, "the advertisements are dropped", || drops() >= before + 2);
    let at = Target::Pod(scene.victim.key.clone());
    let neighbours = scene.lab.stdout(&at, "ip", &["-6", "neigh"]).unwrap();
    assert!(!neighbours.contains(&scene.attacker.mac.unwrap().to_string()), "{neighbours}");
}

/// A tunnel's payload: the VXLAN header (RFC 7348, section 5) and a frame to a node's overlay device.
fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), frame].concat()
}

/// Has a socket leave out the UDP checksum of what it sends, or not.
fn no_checksum(socket: &UdpSocket, value: i32) {
    let size = u32::try_from(size_of_val(&value)).unwrap();
    // SAFETY: the option's value is the integer that the pointer is to, and the length is its own.
    let set = unsafe {
        let value = std::ptr::from_ref(&value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, value, size)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Frames for the victim in the name of the Pod of the other node, as its node would send them.
fn tunnelled(scene: &Scene) -> Vec<Vec<u8>> {
    let mac = naming::OVERLAY_MAC.0;
    both(&scene.far, &scene.victim)
        .map(|(from, to)| {
            let (kind, packet) = udp(from, to, PORT, b"tunnel");
            ethernet(mac, [2, 0x6d, 0x69, 0x64, 0x6f, 3], kind, &packet)
        })
        .collect()
}

/// All drops of packets that have to do with the tunnel.
fn overlay_drops(scene: &Scene) -> u64 {
    let counters = scene.lab.status("node1").unwrap().counters;
    let about = |name: &str| name.contains("overlay") || name.contains("tunnel") || name.contains("vxlan");
    counters
        .iter()
        .filter(|counter| counter.drop && about(&counter.name))
        .map(|counter| counter.packets)
        .sum()
}

#[test]
fn a_strangers_tunnel_to_the_node_is_refused() {
    let scene = Scene::new();
    let victim = scene.listen(&scene.victim);
    let node: SocketAddr = "172.30.0.11:4789".parse().unwrap();
    for (from, vni) in [(Target::Fabric, 1), (Target::Fabric, 2), (Target::Outside, 1)] {
        let before = overlay_drops(&scene);
        let socket = scene.lab.netns(&from).unwrap().run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        // Those without a checksum are judged at the uplink, the others after the kernel's VXLAN device.
        for without_checksum in [0, 1] {
            no_checksum(&socket, without_checksum);
            for frame in tunnelled(&scene) {
                socket.send_to(&vxlan(vni, &frame), node).unwrap();
            }
        }
        testkit::wait_until(DEADLINE, &format!("VNI {vni} from {from:?} is dropped"), || {
            overlay_drops(&scene) >= before + 4
        });
    }
    assert_eq!(received(&victim), [b""; 0]);
    assert!(scene.counted("overlay_peer") > 0);
}

/// Masqueraded, it would come from the node's own address, which other nodes trust.
#[test]
fn a_pods_tunnel_to_a_nodes_port_is_refused() {
    let scene = Scene::new();
    let victims = [&scene.victim, &scene.far].map(|pod| scene.listen(pod));
    let own = mac(&scene.attacker);
    let outside = |to: IpAddr, frame: &[u8]| {
        let from = scene.attacker.addresses()[usize::from(to.is_ipv6())];
        to_gateway(own, udp(from, to, 4789, &vxlan(1, frame)))
    };
    let in_its_name: Vec<_> = both(&scene.victim, &scene.far)
        .map(|(from, to)| {
            let (kind, packet) = udp(from, to, PORT, b"in the name of a neighbour");
            ethernet(naming::OVERLAY_MAC.0, GATEWAY_MAC.0, kind, &packet)
        })
        .collect();
    // To the other node, to its own node, and to anybody else.
    for node in ["172.30.0.12", "172.30.0.11", "192.0.2.1", "2001:db8::1"] {
        let node = node.parse().unwrap();
        let frames: Vec<_> = in_its_name.iter().map(|frame| outside(node, frame)).collect();
        scene.refused("tunnel_from_pod", &frames);
    }
    // Its node's address in the Pod network is no way out: there it is a stranger's.
    let before = overlay_drops(&scene);
    let frames: Vec<_> = tunnelled(&scene);
    scene.send(&frames.iter().map(|frame| outside("10.244.1.2".parse().unwrap(), frame)).collect::<Vec<_>>());
    testkit::wait_until(DEADLINE, "all of it is dropped", || overlay_drops(&scene) >= before + 2);
    for victim in &victims {
        assert_eq!(received(victim), [b""; 0]);
    }
}

#[test]
fn damaged_frames_are_refused() {
    let scene = Scene::new();
    let victim = scene.listen(&scene.victim);
    let own = mac(&scene.attacker);
    for (from, to) in both(&scene.attacker, &scene.victim) {
        let whole = to_gateway(own, udp(from, to, PORT, b"damaged"));
        // Cut within the IP header; another version; an IPv4 header shorter than any.
        let mut frames = [15, 20, 33].map(|length| whole[..length].to_vec()).to_vec();
        let version = |byte: u8| {
            let mut frame = whole.clone();
            frame[14] = byte;
            frame
        };
        frames.push(version(0x75));
        if from.is_ipv4() {
            frames.extend([version(0x44), version(0x4f)]);
        }
        scene.refused("malformed", &frames);
    }
    assert_eq!(received(&victim), [b""; 0]);
    // Whoever sends such things is not cut off.
    ping(&scene.netns(&scene.attacker), scene.victim.addresses()[0], DEADLINE).unwrap();
}

#[test]
fn only_root_may_call_the_agent() {
    let lab = TestLab::up(1, Family::V4, &[]).unwrap();
    let node = Target::Node("node1".into());
    let sh = |line: &str| lab.output(&node, "sh", &["-c", line]).unwrap();
    let socket = "/run/midonet-kube-node/api";
    let call = format!("curl -s -m30 --http2-prior-knowledge --unix-socket {socket} http://agent/");
    let stranger = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {call}");
    assert!(sh(&call).status.success(), "root may");
    assert!(!sh(&stranger).status.success(), "the file's mode does not let strangers in");
    let refused = || {
        let page = String::from_utf8(sh("curl -sf http://127.0.0.1:9454/metrics").stdout).unwrap();
        let line = "midonet_kube_node_socket_refused_total{reason=\"not_root\"} ";
        page.lines().find_map(|l| l.strip_prefix(line)).unwrap().parse::<u64>().unwrap()
    };
    // Where somebody opened the file to all, the agent asks the kernel who it is.
    assert_eq!(refused(), 0);
    assert!(sh(&format!("chmod 755 /run/midonet-kube-node; chmod 666 {socket}")).status.success());
    assert!(!sh(&stranger).status.success(), "a stranger was served");
    testkit::wait_until(DEADLINE, "the refusal is counted", || refused() == 1);
    assert!(lab.status("node1").unwrap().agent.unwrap().ready);
}

/// Of root's rights the agent keeps four, in every thread, and none comes back (capabilities(7)).
#[test]
fn the_agent_keeps_only_the_capabilities_it_needs() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let agent = lab.state().unwrap().node("node1").unwrap().agent.unwrap();
    // CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF.
    let needed: u64 = [12, 21, 38, 39].iter().map(|bit| 1 << bit).sum();
    let threads = std::fs::read_dir(format!("/proc/{}/task", agent.pid)).unwrap();
    let mut count = 0;
    for thread in threads {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let value =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
        let bits = |key| u64::from_str_radix(&value(key), 16).unwrap();
        assert_eq!(["CapPrm:", "CapEff:", "CapBnd:"].map(bits), [needed; 3]);
        assert_eq!(["CapInh:", "CapAmb:"].map(bits), [0; 2]);
        assert_eq!(value("NoNewPrivs:"), "1");
        count += 1;
    }
    assert!(count > 3, "{count} threads");
}
