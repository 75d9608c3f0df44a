//! Nothing is lost, whoever is killed. That an agent's death and return leave Pods' addresses, MACs and
//! ports as they were is tested in `lab.rs`; migration of maps in `datapath/tests/programs/migration.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::chaos::{kill_and_restart, replace_build, replace_maps};
use e2e::{DEADLINE, TestLab};
use lab::{Family, Lab, Pod, Target};
use naming::PodKey;
use testkit::Random;

/// Numbered packets there and back, at a steady pace, until told to stop.
struct Stream {
    name: String,
    sent: AtomicU64,
    answers: std::sync::Mutex<BTreeSet<u64>>,
}

/// The number of the packets that are sent until one is answered; they are not counted.
const FIRST: u64 = u64::MAX;

impl Stream {
    fn new(name: String) -> Self {
        Self { name, sent: AtomicU64::new(0), answers: std::sync::Mutex::default() }
    }

    fn lost(&self) -> Vec<u64> {
        let answers = self.answers.lock().unwrap();
        (0..self.sent.load(Ordering::Relaxed)).filter(|number| !answers.contains(number)).collect()
    }

    /// Sends a packet at each tick, once the path carries any; receives on the side, and after the last until there
    /// is every answer.
    fn run(
        &self,
        pause: Duration,
        stop: &AtomicBool,
        send: impl Fn(u64) + Sync,
        receive: impl Fn() -> Option<u64> + Sync,
    ) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Some(number) = receive() {
                        self.answers.lock().unwrap().insert(number);
                    }
                }
            });
            // The kernel activates a new veth pair's transmit queue some time after its carrier: until then it drops
            // what the Pod sends.
            let until = Instant::now() + DEADLINE;
            while !self.answers.lock().unwrap().contains(&FIRST) && Instant::now() < until {
                send(FIRST);
                thread::sleep(Duration::from_millis(20));
            }
            let start = Instant::now();
            let mut next = start;
            while !stop.load(Ordering::Relaxed) {
                send(self.sent.fetch_add(1, Ordering::Relaxed));
                next += pause;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            let until = Instant::now() + DEADLINE;
            while Instant::now() < until && !self.lost().is_empty() {
                thread::sleep(Duration::from_millis(20));
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

/// What packets a socket may hold while a thread of this test waits for a CPU.
const BUFFER: usize = 16 << 20;

fn patient(socket: &socket2::Socket) {
    socket.set_recv_buffer_size(BUFFER).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
}

fn udp(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap();
    patient(&socket2::SockRef::from(&socket).try_clone().unwrap());
    socket
}

fn udp_stream(lab: &Lab, from: &Pod, to: &Pod, address: IpAddr, stream: &Stream, stop: &AtomicBool) {
    let inside = |pod: &Pod, at: IpAddr| {
        let netns = lab.netns(&Target::Pod(pod.key.clone())).unwrap();
        netns.run(|| udp((at, 0).into())).unwrap()
    };
    let server = inside(to, address);
    let own = from.addresses().into_iter().find(|own| own.is_ipv4() == address.is_ipv4()).unwrap();
    let client = inside(from, own);
    client.connect(server.local_addr().unwrap()).unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 64];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((length, peer)) = server.recv_from(&mut buffer) {
                    server.send_to(&buffer[..length], peer).unwrap();
                }
            }
        });
        let receive = || {
            let mut buffer = [0; 8];
            (client.recv(&mut buffer).ok()? == 8).then(|| u64::from_be_bytes(buffer))
        };
        let send = |number: u64| {
            client.send(&number.to_be_bytes()).unwrap();
        };
        stream.run(Duration::from_millis(1), stop, send, receive);
        ended.store(true, Ordering::Relaxed);
    });
}

/// Echo requests; the Pod's own kernel answers.
fn icmp_stream(lab: &Lab, from: &Pod, address: IpAddr, stream: &Stream, stop: &AtomicBool) {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (socket2::Domain::IPV4, socket2::Protocol::ICMPV4),
        IpAddr::V6(_) => (socket2::Domain::IPV6, socket2::Protocol::ICMPV6),
    };
    let netns = lab.netns(&Target::Pod(from.key.clone())).unwrap();
    // A "ping socket": the kernel fills in the checksum and gives each socket its own answers.
    let socket = netns
        .run(|| {
            let _allowed = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
            socket2::Socket::new(domain, socket2::Type::DGRAM, Some(protocol))
        })
        .unwrap()
        .unwrap();
    patient(&socket);
    socket.connect(&SocketAddr::new(address, 0).into()).unwrap();
    let kind = if address.is_ipv4() { 8 } else { 128 };
    let send = |number: u64| {
        let mut packet = vec![kind, 0, 0, 0, 0, 0];
        packet.extend(u16::try_from(number % 65536).unwrap().to_be_bytes());
        packet.extend(number.to_be_bytes());
        socket.send(&packet).unwrap();
    };
    let receive = || {
        let mut buffer = [0; 64];
        let length = (&socket).read(&mut buffer).ok()?;
        let number = buffer.get(8..16).filter(|_| length == 16)?;
        Some(u64::from_be_bytes(number.try_into().unwrap()))
    };
    stream.run(Duration::from_millis(5), stop, send, receive);
}

/// One connection that carries counting bytes all the time: how many arrived, in order.
fn tcp_stream(lab: &Lab, from: &Pod, to: &Pod, address: IpAddr, stop: &AtomicBool) -> u64 {
    let netns = |pod: &Pod| lab.netns(&Target::Pod(pod.key.clone())).unwrap();
    let listener = netns(to).run(|| TcpListener::bind((address, 0))).unwrap().unwrap();
    let at = listener.local_addr().unwrap();
    let mut sender = netns(from).run(|| TcpStream::connect_timeout(&at, DEADLINE)).unwrap().unwrap();
    let mut receiver = listener.accept().unwrap().0;
    receiver.set_read_timeout(Some(DEADLINE)).unwrap();
    sender.set_write_timeout(Some(DEADLINE)).unwrap();
    thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            let (mut buffer, mut arrived) = (vec![0; 64 * 1024], 0u64);
            loop {
                match receiver.read(&mut buffer) {
                    Ok(0) => return arrived,
                    Ok(length) => {
                        for byte in &buffer[..length] {
                            assert_eq!(u64::from(*byte), arrived % 251, "byte {arrived}");
                            arrived += 1;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => panic!("the connection broke after {arrived} bytes: {error}"),
                }
            }
        });
        let mut sent = 0u64;
        while !stop.load(Ordering::Relaxed) {
            let block: Vec<u8> = (sent..sent + 8192).map(|at| u8::try_from(at % 251).unwrap()).collect();
            sender.write_all(&block).unwrap();
            sent += 8192;
            thread::sleep(Duration::from_millis(4));
        }
        drop(sender);
        let arrived = receiving.join().unwrap();
        assert_eq!(arrived, sent);
        arrived
    })
}

#[test]
fn no_probe_is_lost_while_agents_are_killed_and_replaced() {
    no_probe_is_lost(&[], &[replace_build, |programs| replace_maps(programs, "--max-pods 2000")]);
}

#[test]
fn no_probe_is_lost_without_tcx() {
    no_probe_is_lost(
        &["--hook", "clsact"],
        &[replace_build, |programs| replace_maps(programs, "--max-pods 2000")],
    );
}

fn no_probe_is_lost(agent_args: &[&str], replacements: &[fn(&Path)]) {
    let programs = testkit::copies(&["midonet-kube-node", "midonet-kube-cni"]);
    // An upgrade from another build's agent, if there is one to test with.
    if let Some(before) = std::env::var_os("MIDOKUBE_AGENT_BEFORE") {
        testkit::copy_program(before.as_ref(), &programs.path().join("midonet-kube-node"));
    }
    let lab = TestLab::with_programs(2, Family::Dual, agent_args, programs.path()).unwrap();
    let add = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
    let (from, near, far) = (add("node1", "from"), add("node1", "near"), add("node2", "far"));
    let [near4, near6] = near.addresses()[..] else { panic!("two addresses") };
    let [far4, far6] = far.addresses()[..] else { panic!("two addresses") };
    let stop = AtomicBool::new(false);
    let named = |what: &str, address: IpAddr| Stream::new(format!("{what} to {address}"));
    let icmp = [near4, far6].map(|address| (address, named("ICMP", address)));
    let udp = [(&near, near6), (&far, far4)].map(|(to, address)| (to, address, named("UDP", address)));
    thread::scope(|scope| {
        let (test_lab, from, stop) = (&lab, &from, &stop);
        let lab: &Lab = test_lab;
        for (address, stream) in &icmp {
            scope.spawn(move || icmp_stream(lab, from, *address, stream, stop));
        }
        for (to, address, stream) in &udp {
            scope.spawn(move || udp_stream(lab, from, to, *address, stream, stop));
        }
        let tcp = [(&near, near4), (&far, far6)]
            .map(|(to, address)| scope.spawn(move || tcp_stream(lab, from, to, address, stop)));
        let chaos = scope.spawn(move || {
            let mut random = Random::new(0);
            for round in 0..10 {
                thread::sleep(Duration::from_millis(300 + random.below(400)));
                kill_and_restart(lab, if round % 2 == 0 { "node1" } else { "node2" }, &mut random).unwrap();
            }
            for replace in replacements {
                replace(programs.path());
                for node in ["node1", "node2"] {
                    lab.restart_agent(node).unwrap();
                    thread::sleep(Duration::from_millis(300));
                }
            }
            for node in ["node1", "node2"] {
                let pins =
                    "cd /sys/fs/bpf/midonet-kube; ls new maps | wc -l; bpftool map show pinned maps/ports-v1";
                // Two names of directories, an empty line between them, and 28 maps; once the last agent is done.
                testkit::wait_until(
                    Duration::from_secs(60),
                    "the last agent's maps are the only ones",
                    || {
                        let shown = test_lab.stdout(&Target::Node(node.into()), "sh", &["-c", pins]).unwrap();
                        shown.starts_with("31\n") && shown.contains("max_entries 2001")
                    },
                );
            }
            thread::sleep(Duration::from_millis(300));
        });
        let chaos = chaos.join();
        stop.store(true, Ordering::Relaxed);
        for stream in tcp {
            assert!(stream.join().unwrap() > 1_000_000);
        }
        chaos.unwrap();
    });
    for stream in icmp.iter().map(|(_, stream)| stream).chain(udp.iter().map(|(_, _, stream)| stream)) {
        let sent = stream.sent.load(Ordering::Relaxed);
        eprintln!("{}: {sent} sent", stream.name);
        assert!(sent > 500, "{}: only {sent} sent", stream.name);
        assert_eq!(stream.lost(), [0u64; 0], "{} of {sent}", stream.name);
    }
}

/// The plugins of this test that run now: children of this very process with Pods of that namespace.
fn plugins(namespace: &str) -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<i32> = lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    let words = format!("K8S_POD_NAMESPACE={namespace};");
    let is_plugin = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&words)
    };
    children.into_iter().filter(is_plugin).collect()
}

/// Kills a child that was not waited for; the process's descriptor keeps its number from being another's.
fn kill(pid: i32, namespace: &str) -> bool {
    // SAFETY: plain integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return false;
    }
    let fd = i32::try_from(fd).unwrap();
    let still = plugins(namespace).contains(&pid);
    // SAFETY: plain integers and a null pointer; the descriptor is ours.
    unsafe {
        let info = std::ptr::null::<libc::siginfo_t>();
        let sent = still && libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, info, 0) == 0;
        libc::close(fd);
        sent
    }
}

const PODS: u64 = 500;
const AT_ONCE: u64 = 20;
const NAMESPACE: &str = "chaos";

/// Adds a Pod and deletes it as kubelet does: DEL until it succeeds. Whether ADD did.
fn add_and_delete(lab: &Lab, name: &str) -> bool {
    let added = lab.add_pod("node1", NAMESPACE, name);
    let key = PodKey::new(NAMESPACE, name);
    let until = Instant::now() + Duration::from_secs(60);
    while lab.state().unwrap().pods.iter().any(|pod| pod.key == key) {
        let deleted = lab.delete_pod(&key);
        assert!(Instant::now() < until, "{deleted:?}");
    }
    added.is_ok()
}

#[test]
fn five_hundred_pods_come_and_go_while_everybody_is_killed_and_nothing_is_leaked() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let node = Target::Node("node1".into());
    let sh = |line: &str| lab.stdout(&node, "sh", &["-c", line]).unwrap();
    let everything = || {
        let map = |name: &str| {
            let dump =
                sh(&format!("bpftool -j map dump pinned $(ls /sys/fs/bpf/midonet-kube/maps/{name}-v*)"));
            dump.matches("\"key\"").count()
        };
        (
            sh("ls /sys/class/net"),
            sh("ls /sys/fs/bpf/midonet-kube/* /etc/cni/net.d /run/midonet-kube-node /run/netns"),
            sh("find /var/lib/cni/networks -name '[0-9f]*[.:]*'"),
            [map("endpoints"), map("ports"), map("routes")],
            lab.status("node1").unwrap().ports.len(),
        )
    };
    // One Pod came and went already: its network's directories are there.
    assert!(add_and_delete(&lab, "first"));
    let dead = || sh("grep -lx '702[12]' /sys/class/net/*/netdev_group || true");
    testkit::wait_until(DEADLINE, "the first Pod is gone", || dead().is_empty());
    let before = everything();
    let (next, added, killed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= PODS {
                            return;
                        }
                        if add_and_delete(&lab, &format!("p{number}")) {
                            added.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        let plugins = scope.spawn(|| {
            let mut random = Random::new(0);
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(random.below(100)));
                // By Pods, not by time: on a busy machine every plugin would live long enough to be killed.
                if killed.load(Ordering::Relaxed) * 4 > next.load(Ordering::Relaxed) {
                    continue;
                }
                let running = plugins(NAMESPACE);
                let Ok(most) = u64::try_from(running.len()) else { continue };
                if most > 0 && kill(running[usize::try_from(random.below(most)).unwrap()], NAMESPACE) {
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let agents = scope.spawn(|| {
            let mut random = Random::new(1);
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(700 + random.below(1500)));
                kill_and_restart(&lab, "node1", &mut random).unwrap();
            }
        });
        let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        plugins.join().unwrap();
        agents.join().unwrap();
        ended.into_iter().for_each(|worker| worker.unwrap());
    });
    let [added, killed] = [added, killed].map(AtomicU64::into_inner);
    eprintln!("{PODS} Pods in {:?}: {added} added, {killed} plugins killed", start.elapsed());
    assert!(added > PODS / 4 && killed > 20, "{added} added, {killed} killed");
    let mut after = everything();
    let until = Instant::now() + DEADLINE;
    while after != before && Instant::now() < until {
        thread::sleep(Duration::from_millis(100));
        after = everything();
    }
    assert_eq!(after, before);
    assert!(add_and_delete(&lab, "last"));
}
