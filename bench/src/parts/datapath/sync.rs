//! What it costs to write Services to the maps, from memory.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use datapath::{
    Backend, Datapath, Family, Frontend, FrontendKind, Options, Policy, Protocol, ServicePort, ServicePortKey,
};

use super::support::options;
use crate::objects;

/// How many Services, of 10 endpoints each.
const SIZE: u16 = 10_000;

/// The rows of all of them.
fn rows() -> Vec<(ServicePortKey, ServicePort)> {
    let row = |number| {
        let key = ServicePortKey {
            service: format!("{}/{}", objects::NAMESPACE, objects::other_name(number)).into(),
            port: "http".into(),
            protocol: Protocol::Tcp,
            family: Family::V4,
        };
        let (endpoints, port) = objects::other_endpoints(number);
        let backend = |address: IpAddr| Backend { address, port };
        let frontend = Frontend {
            kind: FrontendKind::ClusterIp,
            address: Some(objects::other_address(number)),
            port: objects::PORT,
            inside: Policy::Cluster,
            outside: Policy::Cluster,
        };
        let row = ServicePort {
            frontends: vec![frontend],
            cluster: endpoints.into_iter().map(backend).collect(),
            local: [].into(),
            refuse: false,
            affinity: None,
            source_ranges: None,
        };
        (key, row)
    };
    (0..SIZE).map(row).collect()
}

/// How long all rows take into empty maps, and how long one of them takes that lost an endpoint, in each of the rounds.
pub(super) fn times(bpffs: &Path, rounds: usize) -> Result<Vec<[Duration; 2]>> {
    let rows = rows();
    (0..rounds)
        .map(|round| -> Result<[Duration; 2]> {
            let options = Options {
                max_services: 65_536,
                max_backends: 262_144,
                ..options(&bpffs.join(format!("round-{round}")))
            };
            let mut datapath = Datapath::open(&options)?;
            let services = datapath.services();
            let begin = Instant::now();
            let failures = services.set_all(rows.iter().map(|(key, row)| (key, row)));
            let all = begin.elapsed();
            ensure!(failures.is_empty(), "{failures:?}");
            let (key, row) = rows.get(usize::from(SIZE / 2)).context("one of the rows")?;
            let cluster = row.cluster.iter().skip(1).copied().collect();
            let changed = ServicePort { cluster, ..row.clone() };
            let begin = Instant::now();
            services.set(key, &changed)?;
            Ok([all, begin.elapsed()])
        })
        .collect()
}
