//! What a packet costs: the kernel runs a program alone on one packet, many times, with warm caches.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use datapath::{Limits, NodeConfig, Port, Role};

use super::{GATEWAY_MAC, Node, families};
use testkit::packet::{Ip, ethernet, tcp, udp};

/// Runs of one measurement. A packet is changed in place from one to the next, and its hop limit is
/// used up.
const REPEAT: u32 = 250;

/// One path of a packet.
pub struct Cost {
    pub path: String,
    /// Nanoseconds per packet, one a round.
    pub nanoseconds: Vec<f64>,
}

/// The path that does nothing: what the measuring itself costs.
pub const EMPTY: &str = "empty program";

/// Measures every path once a round, one after the other.
pub fn costs(bpffs: &Path, rounds: usize) -> Vec<Cost> {
    let mut node = Node::new(bpffs);
    // With one MAC for everybody, what is sent on looks as it came in, and can be run again.
    let config = NodeConfig { overlay_mac: GATEWAY_MAC, node_mac: GATEWAY_MAC, ..node.config.clone() };
    node.datapath.set_config(&config).unwrap();
    for (ifindex, addresses) in [(node.a, families().map(|f| f.a)), (node.b, families().map(|f| f.b))] {
        let port = Port {
            ifindex,
            mac: GATEWAY_MAC,
            addresses: addresses.to_vec(),
            role: Role::Pod,
            limits: Limits::default(),
        };
        node.datapath.bind(&port).unwrap();
    }
    let (program, empty) = (node.program("from_endpoint"), empty(bpffs));
    let no_ip = ethernet(GATEWAY_MAC, GATEWAY_MAC, 0x88cc, &[0; 64]);
    let mut paths: Vec<(String, &SchedClassifier, Vec<u8>)> = vec![
        (EMPTY.to_owned(), &empty, no_ip.clone()),
        ("no IP: dropped at once".to_owned(), &program, no_ip),
    ];
    for f in families() {
        let version = if f.a.is_ipv6() { "IPv6" } else { "IPv4" };
        for (name, source, destination) in [
            ("forged source: dropped", f.missing, f.b),
            ("Pod to Pod", f.a, f.b),
            ("Pod to another node's Pod", f.a, f.remote),
            ("Pod to its node", f.a, f.node),
            ("Pod out of the cluster", f.a, f.external),
        ] {
            let packet = Ip { hops: 255, ..tcp(source, destination, &[0; 64]) };
            paths.push((format!("{version} {name}"), &program, packet.frame(GATEWAY_MAC, GATEWAY_MAC)));
        }
    }
    let mut costs: Vec<Cost> =
        paths.iter().map(|(path, ..)| Cost { path: path.clone(), nanoseconds: vec![] }).collect();
    for _ in 0..rounds {
        for (cost, (_, program, frame)) in costs.iter_mut().zip(&paths) {
            cost.nanoseconds.push(once(program, node.a, frame));
        }
    }
    // The same once the node's stack has forwarded anything between Pods: there are flows to look up.
    let between_pods =
        |path: &&(String, _, _)| path.0.contains("Pod to Pod") || path.0.contains("node's Pod");
    let paths: Vec<_> = paths.iter().filter(between_pods).collect();
    for f in families() {
        let packet = udp(f.a, f.b, b"forwarded").frame(GATEWAY_MAC, GATEWAY_MAC);
        once(&program, node.config.mido_ifindex, &packet);
    }
    let mut looked_up: Vec<Cost> =
        paths.iter().map(|(path, ..)| Cost { path: format!("{path}, flows"), nanoseconds: vec![] }).collect();
    for _ in 0..rounds {
        for (cost, (_, program, frame)) in looked_up.iter_mut().zip(&paths) {
            cost.nanoseconds.push(once(program, node.a, frame));
        }
    }
    costs.extend(looked_up);
    costs
}

fn once(program: &SchedClassifier, ifindex: u32, frame: &[u8]) -> f64 {
    let mut context = [0u8; 192]; // struct __sk_buff
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    let run = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() };
    let result = program.test_run(TestRunOptions { repeat: REPEAT, ..run }).unwrap();
    result.duration.as_secs_f64() * 1e9
}

/// `return 0`, written out: no source is needed for that.
fn empty(bpffs: &Path) -> SchedClassifier {
    const PROG_LOAD: libc::c_int = 5;
    const OBJ_PIN: libc::c_int = 6;
    const SCHED_CLS: u32 = 3;
    /// `r0 = 0; exit`
    const CODE: [u64; 2] = [0xb7, 0x95];

    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        code: *const u64,
        license: *const libc::c_char,
    }

    #[repr(C)]
    struct Pin {
        path: *const libc::c_char,
        fd: i32,
        flags: u32,
    }

    fn bpf<T>(command: libc::c_int, attributes: &T) -> i32 {
        // SAFETY: the beginning of the kernel's union for this command, and its length.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
        assert!(result >= 0, "bpf({command}): {}", io::Error::last_os_error());
        result as i32
    }

    let load = Load { kind: SCHED_CLS, count: 2, code: CODE.as_ptr(), license: c"GPL".as_ptr() };
    // SAFETY: the kernel just gave us this descriptor, nobody else has it.
    let program = unsafe { OwnedFd::from_raw_fd(bpf(PROG_LOAD, &load)) };
    let path = bpffs.join("empty");
    let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    bpf(OBJ_PIN, &Pin { path: text.as_ptr(), fd: File::from(program).as_raw_fd(), flags: 0 });
    SchedClassifier::from_pin(path).unwrap()
}
