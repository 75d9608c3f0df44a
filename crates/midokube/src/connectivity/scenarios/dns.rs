//! Names of Services.

use std::net::IpAddr;

use super::super::check::Expect;
use super::super::question::What;
use super::super::scene::{CLIENT, ECHO, FAMILIES, FAR, Family, HEADLESS, NEAR, Scene};
use super::plan::{Checks, Plan, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "dns-service",
        what: "Pods resolve the name of a Service, by UDP",
        plan: |scene| resolve(scene, ECHO, &scene.service(ECHO)?.addresses, false),
    },
    Scenario {
        name: "dns-service-tcp",
        what: "Pods resolve the name of a Service, by TCP",
        plan: |scene| resolve(scene, ECHO, &scene.service(ECHO)?.addresses, true),
    },
    Scenario {
        name: "dns-headless",
        what: "the name of a headless Service has the addresses of its Pods",
        plan: |scene| {
            let pods = [NEAR, FAR].into_iter().filter_map(|name| scene.pod(name).ok());
            let addresses: Vec<IpAddr> = pods.flat_map(|pod| pod.addresses.clone()).collect();
            resolve(scene, HEADLESS, &addresses, false)
        },
    },
];

/// Pods of each node ask each server for the addresses of each family.
fn resolve(scene: &Scene, service: &str, addresses: &[IpAddr], tcp: bool) -> Result<Plan, String> {
    let resolver = scene.resolver.as_ref().map_err(Clone::clone)?;
    let name = format!("{service}.{}.svc.{}", scene.namespace, resolver.domain);
    let mut checks = Checks::default();
    for pod in [scene.pod(CLIENT)].into_iter().chain([scene.pod(FAR)]).flatten() {
        for server in resolver.servers.iter().filter(|server| pod.address(Family::of(**server)).is_some()) {
            for family in FAMILIES {
                let wanted: Vec<IpAddr> =
                    addresses.iter().copied().filter(|address| Family::of(*address) == family).collect();
                if wanted.is_empty() {
                    continue;
                }
                let ipv6 = family == Family::Ipv6;
                let what = What::Resolve { name: name.clone(), ipv6, tcp, server: *server };
                let to = (format!("the DNS server {server}, for {name}"), Vec::new());
                checks.add(pod, what, to, Expect::Addresses { addresses: wanted });
            }
        }
    }
    checks.plan()
}
