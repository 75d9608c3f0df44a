//! Services by the datapath, without kube-proxy: a check for every rule that a Service's fields have, and for every place
//! that a packet comes from, over both families, TCP and UDP. SCTP is in `tests/kernels`: this machine's kernel may have none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::service_scene::Scene;
use super::{
    Cluster, message, service_everywhere as everywhere, service_flows as flows, service_objects as objects,
    service_policy as policy, service_surroundings as surroundings, step,
};

type Check = fn(&Scene<'_>);

/// In this order. What upstream's specs check as well is here because it is checked for IPv6, from nodes and from outside.
const CHECKS: &[(&str, Check)] = &[
    ("Pods answer at ClusterIPs and NodePorts from everywhere", everywhere::pods_answer_everywhere),
    ("Pods with hostNetwork do", everywhere::host_network_pods_answer_everywhere),
    ("backends reach themselves", everywhere::backends_reach_themselves),
    ("NodePorts answer at the loopback addresses", everywhere::node_ports_on_loopback),
    ("hostPorts answer from everywhere", everywhere::host_ports),
    ("label service-proxy-name", objects::service_proxy_name),
    ("clusterIP None", objects::cluster_ip_none),
    ("label headless of a slice", objects::headless_slice),
    ("slice without a Service's name", objects::slice_without_a_service),
    ("first address of an endpoint", objects::first_address_of_an_endpoint),
    ("nil conditions", objects::nil_conditions),
    ("port without number", objects::port_without_number),
    ("one address in two slices", objects::one_address_in_two_slices),
    ("local by nodeName", objects::local_by_node_name),
    ("ready endpoints, else serving and terminating ones", objects::ready_or_terminating),
    ("ports by name", objects::ports_by_name),
    ("topology hints", objects::topology_hints),
    ("internalTrafficPolicy", policy::internal_traffic_policy),
    ("externalTrafficPolicy, and its short circuit", policy::external_traffic_policy),
    ("no endpoint: refused at every frontend", policy::no_endpoint),
    ("unknown ports, unallocated addresses, a range at run time", policy::unknown_ports_and_addresses),
    ("other ports of a node stay its own", policy::other_ports_of_a_node),
    ("clients' addresses are kept", policy::client_addresses),
    ("loadBalancerSourceRanges", policy::source_ranges),
    ("ipMode of the status", policy::ingress_mode),
    ("externalIPs", policy::external_ips),
    ("sessionAffinity", policy::session_affinity),
    ("healthCheckNodePort", surroundings::health_check_node_port),
    ("port 10256", surroundings::proxy_health),
    ("port 10249", surroundings::proxy_mode_and_metric),
    ("UDP leaves what does not serve", flows::udp_leaves_what_does_not_serve),
    ("TCP outlives its endpoint and its Service", flows::tcp_outlives_endpoint_and_service),
    ("a rolling update loses no request", flows::a_rolling_update_loses_no_request),
];

/// Runs every check whose name has this text, whatever fails.
pub(super) fn work_without_kube_proxy(cluster: &Cluster, wanted: &str) {
    let checks: Vec<_> = CHECKS.iter().filter(|(name, _)| name.contains(wanted)).collect();
    assert!(!checks.is_empty(), "no check of Services has {wanted:?} in its name");
    let scene = Scene::new(cluster);
    let mut failed = Vec::new();
    for (name, check) in &checks {
        let run = || step(&format!("Services: {name}"), || check(&scene));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            failed.push(format!("{name}: {}", message(&*panic)));
            // What it left would only confuse the next ones.
            scene.forget_all();
        }
    }
    scene.end();
    assert!(failed.is_empty(), "of {} checks of Services failed: {failed:#?}", checks.len());
}
