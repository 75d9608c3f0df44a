/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage: source check. From a Pod, only with its own MAC and addresses; through a tunnel, only from the node that
 * serves the source.
 */
#pragma once
#include "drops.h"
#include "parse.h"

/* Why a Pod's packet is refused whose source is not an address of the port with that MAC. */
NOINLINE int refuse_source(struct __sk_buff *skb, struct context *ctx)
{
	struct ethhdr *eth = frame(skb, ETH_HLEN);
	__u32 ifindex = skb->ifindex;
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);

	if (!ctx)
		return TC_ACT_SHOT;
	if (!eth)
		return drop_of_port(skb, ctx, REASON_malformed);
	if (!port)
		return drop_of_port(skb, ctx, REASON_port_not_bound);
	return drop_of_port(skb, ctx, same_mac(port->mac, eth->h_source) ? REASON_source_ip : REASON_source_mac);
}

/* Why a frame is refused that is not for the gateway's MAC. */
NOINLINE int refuse_destination(struct __sk_buff *skb, struct context *ctx)
{
	struct ethhdr *eth = frame(skb, ETH_HLEN);
	__u32 ifindex = skb->ifindex;

	if (!ctx)
		return TC_ACT_SHOT;
	if (!eth)
		return drop_of_port(skb, ctx, REASON_malformed);
	if (!ctx->from_node && !bpf_map_lookup_elem(&ports, &ifindex))
		return drop_of_port(skb, ctx, REASON_port_not_bound);
	return drop_of_port(skb, ctx, is_multicast_mac(eth->h_dest) ? REASON_multicast : REASON_destination_mac);
}

/*
 * The endpoint that has the source and the MAC address, if it is that of the interface; else NULL. The shaper's other
 * end is everybody's.
 */
INLINE const struct endpoint *check_source(struct __sk_buff *skb, const struct config *cfg, const struct context *ctx,
					   const struct ethhdr *eth)
{
	const struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &ctx->saddr);

	if (!endpoint || !same_mac(endpoint->mac, eth->h_source))
		return NULL;
	return endpoint->ifindex == skb->ifindex || skb->ifindex == cfg->shaped_ifindex ? endpoint : NULL;
}

/*
 * Where tunnels to the other node end that may send packets with this source: because its podCIDR holds the source, or
 * because the source is an address of that node itself. NULL if there is none, or a Pod of this node has the source. One
 * outside this node's podCIDRs has it no more, as far as others are concerned.
 */
INLINE const struct address *node_of_source(const struct context *ctx, bool *is_node)
{
	struct route_key key = { .prefix_length = 128, .address = ctx->saddr };
	struct route *route = bpf_map_lookup_elem(&routes, &key);
	const struct address *end;
	struct endpoint *endpoint;

	*is_node = false;
	endpoint = bpf_map_lookup_elem(&endpoints, &ctx->saddr);
	if (endpoint && endpoint->role != ROLE_OUTSIDE)
		return NULL;
	if (route)
		return route->kind == ROUTE_TUNNEL ? &route->tunnel : NULL;
	*is_node = true;
	end = bpf_map_lookup_elem(&nodes, &ctx->saddr);
	return end && !is_unspecified6(end) ? end : NULL;
}

/*
 * Whether a source is nobody's in the cluster: that of a host outside, to whom another node's Service is reached, and which
 * that node sent on with its address.
 */
INLINE bool is_outside(const struct context *ctx)
{
	struct route_key key = { .prefix_length = 128, .address = ctx->saddr };

	return !bpf_map_lookup_elem(&routes, &key) && !bpf_map_lookup_elem(&endpoints, &key.address) &&
	       !bpf_map_lookup_elem(&nodes, &key.address);
}

/* Where tunnels to the other node end that has an address on the underlay; NULL if that is no other node's. */
INLINE const struct address *node_of_address(const struct address *address)
{
	const struct address *end = bpf_map_lookup_elem(&nodes, address);

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

/* From where a packet came through the tunnel, as the VXLAN device noted it. Returns whether it did. */
INLINE bool tunnel_peer(struct __sk_buff *skb, struct address *peer, __u32 *vni)
{
	struct bpf_tunnel_key tunnel = {};
	bool ipv4 = true;

	if (bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), 0)) {
		ipv4 = false;
		if (bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), BPF_F_TUNINFO_IPV6))
			return false;
	}
	*vni = tunnel.tunnel_id;
	if (ipv4)
		mapped(peer, htonl(tunnel.remote_ipv4));
	else
		copy(peer, tunnel.remote_ipv6, sizeof(*peer));
	return true;
}

/*
 * The end of a packet from a tunnel whose source is not checked, or wrong: it is the other node's. `peer`: that node, or 0
 * if the VXLAN device noted it.
 */
NOINLINE int drop_of_peer(struct __sk_buff *skb, struct context *ctx, __u32 reason, __be32 peer)
{
	struct scratch *memory = scratch_memory();
	struct address from = {};
	__u32 vni;

	if (!ctx)
		return TC_ACT_SHOT;
	ctx->reason = reason;
	if (memory && is_drop(reason)) {
		if (peer)
			mapped(&from, peer);
		else
			tunnel_peer(skb, &from, &vni);
		describe_context(memory, ctx);
		memory->drop.source = from;
		memory->drop.ifindex = skb->ifindex;
		memory->drop.flags = DROP_INGRESS;
		memory->drop.reason = reason;
		memory->dropped.claimed = ctx->saddr;
		note_drop(memory, ctx->len, skb->ifindex, false, false);
	}
	return leave(ctx, TC_ACT_SHOT);
}

/*
 * Who sent a packet through the tunnel, in the name of which node: where tunnels to that node end. NULL if it may not
 * send with this source; the reason then says why.
 */
INLINE const struct address *tunnel_sender(const struct config *cfg, struct context *ctx, const struct address *peer,
					    bool *is_node)
{
	const struct address *end = node_of_source(ctx, is_node);

	if (end) {
		ctx->reason = REASON_overlay_peer;
		return is_of_node(peer, end) ? end : NULL;
	}
	ctx->reason = REASON_overlay_source;
	if (!cfg->services || !is_outside(ctx))
		return NULL;
	*is_node = false;
	end = node_of_address(peer);
	if (!end)
		return NULL;
	ctx->via = *end;
	return end;
}
