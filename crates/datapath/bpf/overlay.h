/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the tunnel: only from the node that serves the source, only to who lives here. */
#pragma once
#include "forward.h"

INLINE bool parse(struct __sk_buff *skb, struct packet *p, __u8 version)
{
	return version == 4 ? parse_ipv4(skb, p) : parse_ipv6(skb, p);
}

/*
 * Where tunnels to the other node end that may send packets with this source: because its podCIDR holds the source, or
 * because the source is an address of that node itself. NULL if there is none, or a Pod of this node has the source. One
 * outside this node's podCIDRs has it no more, as far as others are concerned.
 */
INLINE const struct address *node_of_source(const struct packet *p, bool *is_node)
{
	struct route_key key = { .prefix_length = 128, .address = p->source };
	struct route *route = bpf_map_lookup_elem(&routes, &key);
	const struct address *end;
	struct endpoint *endpoint;

	*is_node = false;
	endpoint = bpf_map_lookup_elem(&endpoints, &p->source);
	if (endpoint && endpoint->role != ROLE_OUTSIDE)
		return NULL;
	if (route)
		return route->kind == ROUTE_TUNNEL ? &route->tunnel : NULL;
	*is_node = true;
	end = bpf_map_lookup_elem(&nodes, &p->source);
	return end && !is_unspecified6(end) ? end : NULL;
}

/* Whether the node where tunnels to `end` lead has the address. */
INLINE bool is_of_node(const struct address *address, const struct address *end)
{
	const struct address *other;

	if (same_address(address, end))
		return true;
	other = bpf_map_lookup_elem(&nodes, address);
	return other && same_address(other, end);
}

/* What the VXLAN device noted: REASON_overlay_in if the packet came from that node, in our network. */
INLINE __u32 tunnel_verdict(struct __sk_buff *skb, const struct config *cfg, const struct address *end)
{
	struct bpf_tunnel_key tunnel = {};
	bool ipv4 = is_mapped(end);
	struct address peer;

	/* Of the family that this node uses to send there, or of the other one. */
	if (bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), ipv4 ? 0 : BPF_F_TUNINFO_IPV6)) {
		ipv4 = !ipv4;
		if (bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), ipv4 ? 0 : BPF_F_TUNINFO_IPV6))
			return REASON_overlay_peer;
	}
	if (ipv4)
		mapped(&peer, htonl(tunnel.remote_ipv4));
	else
		copy(&peer, tunnel.remote_ipv6, sizeof(peer));
	if (!is_of_node(&peer, end))
		return REASON_overlay_peer;
	return tunnel.tunnel_id == cfg->vni ? REASON_overlay_in : REASON_overlay_vni;
}

/* An address of this node on the underlay: what a Pod answers a process of this node that uses it. */
INLINE bool is_own_address(const struct packet *p)
{
	const struct address *end = bpf_map_lookup_elem(&nodes, &p->destination);

	return end && is_unspecified6(end);
}

/* To who has the address here. The other node's gateway was the router. */
INLINE int deliver(struct __sk_buff *skb, const struct config *cfg, const struct packet *p, bool is_node, __u32 reason)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &p->destination);

	if (!endpoint && !is_own_address(p))
		return drop(skb, REASON_overlay_unknown);
	if (!endpoint || endpoint->role == ROLE_NODE)
		return to_node(skb, cfg, p, false, reason);
	if (is_node)
		record_from_node(skb, p);
	else if (needs_node(skb, p, false))
		return to_node(skb, cfg, p, false, REASON_via_node);
	return to_pod(skb, cfg, p, endpoint, false, reason);
}

INLINE int from_overlay_ip(struct __sk_buff *skb, const struct config *cfg, __u8 version)
{
	const struct address *end;
	struct ethernet *ethernet;
	struct packet p;
	bool is_node;
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
	end = node_of_source(&p, &is_node);
	if (!end)
		return drop(skb, REASON_overlay_source);
	reason = tunnel_verdict(skb, cfg, end);
	if (reason != REASON_overlay_in)
		return drop(skb, reason);
	return deliver(skb, cfg, &p, is_node, reason);
}

/* A plain packet of our tunnels without its headers, from the node with the address `peer`. */
INLINE int from_uplink_ip(struct __sk_buff *skb, const struct config *cfg, __u8 version, __u32 peer)
{
	struct ethernet *ethernet = frame(skb, ETHERNET_SIZE);
	const struct address *end;
	struct address outer;
	struct packet p;
	bool is_node;

	if (!ethernet)
		return drop(skb, REASON_malformed);
	ethernet->type = version == 4 ? htons(ETHERTYPE_IPV4) : htons(ETHERTYPE_IPV6);
	if (!parse(skb, &p, version))
		return drop(skb, REASON_malformed);
	if (pretends_ipv4(&p))
		return drop(skb, REASON_not_routable);
	end = node_of_source(&p, &is_node);
	if (!end)
		return drop(skb, REASON_overlay_source);
	mapped(&outer, peer);
	if (!is_of_node(&outer, end))
		return drop(skb, REASON_overlay_peer);
	return deliver(skb, cfg, &p, is_node, REASON_direct_in);
}
