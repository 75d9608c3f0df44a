//! UDP segmentation offload, as QUIC uses it: the kernel hands several datagrams on as one packet. They arrive one by one,
//! whatever the nodes' tunnels and their uplinks' offloads are.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::{Family, Pod, Target};

/// Bytes of a datagram, and how many of them are one packet.
const SIZE: usize = 1100;
const COUNT: usize = 10;

/// Until all datagrams of one packet arrived whole and in order: one may be lost, all never.
fn datagrams_arrive(lab: &TestLab, from: &Target, to: &Target, address: IpAddr, when: &str) {
    let receiver = lab.netns(to).unwrap().run(|| UdpSocket::bind((address, 0)).unwrap()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let target: SocketAddr = receiver.local_addr().unwrap();
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let sender = lab.netns(from).unwrap().run(|| UdpSocket::bind((any, 0)).unwrap()).unwrap();
    let size = libc::c_int::try_from(SIZE).unwrap();
    // SAFETY: the pointer and the length are those of one integer that outlives the call.
    let set = unsafe {
        let (value, length) =
            ((&raw const size).cast(), libc::socklen_t::try_from(size_of_val(&size)).unwrap());
        libc::setsockopt(sender.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, length)
    };
    assert_eq!(set, 0, "UDP_SEGMENT: {}", std::io::Error::last_os_error());
    let (end, mut best) = (Instant::now() + DEADLINE, 0);
    for round in (0..=u8::MAX).step_by(COUNT).cycle() {
        let packet: Vec<u8> =
            (0..COUNT).flat_map(|n| [round.wrapping_add(u8::try_from(n).unwrap()); SIZE]).collect();
        sender.send_to(&packet, target).unwrap();
        let mut buffer = [0; 65_536];
        let mut arrived = 0;
        while arrived < COUNT {
            let Ok(length) = receiver.recv(&mut buffer) else { break };
            let want = round.wrapping_add(u8::try_from(arrived).unwrap());
            if buffer[..length].first() != Some(&want) {
                continue; // of a round before
            }
            assert_eq!(length, SIZE, "{when}: {from:?} to {address}");
            assert!(buffer[..length].iter().all(|byte| *byte == want), "{when}: a damaged datagram");
            arrived += 1;
        }
        best = best.max(arrived);
        if best == COUNT {
            return;
        }
        assert!(Instant::now() < end, "{when}: {from:?} to {address}: {best} of {COUNT} datagrams arrive");
    }
}

struct Scene {
    lab: TestLab,
    a: Pod,
    beside: Pod,
    far: Pod,
}

impl Scene {
    fn new(agent_args: &[&str]) -> Self {
        let lab = TestLab::up(2, Family::Dual, agent_args).unwrap();
        let add = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
        let (a, beside, far) = (add("node1", "a"), add("node1", "beside"), add("node2", "far"));
        Self { lab, a, beside, far }
    }

    fn works(&self, when: &str) {
        for (from, to) in [
            (pod(&self.a), &self.beside),
            (pod(&self.a), &self.far),
            (pod(&self.far), &self.a),
            (node1(), &self.far),
        ] {
            for address in to.addresses() {
                datagrams_arrive(&self.lab, &from, &pod(to), address, when);
            }
        }
    }
}

#[test]
fn datagrams_arrive_with_every_offload_of_the_uplink() {
    for args in [&[][..], &["--encapsulation=device"]] {
        let scene = Scene::new(args);
        scene.works("at first");
        for settings in [
            "tx-udp_tnl-segmentation off",
            "gro on rx-udp-gro-forwarding on",
            "tx-udp_tnl-segmentation off rx-udp-gro-forwarding on gro on",
            "rx-udp-gro-forwarding off rx-gro-list on",
            "gso off gro off tso off rx-gro-list off",
            "tx-udp-segmentation off",
        ] {
            for node in ["node1", "node2"] {
                // What this uplink has not, it cannot be told.
                sh(&scene.lab, &Target::Node(node.into()), &format!("ethtool -K eth0 {settings} || true"));
            }
            scene.works(settings);
        }
    }
}

/// An agent that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn datagrams_arrive_between_nodes_with_different_tunnels() {
    let scene = Scene::new(&[]);
    scene.lab.stop_agent("node2").unwrap();
    let cidrs: Vec<_> = scene.lab.state().unwrap().cluster_cidrs.iter().map(ToString::to_string).collect();
    let mut command = Command::new(e2e::programs().join("midonet-kube-node"));
    command.args(["--node-name", "node2", "--cluster-cidr", &cidrs.join(","), "--encapsulation", "device"]);
    command.arg("--manifests").arg(scene.lab.manifests());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _agent = Running(scene.lab.enter(&Target::Node("node2".into()), &mut command).unwrap());
    testkit::wait_until(DEADLINE, "node2 uses the device", || {
        let status = scene.lab.status("node2");
        status.is_ok_and(|status| status.network.is_some_and(|network| network.encapsulation == "device"))
    });
    scene.works("one node by the device, one directly");
}
