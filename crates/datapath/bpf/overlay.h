/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the tunnel: only from the node that serves the source, only to who lives here. */
#pragma once
#include "forward.h"

INLINE bool parse(struct __sk_buff *skb, struct packet *p, __u8 version)
{
	return version == 4 ? parse_ipv4(skb, p) : parse_ipv6(skb, p);
}

/*
 * The other node whose podCIDR holds the source; NULL if there is none, or a Pod of this node has it. One outside this
 * node's podCIDRs has it no more, as far as others are concerned.
 */
INLINE const struct address *node_of_source(const struct packet *p)
{
	struct route_key key = { .prefix_length = 128, .address = p->source };
	struct route *route = bpf_map_lookup_elem(&routes, &key);
	struct endpoint *endpoint;

	if (!route || route->kind != ROUTE_TUNNEL)
		return NULL;
	endpoint = bpf_map_lookup_elem(&endpoints, &p->source);
	if (endpoint && endpoint->role != ROLE_OUTSIDE)
		return NULL;
	return &route->tunnel;
}

/* What the VXLAN device noted: REASON_overlay_in if the packet came from that node, in our network. */
INLINE __u32 tunnel_verdict(struct __sk_buff *skb, const struct config *cfg, const struct address *node)
{
	struct bpf_tunnel_key tunnel = {};
	bool ipv4 = is_mapped(node);
	struct address peer;

	if (bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), ipv4 ? 0 : BPF_F_TUNINFO_IPV6))
		return REASON_overlay_peer;
	if (ipv4)
		mapped(&peer, htonl(tunnel.remote_ipv4));
	else
		copy(&peer, tunnel.remote_ipv6, sizeof(peer));
	if (!same_address(&peer, node))
		return REASON_overlay_peer;
	return tunnel.tunnel_id == cfg->vni ? REASON_overlay_in : REASON_overlay_vni;
}

/* To who has the address here. The other node's gateway was the router. */
INLINE int deliver(struct __sk_buff *skb, const struct config *cfg, const struct packet *p, __u32 reason)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &p->destination);

	if (!endpoint)
		return drop(skb, REASON_overlay_unknown);
	if (endpoint->role == ROLE_NODE)
		return to_node(skb, cfg, p, false, reason);
	if (needs_node(skb, p, false))
		return to_node(skb, cfg, p, false, REASON_via_node);
	return to_pod(skb, cfg, p, endpoint, false, reason);
}

INLINE int from_overlay_ip(struct __sk_buff *skb, const struct config *cfg, __u8 version)
{
	const struct address *node;
	struct ethernet *ethernet;
	struct packet p;
	__u32 reason;

	if (!parse(skb, &p, version))
		return drop(skb, REASON_malformed);
	if (pretends_ipv4(&p))
		return drop(skb, REASON_not_routable);
	ethernet = frame(skb, ETHERNET_SIZE);
	if (!ethernet)
		return drop(skb, REASON_malformed);
	if (!same_mac(ethernet->destination, cfg->overlay_mac))
		return drop(skb, REASON_destination_mac);
	node = node_of_source(&p);
	if (!node)
		return drop(skb, REASON_overlay_source);
	reason = tunnel_verdict(skb, cfg, node);
	if (reason != REASON_overlay_in)
		return drop(skb, reason);
	return deliver(skb, cfg, &p, reason);
}

/* A plain packet of our tunnels without its headers, from the node with the address `peer`. */
INLINE int from_uplink_ip(struct __sk_buff *skb, const struct config *cfg, __u8 version, __u32 peer)
{
	struct ethernet *ethernet = frame(skb, ETHERNET_SIZE);
	const struct address *node;
	struct packet p;

	if (!ethernet)
		return drop(skb, REASON_malformed);
	ethernet->type = version == 4 ? htons(ETHERTYPE_IPV4) : htons(ETHERTYPE_IPV6);
	if (!parse(skb, &p, version))
		return drop(skb, REASON_malformed);
	if (pretends_ipv4(&p))
		return drop(skb, REASON_not_routable);
	node = node_of_source(&p);
	if (!node)
		return drop(skb, REASON_overlay_source);
	if (!is_mapped(node) || node->word[3] != peer)
		return drop(skb, REASON_overlay_peer);
	return deliver(skb, cfg, &p, REASON_direct_in);
}
