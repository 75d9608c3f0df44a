//! What to do about a packet that is dropped, or answered by the network.

/// By the reason's name; empty: nothing is wrong, or the reason says everything.
pub(super) fn remedy(reason: &str) -> &'static str {
    match reason {
        "ttl_exceeded" => {
            "the packet goes round in a circle, or its sender gave it a small TTL: see the steps"
        }
        "too_big" => {
            "the sender has to send smaller packets, as the ICMP error tells it: see `midokube doctor` for the MTU"
        }
        "no_endpoint" => {
            "no Pod has this address: it has ended, or its address changed; use a Service, or another address"
        }
        "unreachable" => {
            "no node serves this part of the cluster's addresses: see `midokube status peers`, and whether the Node is there"
        }
        "not_configured" | "port_not_bound" => {
            "the agent has not finished with the node or the Pod: see `midokube status` and the Events of the Pod"
        }
        "source_mac" | "source_ip" => {
            "the Pod uses an address that it was not given: something in the Pod changed its interface"
        }
        "destination_mac" => {
            "the sender has a wrong neighbour entry: the gateway's MAC address is in `midokube status`"
        }
        "multicast" | "not_routable" => {
            "Pods reach no such address: name the address of a Pod, a Service or a host"
        }
        "ethertype" | "malformed" | "arp_forged" | "arp_other" | "ndp_forged" | "ndp_other" => {
            "the packet is none that a Pod's kernel sends: see what program made it"
        }
        "gateway_other" => {
            "the gateway is no host: it answers pings alone; name the node's own address instead"
        }
        "node_loop" | "no_route" => {
            "the node's routes lead a packet here that is not for the Pod network: see `ip route` there"
        }
        "icmp_suppressed" | "icmp_limited" => {
            "the packet was dropped before: the ICMP error about it is what is missing"
        }
        "answer_failed" | "tunnel_failed" => "the node's kernel is short of memory",
        "overlay_source" | "overlay_peer" => {
            "the two nodes know different Nodes: compare `midokube status peers` of both, and the Node's addresses and podCIDRs"
        }
        "overlay_vni" => "the agents have different --vni: give all the same",
        "overlay_unknown" => {
            "the Pod has just ended, or the sender's node has an old route: compare `midokube status ports` of the other node"
        }
        "tunnel_from_pod" => {
            "a Pod may send no VXLAN to the tunnels' port outside the cluster: use another port"
        }
        "no_shaper" => "the agent makes the shaper again within seconds: see `midokube status`",
        "service_port" => "use a port that the Service has: see `midokube service`",
        "service_address" => "no Service has this address: it was deleted; see `kubectl get services -A`",
        "service_source" => "add the client to the Service's loadBalancerSourceRanges",
        "no_backend" => {
            "no Pod of the Service is ready: see `midokube service` for why each of its endpoints is not used"
        }
        "no_local_backend" => {
            "no ready endpoint is on this node, and the Service's traffic policy is Local: place one here, or use Cluster"
        }
        "no_port" => "all source ports to this backend are taken: use more backends",
        "outside_unreachable" => {
            "the node has no route to this host, or no address of its family: see `ip route get` there"
        }
        "stale_connection" | "connection_reset" => {
            "the connection was with a Pod that has ended: begin it anew"
        }
        "policy_ingress" | "policy_egress" => {
            "change the policy that is named, or add one that allows it: see `midokube policy explain`"
        }
        "policy_unknown" => {
            "policies are not known on this node yet: see `midokube status` and the agent's log"
        }
        "policy_no_port" => {
            "policy asks for the port, which a fragment has not: avoid fragments on this path"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use datapath::{Fate, reasons};

    use super::*;

    #[test]
    fn there_is_a_remedy_for_every_drop_and_none_that_no_reason_needs() {
        for reason in reasons() {
            let needed = reason.fate != Fate::Forward;
            assert!(!needed || !remedy(reason.name).is_empty(), "{}", reason.name);
        }
        assert_eq!(remedy("local"), "");
    }
}
