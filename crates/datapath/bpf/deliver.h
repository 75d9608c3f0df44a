/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stage: delivery, to a Pod of this node, to its node, or to another node. */
#pragma once
#include "icmp.h"
#include "vxlan.h"

/* Gives the frame its next MAC addresses; who is its router also takes one off the TTL or hop limit. */
INLINE bool next_hop(struct __sk_buff *skb, const struct context *ctx, const __u8 *to, const __u8 *from)
{
	void *data = frame_start(skb);
	struct ethhdr *eth = data;

	if (data + ETH_HLEN + sizeof(struct iphdr) > frame_end(skb))
		return false;
	copy_mac(eth->h_dest, to);
	copy_mac(eth->h_source, from);
	if (!ctx->routed)
		return true;
	if (ctx->version == 4) {
		struct iphdr *ip = data + ETH_HLEN;
		/* RFC 1624: the TTL is the upper byte of its checksum word. */
		__u32 sum = ip->check + htons(0x0100);

		ip->check = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		ip->hop_limit--;
	}
	return true;
}

/* Into the node's network stack, as if midokube-node had received it. */
INLINE int to_node(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	if (!next_hop(skb, ctx, cfg->node_mac, cfg->gateway_mac))
		return drop(ctx, REASON_malformed);
	return leave(ctx, bpf_redirect(cfg->node_ifindex, BPF_F_INGRESS));
}

INLINE int to_pod(struct __sk_buff *skb, const struct config *cfg, struct context *ctx,
		  const struct endpoint *endpoint)
{
	if (!next_hop(skb, ctx, endpoint->mac, cfg->gateway_mac))
		return drop(ctx, REASON_malformed);
	/* Past every queue, but for those who have to queue. */
	if (endpoint->limited & LIMITED_INGRESS)
		return leave(ctx, bpf_redirect(endpoint->ifindex, 0));
	return leave(ctx, bpf_redirect_peer(endpoint->ifindex, 0));
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
		return drop(ctx, REASON_no_shaper);
	skb->priority = limit->class;
	return bpf_redirect(cfg->shaper_ifindex, 0);
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

/* To the node where tunnels to `end` lead. The packet's source and destination stay. */
INLINE int to_tunnel(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, const struct address *end)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = cfg->vni,
		.tunnel_ttl = GATEWAY_HOPS,
	};
	__u32 size = segment_size(skb, ctx), mtu = cfg->overlay_mtu;
	struct hop hop = {};
	bool ipv4 = is_mapped(end);
	__u64 flags = BPF_F_ZERO_CSUM_TX;

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
	if (!next_hop(skb, ctx, cfg->overlay_mac, cfg->gateway_mac))
		return drop(ctx, REASON_malformed);
	if (hop.ifindex) {
		int action = send_directly(skb, cfg, ctx, end->word[3], &hop);

		if (action != TCX_NEXT)
			return action;
	}
	/* The source that the other node checks, whatever address the kernel would choose. */
	if (ipv4) {
		key.remote_ipv4 = ntohl(end->word[3]);
		key.local_ipv4 = ntohl(cfg->tunnel_address4);
	} else {
		copy(key.remote_ipv6, end, sizeof(key.remote_ipv6));
		copy(key.local_ipv6, &cfg->tunnel_address6, sizeof(key.local_ipv6));
		flags |= BPF_F_TUNINFO_IPV6;
	}
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags))
		return drop(ctx, REASON_tunnel_failed);
	ctx->reason = REASON_overlay_out;
	return leave(ctx, bpf_redirect(cfg->overlay_ifindex, 0));
}
