/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * FLOW_VIA_NODE: connections between Pods that the node's network stack forwards. It does so because it translated an
 * address of theirs: for kube-proxy, for portmap, for an administrator's rule. It has to see their answers, too.
 *
 * A packet that comes from the node with a Pod's address as its source is such a forwarded one, and its flow is
 * recorded. From then on all packets of that flow go to the node, in both directions: also those of a new
 * connection with the same addresses and ports, which the node's connection tracking may know as a translated one.
 * There is no harm in a flow that is over: the node forwards what it does not translate.
 *
 * FLOW_FROM_NODE: a process of another node that bound to an address of its node on the underlay talks to a Pod of
 * this node. Its packets come through the tunnel, and so the answers go back. The node's stack would send them past
 * the tunnel: masqueraded, or with a source that the other node's reverse path filter refuses.
 *
 * FLOW_OUTSIDE: what a Pod outside this node's podCIDRs exchanges with the node or the outside.
 */
#pragma once
#include "parse.h"
#include "scratch.h"

/* What the two directions of a flow differ in. */
INLINE bool is_lower(const struct context *ctx, __u16 source_port, __u16 destination_port)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		if (ctx->saddr.word[i] != ctx->daddr.word[i])
			return ctx->saddr.word[i] < ctx->daddr.word[i];
	}
	return source_port <= destination_port;
}

/*
 * The flow of a packet; of an ICMP error, that of the packet it quotes. Returns whether the packet is a
 * fragment; of a later one, the ports are not known.
 */
INLINE bool flow_of(struct __sk_buff *skb, const struct context *packet, struct flow *flow)
{
	const struct context *ctx = packet;
	__u16 source = 0, destination = 0;
	__s32 protocol;
	__u8 type;

	if (ctx->has_l4 && is_icmp_error(ctx->protocol, ctx->l4.icmp.type)) {
		struct scratch *memory = scratch_memory();

		if (memory) {
			memory->quoted = *packet;
			parse_quote(skb, &memory->quoted);
			ctx = &memory->quoted;
		}
	}
	type = ctx->l4.icmp.type;
	protocol = ctx->has_l4 ? ctx->protocol : PROTOCOL_UNKNOWN;
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP) {
		source = ctx->l4.udp.source;
		destination = ctx->l4.udp.dest;
	} else if ((protocol == IPPROTO_ICMP && (type == ICMP_ECHO || type == ICMP_ECHOREPLY)) ||
		   (protocol == IPPROTO_ICMPV6 && (type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY))) {
		source = destination = ctx->l4.icmp.un.echo.id;
	}
	if (is_lower(ctx, source, destination)) {
		flow->lower = ctx->saddr;
		flow->upper = ctx->daddr;
		flow->lower_port = source;
		flow->upper_port = destination;
	} else {
		flow->lower = ctx->daddr;
		flow->upper = ctx->saddr;
		flow->lower_port = destination;
		flow->upper_port = source;
	}
	flow->protocol = protocol < 0 ? 0 : protocol;
	return ctx->fragment;
}

/* That of all fragments between the same addresses: the node puts them together, so it needs them all. */
INLINE void fragments_of(struct flow *flow)
{
	flow->lower_port = 0;
	flow->upper_port = 0;
	flow->protocol = 0;
}

/* A lookup alone keeps a flow from being evicted for others. */
INLINE void record(const struct flow *flow, __u32 kind)
{
	if (!bpf_map_lookup_elem(&flows, flow))
		bpf_map_update_elem(&flows, flow, &kind, 0);
}

/* Whether there ever was a flow of that kind; nodes that never have one look nothing up. */
INLINE bool has_flows(__u32 kind)
{
	__u32 index = 0, *used = bpf_map_lookup_elem(&flows_used, &index);

	return __builtin_expect(used && *used & 1 << kind, false);
}

/* There is one of that kind now. */
INLINE void note_flow(__u32 kind)
{
	__u32 index = 0, *used = bpf_map_lookup_elem(&flows_used, &index);

	if (used && !(*used & 1 << kind))
		__sync_fetch_and_or(used, 1 << kind);
}

/* The flow of a packet, and that of fragments of it. */
INLINE void record_both(struct __sk_buff *skb, const struct context *ctx, __u32 kind)
{
	struct flow flow = {};

	flow_of(skb, ctx, &flow);
	record(&flow, kind);
	fragments_of(&flow);
	record(&flow, kind);
	note_flow(kind);
}

/* Records what the node sends to a Pod or to another node, if a Pod of this or another node is the source. */
NOINLINE int record_flow(struct __sk_buff *skb, const struct context *ctx)
{
	struct route_key key = { .prefix_length = 128 };
	struct endpoint *endpoint;

	if (!ctx)
		return 0;
	key.address = ctx->saddr;
	endpoint = bpf_map_lookup_elem(&endpoints, &key.address);
	if (endpoint && endpoint->role == ROLE_NODE)
		return 0;
	if (!endpoint) {
		struct route *route = bpf_map_lookup_elem(&routes, &key);

		if (!route || route->kind != ROUTE_TUNNEL)
			return 0;
	}
	record_both(skb, ctx, FLOW_VIA_NODE);
	return 0;
}

/* Records what a process of another node sends to a Pod with an address of its node. */
NOINLINE int record_from_node(struct __sk_buff *skb, const struct context *ctx)
{
	if (ctx)
		record_both(skb, ctx, FLOW_FROM_NODE);
	return 0;
}

#define NOT_RECORDED -1

NOINLINE int flow_kind(struct __sk_buff *skb, const struct context *ctx)
{
	struct flow flow = {};
	__u32 *kind;

	if (!ctx)
		return NOT_RECORDED;
	if (flow_of(skb, ctx, &flow))
		fragments_of(&flow);
	kind = bpf_map_lookup_elem(&flows, &flow);
	return kind ? (int)*kind : NOT_RECORDED;
}

/*
 * Records what a Pod outside this node's podCIDRs sends to the node or out of the cluster: answers to it are then told
 * from packets to who has its address now, on another node. No packet takes another path because of it.
 */
NOINLINE int record_outside(struct __sk_buff *skb, const struct context *ctx)
{
	struct route_key key = { .prefix_length = 128 };
	struct endpoint *endpoint;
	struct route *route;

	if (!ctx)
		return 0;
	key.address = ctx->daddr;
	endpoint = bpf_map_lookup_elem(&endpoints, &key.address);
	route = endpoint ? NULL : bpf_map_lookup_elem(&routes, &key);
	if (endpoint ? endpoint->role != ROLE_NODE : route && route->kind != ROUTE_PROXIED)
		return 0;
	record_both(skb, ctx, FLOW_OUTSIDE);
	return 0;
}

/*
 * Whether another node has the range of such a Pod's address by now: then only what belongs to a flow of that Pod is for
 * it. Does not look for the flow itself, since Linux 6.1 counts the stack of all that call each other together.
 */
NOINLINE bool is_elsewhere(const struct context *ctx)
{
	struct route_key key = { .prefix_length = 128 };
	struct route *route;

	if (!ctx)
		return false;
	key.address = ctx->daddr;
	route = bpf_map_lookup_elem(&routes, &key);
	return route && route->kind == ROUTE_TUNNEL;
}

/* Whether a packet to a Pod of this or another node has to go through the node's network stack first. */
INLINE bool needs_node(struct __sk_buff *skb, const struct context *ctx)
{
	if (ctx->from_node) {
		record_flow(skb, ctx);
		return false;
	}
	return has_flows(FLOW_VIA_NODE) && flow_kind(skb, ctx) == FLOW_VIA_NODE;
}
