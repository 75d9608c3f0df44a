/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the tunnel: only from the node that serves the source, only to who lives here. */
#pragma once
#include "forward.h"

/* REASON_overlay_in if the packet came from the node whose podCIDR holds its source. */
INLINE __u32 tunnel_verdict(struct __sk_buff *skb, const struct config *cfg, const struct packet *p)
{
	struct route_key key = { .prefix_length = 128, .address = p->source };
	struct route *route = bpf_map_lookup_elem(&routes, &key);
	struct bpf_tunnel_key tunnel = {};
	struct address peer;
	bool ipv4;

	if (!route || route->kind != ROUTE_TUNNEL || bpf_map_lookup_elem(&endpoints, &p->source))
		return REASON_overlay_source;
	ipv4 = is_mapped(&route->tunnel);
	if (bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), ipv4 ? 0 : BPF_F_TUNINFO_IPV6))
		return REASON_overlay_peer;
	if (ipv4)
		mapped(&peer, htonl(tunnel.remote_ipv4));
	else
		copy(&peer, tunnel.remote_ipv6, sizeof(peer));
	if (!same_address(&peer, &route->tunnel))
		return REASON_overlay_peer;
	return tunnel.tunnel_id == cfg->vni ? REASON_overlay_in : REASON_overlay_vni;
}

INLINE int from_overlay_ip(struct __sk_buff *skb, const struct config *cfg, __u8 version)
{
	struct endpoint *endpoint;
	struct ethernet *ethernet;
	struct packet p;
	__u32 reason;

	if (!(version == 4 ? parse_ipv4(skb, &p) : parse_ipv6(skb, &p)))
		return drop(skb, REASON_malformed);
	if (pretends_ipv4(&p))
		return drop(skb, REASON_not_routable);
	ethernet = frame(skb, ETHERNET_SIZE);
	if (!ethernet)
		return drop(skb, REASON_malformed);
	if (!same_mac(ethernet->destination, cfg->overlay_mac))
		return drop(skb, REASON_destination_mac);
	reason = tunnel_verdict(skb, cfg, &p);
	if (reason != REASON_overlay_in)
		return drop(skb, reason);
	endpoint = bpf_map_lookup_elem(&endpoints, &p.destination);
	if (!endpoint)
		return drop(skb, REASON_overlay_unknown);
	/* The other node's gateway was the router. */
	if (endpoint->role == ROLE_POD)
		return to_pod(skb, cfg, &p, endpoint, false, REASON_overlay_in);
	return to_node(skb, cfg, &p, false, REASON_overlay_in);
}
