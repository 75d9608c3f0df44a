/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage: routing. Where a packet goes: a Pod of this node, its node, another node, or out of the cluster. */
#pragma once
#include "deliver.h"
#include "flow.h"

/*
 * Whether a packet that leaves the cluster is VXLAN for the tunnels' port. A node's stack gives it the
 * node's own address, by which other nodes know their peer. A later fragment says nothing without the first.
 */
INLINE bool is_tunnel(const struct config *cfg, const struct context *ctx)
{
	if (ctx->protocol != IPPROTO_UDP)
		return ctx->protocol == PROTOCOL_UNKNOWN;
	return !ctx->has_l4 || ctx->l4.udp.dest == cfg->tunnel_port;
}

/* Not somewhere a router sends packets: REASON_no_route stands for "it is". */
INLINE __u32 not_routable(const struct context *ctx)
{
	const struct address *to = &ctx->daddr;

	if (ctx->version == 4) {
		__u32 top = ntohl(to->word[3]) >> 24;

		return is_unicast4(to->word[3]) ? REASON_no_route :
		       top >= 224               ? REASON_multicast :
						  REASON_not_routable;
	}
	if ((to->word[0] & htonl(0xff000000)) == htonl(0xff000000))
		return REASON_multicast;
	return is_unicast6(to) && !is_link_local6(to) && !is_mapped(to) ? REASON_no_route : REASON_not_routable;
}

/* Where tunnels to the other node end whose process a packet answers; NULL if it answers none. */
INLINE const struct address *answered_node(struct __sk_buff *skb, const struct context *ctx)
{
	const struct address *end;

	if (!has_flows(FLOW_FROM_NODE))
		return NULL;
	end = bpf_map_lookup_elem(&nodes, &ctx->daddr);
	return end && !is_unspecified6(end) && flow_kind(skb, ctx) == FLOW_FROM_NODE ? end : NULL;
}

/* To what is no address of this node. */
INLINE int route_out(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct route_key key = { .prefix_length = 128, .address = ctx->daddr };
	struct route *route = bpf_map_lookup_elem(&routes, &key);
	const struct address *end;

	if (route && route->kind == ROUTE_TUNNEL) {
		if (needs_node(skb, ctx)) {
			ctx->reason = REASON_via_node;
			return to_node(skb, cfg, ctx);
		}
		end = &route->tunnel;
	} else if (route && route->kind == ROUTE_LOCAL) {
		ctx->reason = REASON_no_endpoint;
		return icmp_error(skb, cfg, ctx, ICMP4_HOST_UNREACHABLE, ICMP6_ADDRESS_UNREACHABLE);
	} else if (route) {
		ctx->reason = REASON_unreachable;
		return icmp_error(skb, cfg, ctx, ICMP4_NET_UNREACHABLE, ICMP6_NO_ROUTE);
	} else {
		__u32 reason = not_routable(ctx);

		if (ctx->from_node || reason != REASON_no_route)
			return drop(ctx, reason);
		if (is_tunnel(cfg, ctx))
			return drop(ctx, REASON_tunnel_from_pod);
		end = answered_node(skb, ctx);
		if (!end) {
			ctx->reason = REASON_external;
			return to_node(skb, cfg, ctx);
		}
	}
	return to_tunnel(skb, cfg, ctx, end);
}

/* What a Pod or the node sends: by its destination. */
INLINE int route_from_endpoint(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &ctx->daddr);

	if (!endpoint ||
	    (endpoint->role == ROLE_OUTSIDE && is_elsewhere(ctx) && flow_kind(skb, ctx) == NOT_RECORDED))
		return route_out(skb, cfg, ctx);
	if (endpoint->role != ROLE_NODE) {
		if (needs_node(skb, ctx)) {
			ctx->reason = REASON_via_node;
			return to_node(skb, cfg, ctx);
		}
		ctx->reason = REASON_local;
		return to_pod(skb, cfg, ctx, endpoint);
	}
	if (ctx->from_node)
		return drop(ctx, REASON_node_loop);
	ctx->reason = REASON_to_node;
	return to_node(skb, cfg, ctx);
}

/* An address of this node on the underlay: what a Pod answers a process of this node that uses it. */
INLINE bool is_own_address(const struct context *ctx)
{
	const struct address *end = bpf_map_lookup_elem(&nodes, &ctx->daddr);

	return end && is_unspecified6(end);
}

/* What another node sends: to who has the address here. `is_node`: it comes from a process of that node. */
INLINE int route_from_tunnel(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, bool is_node)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &ctx->daddr);

	if (!endpoint && !is_own_address(ctx))
		return drop(ctx, REASON_overlay_unknown);
	if (!endpoint || endpoint->role == ROLE_NODE)
		return to_node(skb, cfg, ctx);
	if (is_node) {
		record_from_node(skb, ctx);
	} else if (needs_node(skb, ctx)) {
		ctx->reason = REASON_via_node;
		return to_node(skb, cfg, ctx);
	}
	return to_pod(skb, cfg, ctx, endpoint);
}
