//! What a packet costs: runs each common path many times and prints nanoseconds per packet.
//!
//! `cargo run --release -p datapath --example cost`, as root. The kernel runs the program alone, with
//! warm caches: compare figures of one run with each other, not with those of another machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a measurement that cannot go on stops"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use datapath::{Datapath, NodeConfig, Port, Role};
use support::packet::{Ip, ethernet, tcp};
use support::{GATEWAY_MAC, Node, families, options, sandbox};

/// A packet is changed in place from one run to the next, and its hop limit is used up.
const REPEAT: u32 = 250;
const ROUNDS: usize = 2000;

fn main() {
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let start = Instant::now();
        drop(Datapath::open(&options(bpffs)).unwrap());
        println!("opening with maps to adopt: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
        // With one MAC for everybody, what is sent on looks as it came in, and can be run again.
        let config = NodeConfig { overlay_mac: GATEWAY_MAC, node_mac: GATEWAY_MAC, ..node.config.clone() };
        node.datapath.set_config(&config).unwrap();
        for (ifindex, addresses) in [(node.a, families().map(|f| f.a)), (node.b, families().map(|f| f.b))] {
            let port = Port { ifindex, mac: GATEWAY_MAC, addresses: addresses.to_vec(), role: Role::Pod };
            node.datapath.bind(&port).unwrap();
        }
        let program = node.program("from_endpoint");
        println!("{:<32} {:>8} {:>8}", "nanoseconds per packet", "minimum", "median");
        let print = |name: String, frame: &[u8]| {
            let (least, median) = measure(&program, node.a, frame);
            println!("{name:<32} {least:>8} {median:>8}");
        };
        print("no IP: dropped at once".to_owned(), &ethernet(GATEWAY_MAC, GATEWAY_MAC, 0x88cc, &[0; 64]));
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
                print(format!("{version} {name}"), &packet.frame(GATEWAY_MAC, GATEWAY_MAC));
            }
        }
    });
}

/// The least and the median of the rounds' means.
fn measure(program: &SchedClassifier, ifindex: u32, frame: &[u8]) -> (u128, u128) {
    let mut context = [0u8; 192]; // struct __sk_buff
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    let round = || {
        let run = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() };
        program.test_run(TestRunOptions { repeat: REPEAT, ..run }).unwrap().duration.as_nanos()
    };
    let mut times: Vec<_> = (0..ROUNDS).map(|_| round()).collect();
    times.sort_unstable();
    (times[0], times[ROUNDS / 2])
}
