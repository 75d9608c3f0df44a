/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage: routing. Where a packet goes: a Pod of this node, its node, another node, or out of the cluster. */
#pragma once
#include "deliver.h"
#include "flow.h"
#include "related.h"
#include "service.h"

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

/* For an address of this node's podCIDR that no Pod has. */
INLINE int no_endpoint(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	if (ctx->part != PART_NEW)
		forget_packet(skb, ctx);
	if (needs_reset(ctx))
		return reset_sender(skb, cfg, ctx);
	ctx->reason = REASON_no_endpoint;
	return icmp_error(skb, cfg, ctx, ICMP4_HOST_UNREACHABLE, ICMP6_ADDRESS_UNREACHABLE);
}

/* Whether the source is the node's own or a Service's address, and the node's stack would not forward the packet. */
INLINE bool has_node_source(const struct config *cfg, const struct context *ctx)
{
	const struct address *node = ctx->version == 4 ? &cfg->node_address4 : &cfg->node_address6;

	return ctx->translated && (ctx->part == PART_SERVER || same_address(&ctx->saddr, node));
}

/*
 * To the node's stack, from which it comes back. Only then policy knows whom it is for: the connection has to be judged
 * again.
 */
INLINE int via_node(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	ctx->reason = REASON_via_node;
	ctx->generation = 0;
	return to_node(skb, cfg, ctx);
}

/* To what is no address of this node. */
INLINE int route_out(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct route_key key = { .prefix_length = 128, .address = ctx->daddr };
	struct route *route = bpf_map_lookup_elem(&routes, &key);
	const struct address *end;

	if (route && route->kind == ROUTE_PROXIED)
		route = NULL;
	if (route && route->kind == ROUTE_TUNNEL) {
		if (needs_node(skb, ctx))
			return via_node(skb, cfg, ctx);
		end = &route->tunnel;
	} else if (route && route->kind == ROUTE_LOCAL) {
		return no_endpoint(skb, cfg, ctx);
	} else if (route && route->kind == ROUTE_SERVICES) {
		return drop(skb, ctx, REASON_service_address);
	} else if (route) {
		ctx->reason = REASON_unreachable;
		return icmp_error(skb, cfg, ctx, ICMP4_NET_UNREACHABLE, ICMP6_NO_ROUTE);
	} else {
		__u32 reason = not_routable(ctx);

		if (reason != REASON_no_route)
			return drop(skb, ctx, reason);
		if (ctx->part == PART_SERVER && !is_unspecified6(&ctx->via))
			return to_tunnel(skb, cfg, ctx, &ctx->via);
		if (ctx->translated && is_this_node(&ctx->daddr)) {
			ctx->reason = REASON_to_node;
			return to_node(skb, cfg, ctx);
		}
		if (has_node_source(cfg, ctx))
			return to_outside(skb, cfg, ctx);
		if (ctx->from_node)
			return drop(skb, ctx, reason);
		if (is_tunnel(cfg, ctx))
			return drop(skb, ctx, REASON_tunnel_from_pod);
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
	    (endpoint->role == ROLE_OUTSIDE && ctx->peer_ifindex != endpoint->ifindex && is_elsewhere(ctx) &&
	     flow_kind(skb, ctx) == NOT_RECORDED))
		return route_out(skb, cfg, ctx);
	if (endpoint->role != ROLE_NODE) {
		if (needs_node(skb, ctx))
			return via_node(skb, cfg, ctx);
		ctx->reason = REASON_local;
		if (!may_enter(skb, ctx, endpoint))
			return refuse(skb, cfg, ctx);
		return to_pod(skb, cfg, ctx, endpoint);
	}
	if (ctx->from_node && !ctx->translated)
		return drop(skb, ctx, REASON_node_loop);
	ctx->reason = REASON_to_node;
	return to_node(skb, cfg, ctx);
}

/* An address of this node on the underlay: what a Pod answers a process of this node that uses it. */
INLINE bool is_own_address(const struct context *ctx)
{
	const struct address *end = bpf_map_lookup_elem(&nodes, &ctx->daddr);

	return end && is_unspecified6(end);
}

/* What part of the cluster the source, or the destination, belongs to: ROUTE_*, or 0. */
NOINLINE int part_of_cluster(const struct context *ctx, bool source)
{
	struct route_key key = { .prefix_length = 128 };
	struct route *route;

	if (!ctx)
		return 0;
	key.address = source ? ctx->saddr : ctx->daddr;
	route = bpf_map_lookup_elem(&routes, &key);
	return route ? route->kind : 0;
}

/* Whether a packet from another node begins a connection with a port of this node's own address. */
INLINE bool asks_node(const struct config *cfg, const struct context *ctx)
{
	return cfg->services && ctx->tracked && ctx->tracked != IPPROTO_ICMP && ctx->part == PART_NEW &&
	       ctx->source_from != SOURCE_PORT && is_served(ctx) && is_this_node(&ctx->daddr);
}

/* The end of a packet from another node that policy does not let pass: an answer is a packet of its own. */
INLINE int refuse_node(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, const struct address *end)
{
	if (!make_refusal(skb, cfg, ctx))
		return leave(ctx, TC_ACT_SHOT);
	count(ctx->reason, ctx->len);
	ctx->len = skb->len;
	return to_tunnel(skb, cfg, ctx, end);
}

/*
 * What another node sends, where tunnels to `end` lead: to who has the address here. `is_node`: it comes from a process
 * of that node.
 */
INLINE int route_from_tunnel(struct __sk_buff *skb, const struct config *cfg, struct context *ctx,
			     const struct address *end, bool is_node)
{
	bool through_service = !is_unspecified6(&ctx->via);
	struct endpoint *endpoint;

	classify(skb, ctx);
	if (ctx->tracked)
		track(ctx);
	else if (ctx->has_l4 && is_icmp_error(ctx->protocol, ctx->l4.icmp.type))
		track_error(skb, ctx);
	if (ctx->judgement & FORBIDDEN)
		return refuse_node(skb, cfg, ctx, end);
	if (asks_node(cfg, ctx) && balance_host_port(cfg, ctx) >= REFUSED)
		return drop(skb, ctx, ctx->reason);
	endpoint = bpf_map_lookup_elem(&endpoints, &ctx->daddr);
	if (!endpoint || (ctx->peer_ifindex && ctx->peer_ifindex != endpoint->ifindex)) {
		if (!endpoint && ctx->translated && part_of_cluster(ctx, false) != ROUTE_LOCAL && !is_this_node(&ctx->daddr))
			return to_outside(skb, cfg, ctx);
		if (!is_own_address(ctx)) {
			if (ctx->part != PART_NEW)
				forget_packet(skb, ctx);
			if (!needs_reset(ctx))
				return drop(skb, ctx, endpoint ? REASON_stale_connection : REASON_overlay_unknown);
			if (!make_reset(skb, ctx))
				return drop(skb, ctx, REASON_answer_failed);
			return to_tunnel(skb, cfg, ctx, end);
		}
	}
	if (through_service) {
		/* From a host outside, which no Pod of this node knows as anything else. */
		if (!endpoint || endpoint->role == ROLE_NODE)
			return drop(skb, ctx, REASON_overlay_source);
		if (ctx->part == PART_CLIENT && !same_address(&ctx->via, end))
			change_tunnel(ctx, end);
	}
	if (!endpoint || endpoint->role == ROLE_NODE)
		return to_node(skb, cfg, ctx);
	if (is_node) {
		record_from_node(skb, ctx);
	} else if (!through_service && needs_node(skb, ctx)) {
		return via_node(skb, cfg, ctx);
	}
	if (!may_enter(skb, ctx, endpoint))
		return refuse_node(skb, cfg, ctx, end);
	return to_pod(skb, cfg, ctx, endpoint);
}
