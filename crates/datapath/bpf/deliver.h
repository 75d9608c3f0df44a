/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage: delivery, to a Pod of this node, to its node, or to another node. */
#pragma once
#include "connection.h"
#include "icmp.h"
#include "refuse.h"
#include "reset.h"
#include "rewrite.h"
#include "vxlan.h"

/*
 * The packet is about to leave: makes the entries of a new connection, and gives the packet the addresses that the
 * context has. If that cannot be done, the reason is why not.
 */
INLINE bool leave_as(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	__u32 reason = ctx->reason;

	ctx->reason = REASON_malformed;
	if (ctx->tracked && ctx->part == PART_NEW) {
		if (!commit(skb, cfg, ctx))
			return false;
		if (is_recording())
			begin_record(skb, ctx);
	}
	if (ctx->translated && !rewrite(skb, ctx))
		return false;
	ctx->reason = reason;
	return true;
}

/* One off the TTL or hop limit, by the router. */
INLINE bool decrement_ttl(struct __sk_buff *skb, const struct context *ctx)
{
	void *data = frame_start(skb);

	if (data + ETH_HLEN + sizeof(struct iphdr) > frame_end(skb))
		return false;
	if (ctx->version == 4) {
		struct iphdr *ip = data + ETH_HLEN;
		/* RFC 1624: the TTL is the upper byte of its checksum word. */
		__u32 sum = ip->check + htons(0x0100);

		ip->check = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		ip->hop_limit--;
		/* As in rewrite6: only what comes from outside may have such a sum. */
		if (ctx->from_outside)
			bpf_csum_update(skb, ~htonl(1));
	}
	return true;
}

/* Has the packet leave for its next hop; if it cannot, the reason is why not. */
INLINE bool next_hop(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, const __u8 *to,
		     const __u8 *from)
{
	struct ethhdr *eth;

	if (!leave_as(skb, cfg, ctx))
		return false;
	eth = frame(skb, ETH_HLEN + sizeof(struct iphdr));
	if (!eth || (ctx->routed && !decrement_ttl(skb, ctx))) {
		ctx->reason = REASON_malformed;
		return false;
	}
	eth = frame_start(skb);
	if ((void *)(eth + 1) > frame_end(skb)) {
		ctx->reason = REASON_malformed;
		return false;
	}
	copy_mac(eth->h_dest, to);
	copy_mac(eth->h_source, from);
	return true;
}

/* Into the node's network stack, as if midokube-node had received it. */
INLINE int to_node(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	if (!next_hop(skb, cfg, ctx, cfg->node_mac, cfg->gateway_mac))
		return drop(skb, ctx, ctx->reason);
	return leave(ctx, bpf_redirect(cfg->node_ifindex, BPF_F_INGRESS));
}

INLINE int to_pod(struct __sk_buff *skb, const struct config *cfg, struct context *ctx,
		  const struct endpoint *endpoint)
{
	if (ctx->part == PART_NEW)
		ctx->peer_ifindex = endpoint->ifindex;
	else if (ctx->peer_ifindex && ctx->peer_ifindex != endpoint->ifindex)
		return stale(skb, cfg, ctx);
	if (!next_hop(skb, cfg, ctx, endpoint->mac, cfg->gateway_mac))
		return drop(skb, ctx, ctx->reason);
	/* Past every queue, but for those who have to queue. */
	if (endpoint->limited & LIMITED_INGRESS)
		return leave(ctx, bpf_redirect(endpoint->ifindex, 0));
	return leave(ctx, bpf_redirect_peer(endpoint->ifindex, 0));
}

/* SCTP's mark for a packet that is a list of ready ones: their sizes are not known here. */
#define GSO_BY_FRAGS 0xffff

/* The largest IP packet that will be on the wire: a packet for segmentation offload is many. */
INLINE __u32 segment_size(struct __sk_buff *skb, const struct context *ctx)
{
	__u32 gso_size = skb->gso_size, headers = ctx->l4_offset;

	if (!gso_size)
		return skb->len - ETH_HLEN;
	if (gso_size == GSO_BY_FRAGS)
		return 0;
	if (ctx->protocol == IPPROTO_TCP) {
		__u8 data_offset;

		if (!bpf_skb_load_bytes(skb, headers + 12, &data_offset, 1))
			headers += (data_offset >> 4) * 4;
	} else {
		headers += sizeof(struct udphdr);
	}
	return headers - ETH_HLEN + gso_size;
}

/* The next hop of a packet to a host outside. Returns what bpf_fib_lookup returns. */
NOINLINE int outside_hop(struct __sk_buff *skb, const struct context *ctx, struct hop *hop)
{
	struct bpf_fib_lookup route = { .ifindex = LOOPBACK_IFINDEX };
	int found;

	if (!ctx || !hop)
		return -1;
	route.l4_protocol = ctx->tracked;
	route.sport = ctx->l4.udp.source;
	route.dport = ctx->l4.udp.dest;
	route.tot_len = segment_size(skb, ctx);
	if (ctx->version == 4) {
		route.family = AF_INET;
		route.ipv4_src = ctx->saddr.word[3];
		route.ipv4_dst = ctx->daddr.word[3];
	} else {
		route.family = AF_INET6;
		copy(route.ipv6_src, &ctx->saddr, sizeof(route.ipv6_src));
		copy(route.ipv6_dst, &ctx->daddr, sizeof(route.ipv6_dst));
	}
	found = bpf_fib_lookup(skb, &route, sizeof(route), BPF_FIB_LOOKUP_SKIP_NEIGH);
	hop->mtu = route.mtu_result;
	hop->ifindex = route.ifindex;
	/* IPv4 may have a next hop with an IPv6 address. */
	hop->neighbour.nh_family = route.family;
	if (route.family == AF_INET)
		hop->neighbour.ipv4_nh = route.ipv4_dst;
	else
		copy(hop->neighbour.ipv6_nh, route.ipv6_dst, sizeof(hop->neighbour.ipv6_nh));
	return found;
}

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

/* To a host outside, as the node's own routes lead there. */
INLINE int to_outside(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct hop hop = {};
	int found;

	/* Answers have the Service's address. */
	if (ctx->part != PART_SERVER && is_tunnel(cfg, ctx))
		return drop(skb, ctx, REASON_tunnel_from_pod);
	found = outside_hop(skb, ctx, &hop);
	if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED && (ctx->version == 6 || ctx->frag_off & IP_DF)) {
		ctx->mtu = hop.mtu;
		ctx->reason = REASON_too_big;
		return icmp_error(skb, cfg, ctx, ICMP4_TOO_BIG, ICMP6_TOO_BIG);
	}
	if (found != BPF_FIB_LKUP_RET_SUCCESS)
		return drop(skb, ctx, REASON_outside_unreachable);
	if (!leave_as(skb, cfg, ctx))
		return drop(skb, ctx, ctx->reason);
	if (ctx->routed && (!frame(skb, ETH_HLEN + sizeof(struct iphdr)) || !decrement_ttl(skb, ctx)))
		return drop_rewritten(skb, ctx, REASON_malformed);
	ctx->reason = REASON_outside;
	return leave(ctx, bpf_redirect_neigh(hop.ifindex, &hop.neighbour, sizeof(hop.neighbour), 0));
}

/*
 * What a Pod with a limit sends queues at the shaper, a veth pair whose other end is one more hook: the packet
 * continues there, and is counted there. Unlike a queue at the Pod's own end, nobody in the Pod can take it away.
 */
NOINLINE int to_shaper(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	__u32 ifindex = skb->ifindex;
	struct limit *limit = bpf_map_lookup_elem(&limits, &ifindex);

	if (!cfg || !ctx)
		return TC_ACT_SHOT;
	if (!limit || !limit->class || !cfg->shaper_ifindex)
		return drop(skb, ctx, REASON_no_shaper);
	skb->priority = limit->class;
	return bpf_redirect(cfg->shaper_ifindex, 0);
}

/* Tells the VXLAN device where a packet goes: with the source that the other node checks, whatever the kernel would choose. */
NOINLINE bool set_tunnel(struct __sk_buff *skb, const struct config *cfg, const struct address *end)
{
	struct bpf_tunnel_key key = { .tunnel_ttl = GATEWAY_HOPS };
	__u64 flags = BPF_F_ZERO_CSUM_TX;

	if (!cfg || !end)
		return false;
	key.tunnel_id = cfg->vni;
	if (is_mapped(end)) {
		key.remote_ipv4 = ntohl(end->word[3]);
		key.local_ipv4 = ntohl(cfg->tunnel_address4);
	} else {
		copy(key.remote_ipv6, end, sizeof(key.remote_ipv6));
		copy(key.local_ipv6, &cfg->tunnel_address6, sizeof(key.local_ipv6));
		flags |= BPF_F_TUNINFO_IPV6;
	}
	return !bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags);
}

/* To the node where tunnels to `end` lead. The packet's source and destination stay. */
INLINE int to_tunnel(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, const struct address *end)
{
	__u32 size = segment_size(skb, ctx), mtu = cfg->overlay_mtu;
	struct hop hop = {};
	bool ipv4 = is_mapped(end);

	if (size <= mtu) {
		if (!ipv4 && size > IPV6_LEAST_MTU - TUNNEL6_HEADERS)
			mtu = path_mtu6(skb, cfg, end, size);
		else if (ipv4 && cfg->direct)
			underlay_hop(skb, cfg, end->word[3], size, &hop);
		if (hop.mtu)
			mtu = hop.mtu;
		/* What IPv6 may rely on: over IPv4 such a packet arrives in fragments. */
		if (ctx->version == 6 && mtu < IPV6_LEAST_MTU)
			mtu = IPV6_LEAST_MTU;
	}
	/*
	 * IPv4 that may be fragmented goes on: the kernel fragments the outer packet. It does so for
	 * IPv4 only; a tunnel over IPv6 would lose it without a word, so the sender is told.
	 */
	if (size > mtu && (ctx->version == 6 || ctx->frag_off & IP_DF || !ipv4)) {
		ctx->mtu = mtu;
		ctx->reason = REASON_too_big;
		return icmp_error(skb, cfg, ctx, ICMP4_TOO_BIG, ICMP6_TOO_BIG);
	}
	/* Not from the overlay's own MAC: the receiving VXLAN device takes that for a loop. */
	if (!next_hop(skb, cfg, ctx, cfg->overlay_mac, cfg->gateway_mac))
		return drop(skb, ctx, ctx->reason);
	if (hop.ifindex) {
		int action = send_directly(skb, cfg, ctx, end->word[3], &hop);

		if (action != TCX_NEXT)
			return action;
	}
	if (!set_tunnel(skb, cfg, end))
		return drop_rewritten(skb, ctx, REASON_tunnel_failed);
	ctx->reason = REASON_overlay_out;
	return leave(ctx, bpf_redirect(cfg->overlay_ifindex, 0));
}
