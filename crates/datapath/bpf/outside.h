/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Services and the outside: what comes in at an uplink for a Service, and what goes back there past the node's own
 * stack, which would not send packets with translated sources.
 */
#pragma once
#include "route.h"
#include "service.h"

/* Whether a packet may answer one whose source got another port here. */
INLINE bool is_translated_port(const struct config *cfg, const struct context *ctx)
{
	__u32 port = ntohs(ctx->l4.udp.dest);

	return port >= cfg->first_port && port <= cfg->last_port;
}

/* To a process of this node: into its stack as it is, with its new addresses. */
INLINE int to_host(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	if (ctx->part == PART_NEW && ctx->host_backend)
		note_flow(FLOW_HOST_BACKEND);
	if (!leave_as(skb, cfg, ctx))
		return drop(skb, ctx, ctx->reason);
	ctx->reason = REASON_from_outside;
	return leave(ctx, TCX_NEXT);
}

/* A packet from an uplink that belongs to a Service. */
INLINE int route_from_outside(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct route_key key = { .prefix_length = 128, .address = ctx->daddr };
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &key.address);
	struct route *route;
	bool own;

	own = endpoint ? endpoint->role == ROLE_NODE : is_this_node(&ctx->daddr);

	/* Answers have a Service's address, whose packets the node's stack takes from nowhere else than midokube-node. */
	if (own && !endpoint && ctx->part != PART_SERVER)
		return to_host(skb, cfg, ctx);
	ctx->routed = true;
	if (ctx->ttl <= 1) {
		ctx->reason = REASON_ttl_exceeded;
		return icmp_error(skb, cfg, ctx, ICMP4_TTL_EXCEEDED, ICMP6_HOPS_EXCEEDED);
	}
	ctx->reason = REASON_from_outside;
	if (own)
		return to_node(skb, cfg, ctx);
	if (endpoint && !may_enter(skb, ctx, endpoint))
		return refuse(skb, cfg, ctx);
	if (endpoint)
		return to_pod(skb, cfg, ctx, endpoint);
	route = bpf_map_lookup_elem(&routes, &key);
	if (route && route->kind == ROUTE_TUNNEL)
		return to_tunnel(skb, cfg, ctx, &route->tunnel);
	if (route)
		return no_endpoint(skb, cfg, ctx);
	return to_outside(skb, cfg, ctx);
}

INLINE int from_outside(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, __u8 version)
{
	ctx->len = skb->len;
	ctx->from_node = false;
	ctx->from_outside = true;
	ctx->generation = cfg->policy_generation;
	if (!parse(skb, ctx, version))
		return TCX_NEXT;
	classify(skb, ctx);
	if (ctx->tracked && ctx->tracked != IPPROTO_ICMP) {
		if (!is_served(ctx) && !is_translated_port(cfg, ctx))
			return TCX_NEXT;
		track(ctx);
		if (ctx->judgement & FORBIDDEN)
			return refuse(skb, cfg, ctx);
		if (ctx->part == PART_NEW) {
			/* None of this node's Pods is out there. */
			if (part_of_cluster(ctx, true) == ROUTE_LOCAL)
				return TCX_NEXT;
			switch (ctx->source_from == SOURCE_PORT ? NO_SERVICE : balance(cfg, ctx)) {
			case NO_SERVICE:
				return TCX_NEXT;
			case REFUSED:
				return icmp_error(skb, cfg, ctx, ICMP4_PORT_UNREACHABLE, ICMP6_PORT_UNREACHABLE);
			case DENIED:
				return drop(skb, ctx, ctx->reason);
			}
		}
	} else if (ctx->has_l4 && is_icmp_error(ctx->protocol, ctx->l4.icmp.type)) {
		track_error(skb, ctx);
	}
	if (!ctx->translated)
		return TCX_NEXT;
	return route_from_outside(skb, cfg, ctx);
}

/*
 * What this node's processes answer whom the outside reaches through a Service: with the Service's address. Everything
 * else passes as if this were not there.
 */
INLINE int to_uplink_ip(struct __sk_buff *skb, struct context *ctx, __u8 version)
{
	ctx->len = skb->len;
	ctx->from_node = true;
	ctx->from_outside = false;
	ctx->generation = 0;
	if (!parse(skb, ctx, version))
		return TCX_NEXT;
	classify(skb, ctx);
	if (ctx->tracked)
		track_host_backend(ctx);
	else if (ctx->has_l4 && is_icmp_error(ctx->protocol, ctx->l4.icmp.type))
		track_error(skb, ctx);
	if (ctx->translated && !rewrite(skb, ctx))
		return TC_ACT_SHOT;
	return TCX_NEXT;
}
