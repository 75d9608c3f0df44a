//! What it takes to serve many Services: writes 10,000 of 10 backends each into the maps, takes them over, changes one at a
//! time, and builds the table of one with 5,000 backends. Times are of this thread's CPU, so that a busy machine counts
//! less.
//!
//! `cargo run --release -p datapath --example services`, as root. Compare figures of one run with each other, not with
//! those of another machine.

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

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use datapath::{
    Backend, Datapath, Family, Frontend, FrontendKind, Options, Policy, Protocol, ServicePort, ServicePortKey,
};

const SERVICES: u32 = 10_000;
const BACKENDS: u32 = 10;
const CHANGES: u32 = 1_000;

fn main() {
    support::sandbox(|bpffs| {
        let options = Options { max_services: 65_536, max_backends: 262_144, ..support::options(bpffs) };
        let rows: Vec<_> = (0..SERVICES).map(|n| (key(n), row(n, BACKENDS))).collect();
        let of = |rows: &[(ServicePortKey, ServicePort)], datapath: &mut Datapath| {
            let begun = Cpu::now();
            for slice in rows.chunks(256) {
                let failed = datapath.services().set_all(slice.iter().map(|(key, row)| (key, row)));
                assert!(failed.is_empty(), "{failed:?}");
            }
            begun.elapsed()
        };
        let mut datapath = Datapath::open(&options).unwrap();
        print("first write of all", of(&rows, &mut datapath));
        print("the same again", of(&rows, &mut datapath));
        let begun = Cpu::now();
        let whole = rows.iter().all(|(key, _)| datapath.services().is_whole(key).unwrap());
        assert!(whole);
        print("comparing all with the maps", begun.elapsed());
        drop(datapath);
        let begun = Cpu::now();
        let mut datapath = Datapath::open(&options).unwrap();
        print("opening what another left", begun.elapsed());
        print("taking all over", of(&rows, &mut datapath));
        drop(datapath.services().prune().unwrap());

        let mut times: Vec<_> = (0..CHANGES)
            .map(|n| {
                let begun = Cpu::now();
                datapath.services().set(&key(n), &row(n, BACKENDS - 1)).unwrap();
                begun.elapsed()
            })
            .collect();
        times.sort();
        print("one change, median", times[times.len() / 2]);
        print("one change, 99 of 100", times[times.len() * 99 / 100]);
        let begun = Cpu::now();
        datapath.services().set(&key(SERVICES), &row(SERVICES, 5_000)).unwrap();
        print("one with 5,000 backends", begun.elapsed());
    });
}

/// How long this thread has worked.
struct Cpu(Duration);

impl Cpu {
    fn now() -> Self {
        Self(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into())
    }

    fn elapsed(&self) -> Duration {
        Self::now().0 - self.0
    }
}

fn print(what: &str, time: Duration) {
    println!("{what:<32} {:>12.3} ms", time.as_secs_f64() * 1e3);
}

fn key(number: u32) -> ServicePortKey {
    let (service, port) = (format!("default/service-{number}").into(), "http".into());
    ServicePortKey { service, port, protocol: Protocol::Tcp, family: Family::V4 }
}

fn row(number: u32, backends: u32) -> ServicePort {
    let address = |base: u32, number: u32| IpAddr::V4(Ipv4Addr::from(base + number));
    let backend = |host| Backend { address: address(0x0af4_0000, number * BACKENDS + host), port: 8080 };
    let frontend = Frontend {
        kind: FrontendKind::ClusterIp,
        address: Some(address(0x0a60_0000, number)),
        port: 80,
        inside: Policy::Cluster,
        outside: Policy::Cluster,
    };
    ServicePort {
        frontends: vec![frontend],
        cluster: (0..backends).map(backend).collect(),
        local: Arc::default(),
        refuse: false,
        affinity: None,
        source_ranges: None,
    }
}
