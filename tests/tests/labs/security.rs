//! Attacks: each is refused, and counted with its reason. The datapath's own tests forge every field in turn
//! (`datapath/tests/programs/{decisions,neighbours,overlay,uplink,mutations}.rs`); these use real sockets and the real agent,
//! with a victim that must not notice.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use e2e::{DEADLINE, TestLab};
use lab::probe::ping;
use lab::{Family, Pod, Target};
use naming::GATEWAY_MAC;
use plumbing::NetNs;
use testkit::packet::{self, Ip, arp, ethernet, link_layer_option, neighbour, udp_to, vxlan};

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
        self.netns(&self.attacker).run(|| packet::send("eth0", frames)).unwrap();
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

fn mac(pod: &Pod) -> [u8; 6] {
    pod.mac.unwrap().0
}

/// A frame to the gateway, as a Pod sends all of its own.
fn to_gateway(from: [u8; 6], packet: &Ip) -> Vec<u8> {
    packet.frame(GATEWAY_MAC.0, from)
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
fn valid_frames_arrive() {
    let scene = Scene::new();
    let victim = scene.listen(&scene.victim);
    let own = mac(&scene.attacker);
    let frames: Vec<_> = both(&scene.attacker, &scene.victim)
        .map(|(from, to)| to_gateway(own, &udp_to(from, to, PORT, b"valid")))
        .collect();
    scene.send(&frames);
    let mut arrived = Vec::new();
    testkit::wait_until(DEADLINE, "valid frames arrive: else the other tests would prove nothing", || {
        arrived.extend(received(&victim));
        arrived.len() >= frames.len()
    });
    assert_eq!(arrived, [b"valid", b"valid"]);
}

#[test]
fn a_spoofed_source_mac_is_refused() {
    let scene = Scene::new();
    let victim = scene.listen(&scene.victim);
    for forged in [mac(&scene.victim), GATEWAY_MAC.0, [2, 0, 0, 0, 0, 9]] {
        let frames: Vec<_> = both(&scene.attacker, &scene.victim)
            .map(|(from, to)| to_gateway(forged, &udp_to(from, to, PORT, b"forged")))
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
        // The address of a Pod of this node, of a Pod of another, of no Pod, of an outside host, of the node.
        (&scene.victim, scene.far.addresses()),
        (&scene.far, scene.victim.addresses()),
        (&scene.victim, ["10.244.1.77", "fd44:0:0:1::77"].map(|text| text.parse().unwrap()).to_vec()),
        (&scene.victim, ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap()).to_vec()),
        (&scene.victim, ["10.244.1.2", "fd44:0:0:1::2"].map(|text| text.parse().unwrap()).to_vec()),
    ] {
        let frames: Vec<_> = forged
            .into_iter()
            .zip(target.addresses())
            .map(|(from, to)| to_gateway(own, &udp_to(from, to, PORT, b"forged")))
            .collect();
        scene.refused("source_ip", &frames);
    }
    assert_eq!((received(&near), received(&far)), (vec![], vec![]));
}

#[test]
fn forged_arp_is_refused() {
    let scene = Scene::new();
    let own = mac(&scene.attacker);
    let broadcast = [0xff; 6];
    let [attacker, victim] = [&scene.attacker, &scene.victim].map(|pod| pod.addresses()[0]);
    let gateway: IpAddr = "10.244.1.1".parse().unwrap();
    let neighbours = || {
        let at = Target::Pod(scene.victim.key.clone());
        scene.lab.stdout(&at, "ip", &["-4", "neigh"]).unwrap()
    };
    ping(&scene.netns(&scene.victim), scene.far.addresses()[0], DEADLINE).unwrap();
    // A question in the victim's name; one with another MAC in it than the frame's.
    let questions =
        [arp(1, own, victim, [0; 6], gateway), arp(1, mac(&scene.victim), attacker, [0; 6], gateway)]
            .map(|packet| ethernet(broadcast, own, 0x0806, &packet));
    scene.refused("arp_forged", &questions);
    // "I am the gateway", to all and to the victim.
    let answers = [broadcast, mac(&scene.victim), GATEWAY_MAC.0]
        .map(|to| ethernet(to, own, 0x0806, &arp(2, own, gateway, mac(&scene.victim), victim)));
    let drops =
        || scene.counted("arp_forged") + scene.counted("arp_other") + scene.counted("destination_mac");
    let before = drops();
    scene.send(&answers);
    testkit::wait_until(DEADLINE, "the answers are dropped", || drops() >= before + 3);
    assert!(neighbours().contains(&GATEWAY_MAC.to_string()), "{}", neighbours());
}

#[test]
fn forged_neighbour_discovery_is_refused() {
    let scene = Scene::new();
    let own = mac(&scene.attacker);
    let gateway: IpAddr = "fd44:0:0:1::1".parse().unwrap();
    let [mine, victims, far] = [&scene.attacker, &scene.victim, &scene.far].map(|pod| pod.addresses()[1]);
    ping(&scene.netns(&scene.victim), far, DEADLINE).unwrap();
    let solicitation = |from: IpAddr, link: [u8; 6]| {
        to_gateway(own, &neighbour(135, 0, from, gateway, gateway, &link_layer_option(1, link)))
    };
    let forged = [solicitation(mine, mac(&scene.victim)), solicitation(victims, own)];
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
    // The flag "override".
    let advertised = neighbour(136, 0x2000_0000, mine, victims, gateway, &link_layer_option(2, own));
    scene.send(&[to_gateway(own, &advertised), advertised.frame(mac(&scene.victim), own)]);
    testkit::wait_until(DEADLINE, "the advertisements are dropped", || drops() >= before + 2);
    let at = Target::Pod(scene.victim.key.clone());
    let neighbours = scene.lab.stdout(&at, "ip", &["-6", "neigh"]).unwrap();
    assert!(!neighbours.contains(&scene.attacker.mac.unwrap().to_string()), "{neighbours}");
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
        .map(|(from, to)| udp_to(from, to, PORT, b"tunnel").frame(mac, [2, 0x6d, 0x69, 0x64, 0x6f, 3]))
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
fn a_tunnel_from_an_unauthorized_peer_is_refused() {
    let scene = Scene::new();
    let victim = scene.listen(&scene.victim);
    let node: SocketAddr = "172.30.0.11:4789".parse().unwrap();
    for (from, vni) in [(Target::Fabric, 1), (Target::Fabric, 2), (Target::Outside, 1)] {
        let before = overlay_drops(&scene);
        let socket = scene.lab.netns(&from).unwrap().run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        // Packets without a checksum are handled at the uplink, the others behind the kernel's VXLAN device.
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
        to_gateway(own, &udp_to(from, to, 4789, &vxlan(1, frame)))
    };
    let in_its_name: Vec<_> = both(&scene.victim, &scene.far)
        .map(|(from, to)| {
            udp_to(from, to, PORT, b"in the name of a neighbour").frame(naming::OVERLAY_MAC.0, GATEWAY_MAC.0)
        })
        .collect();
    // To the other node, to its own node, and to anybody else.
    for node in ["172.30.0.12", "172.30.0.11", "192.0.2.1", "2001:db8::1"] {
        let node = node.parse().unwrap();
        let frames: Vec<_> = in_its_name.iter().map(|frame| outside(node, frame)).collect();
        scene.refused("tunnel_from_pod", &frames);
    }
    // Its node's address in the Pod network leads out of no tunnel: there it is that of an unauthorized peer.
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
        let whole = to_gateway(own, &udp_to(from, to, PORT, b"damaged"));
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
    // The sender is not cut off.
    ping(&scene.netns(&scene.attacker), scene.victim.addresses()[0], DEADLINE).unwrap();
}

#[test]
fn only_root_may_call_the_agent() {
    let lab = TestLab::up(1, Family::V4, &[]).unwrap();
    let node = Target::Node("node1".into());
    let sh = |line: &str| lab.output(&node, "sh", &["-c", line]).unwrap();
    let socket = "/run/midonet-kube-node/api";
    let call = format!("curl -s -m30 --http2-prior-knowledge --unix-socket {socket} http://agent/");
    let unauthorized = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {call}");
    assert!(sh(&call).status.success(), "root may");
    assert!(!sh(&unauthorized).status.success(), "the file's mode admits root alone");
    let refused = || {
        let page = String::from_utf8(sh("curl -sf http://127.0.0.1:9454/metrics").stdout).unwrap();
        let line = "midonet_kube_node_socket_refused_total{reason=\"not_root\"} ";
        page.lines().find_map(|l| l.strip_prefix(line)).unwrap().parse::<u64>().unwrap()
    };
    // Where the file is open to all, the agent asks the kernel for the peer's credentials.
    assert_eq!(refused(), 0);
    let open = format!("chmod 755 /run/midonet-kube-node; chmod 666 {socket}");
    // The agent may have the modes put back before the call.
    let mut calls = 0;
    testkit::wait_until(DEADLINE, "the refusal is counted", || {
        calls += 1;
        assert!(sh(&open).status.success());
        assert!(!sh(&unauthorized).status.success(), "an unauthorized peer was served");
        (1..=calls).contains(&refused())
    });
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
