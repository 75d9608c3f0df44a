/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The datapath's hooks. Every packet leaves under one of the reasons in reasons.def, but for what the
 * uplink carries besides tunnels.
 *
 * from_endpoint  ingress of the host side of every Pod's veth pair and of midokube-mido, through one shared block
 * from_overlay   ingress of midokube-vxlan
 * from_uplink    ingress of each interface that the routes to other nodes lead out of
 *
 * src/lib.rs draws a packet's path through the stages.
 */
#include "arp.h"
#include "ndp.h"
#include "route.h"
#include "source.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

INLINE const struct config *configured(void)
{
	__u32 index = 0;
	struct config *cfg = bpf_map_lookup_elem(&config, &index);

	return cfg && cfg->mido_ifindex ? cfg : NULL;
}

/* The frame's EtherType, or 0 for one with a VLAN tag (which the kernel keeps beside the frame). */
INLINE __u32 ethertype(struct __sk_buff *skb)
{
	return skb->vlan_present ? 0 : skb->protocol;
}

/* From a Pod, also through the shaper, or from the node through midokube-mido. */
INLINE int from_endpoint_ip(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, __u8 version)
{
	const struct endpoint *source;
	struct ethhdr *eth;

	if (!parse(skb, ctx, version))
		return leave(ctx, TC_ACT_SHOT);
	/* Neighbour discovery has no extension headers. */
	if (version == 6 && ctx->nexthdr == IPPROTO_ICMPV6) {
		__u8 type = ctx->l4.icmp.type;

		if (!ctx->has_l4 && bpf_skb_load_bytes(skb, ctx->l4_offset, &type, sizeof(type)))
			return drop(ctx, REASON_malformed);
		if (type >= NDISC_ROUTER_SOLICITATION && type <= NDISC_REDIRECT)
			return answer_ndp(skb, cfg, ctx);
	}

	eth = frame(skb, ETH_HLEN);
	if (!eth)
		return drop(ctx, REASON_malformed);
	if (!same_mac(eth->h_dest, cfg->gateway_mac))
		return refuse_destination(skb, ctx);
	if (!ctx->from_node) {
		source = check_source(skb, cfg, ctx, eth);
		if (!source)
			return refuse_source(skb, ctx);
		/* At the shaper's other end both is done. */
		if (source->limited & (LIMITED_EGRESS | RECORDED) && source->ifindex == skb->ifindex) {
			if (source->limited & RECORDED)
				record_outside(skb, ctx);
			if (source->limited & LIMITED_EGRESS)
				return to_shaper(skb, cfg, ctx);
		}
	}

	if (version == 4 && same_address(&ctx->daddr, &cfg->gateway4))
		return gateway_ipv4(skb, cfg, ctx);
	if (version == 6 && same_address(&ctx->daddr, &cfg->gateway6))
		return gateway_ipv6(skb, cfg, ctx);
	ctx->routed = true;
	if (ctx->ttl <= 1) {
		ctx->reason = REASON_ttl_exceeded;
		return icmp_error(skb, cfg, ctx, ICMP4_TTL_EXCEEDED, ICMP6_HOPS_EXCEEDED);
	}
	return route_from_endpoint(skb, cfg, ctx);
}

SEC("classifier") int from_endpoint(struct __sk_buff *skb)
{
	const struct config *cfg = configured();
	struct context ctx;

	ctx.len = skb->len;
	if (!cfg)
		return drop(&ctx, REASON_not_configured);
	ctx.from_node = skb->ifindex == cfg->mido_ifindex;
	switch (ethertype(skb)) {
	case htons(ETH_P_IP):
		return from_endpoint_ip(skb, cfg, &ctx, 4);
	case htons(ETH_P_IPV6):
		return from_endpoint_ip(skb, cfg, &ctx, 6);
	case htons(ETH_P_ARP):
		ctx = (struct context){ .len = skb->len, .from_node = ctx.from_node };
		return answer_arp(skb, cfg, &ctx);
	default:
		return drop(&ctx, REASON_ethertype);
	}
}

/* From the VXLAN device, which noted where the packet came from. */
INLINE int from_overlay_ip(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, __u8 version)
{
	const struct address *end;
	struct ethhdr *eth;
	bool is_node;

	if (!parse(skb, ctx, version))
		return leave(ctx, TC_ACT_SHOT);
	eth = frame(skb, ETH_HLEN);
	if (!eth)
		return drop(ctx, REASON_malformed);
	if (!same_mac(eth->h_dest, cfg->overlay_mac))
		return drop(ctx, REASON_destination_mac);
	end = node_of_source(ctx, &is_node);
	if (!end)
		return drop(ctx, REASON_overlay_source);
	ctx->reason = tunnel_verdict(skb, cfg, end);
	if (ctx->reason != REASON_overlay_in)
		return leave(ctx, TC_ACT_SHOT);
	return route_from_tunnel(skb, cfg, ctx, is_node);
}

SEC("classifier") int from_overlay(struct __sk_buff *skb)
{
	const struct config *cfg = configured();
	struct context ctx;

	ctx.len = skb->len;
	ctx.from_node = false;
	if (!cfg)
		return drop(&ctx, REASON_not_configured);
	switch (ethertype(skb)) {
	case htons(ETH_P_IP):
		return from_overlay_ip(skb, cfg, &ctx, 4);
	case htons(ETH_P_IPV6):
		return from_overlay_ip(skb, cfg, &ctx, 6);
	default:
		return drop(&ctx, REASON_ethertype);
	}
}

/* A plain packet of our tunnels without its headers, from the node with the address `peer`. */
INLINE int from_uplink_ip(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, __u8 version,
			  __u32 peer)
{
	struct ethhdr *eth = frame(skb, ETH_HLEN);
	const struct address *end;
	struct address outer;
	bool is_node;

	ctx->len = skb->len;
	ctx->from_node = false;
	if (!eth)
		return drop(ctx, REASON_malformed);
	eth->h_proto = version == 4 ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	if (!parse(skb, ctx, version))
		return leave(ctx, TC_ACT_SHOT);
	end = node_of_source(ctx, &is_node);
	if (!end)
		return drop(ctx, REASON_overlay_source);
	mapped(&outer, peer);
	if (!is_of_node(&outer, end))
		return drop(ctx, REASON_overlay_peer);
	ctx->reason = REASON_direct_in;
	return route_from_tunnel(skb, cfg, ctx, is_node);
}

/* Takes plain packets of our tunnels off the wire, and lets everything else pass as if it were not there. */
SEC("classifier") int from_uplink(struct __sk_buff *skb)
{
	const struct config *cfg;
	struct context ctx;
	__u32 peer;
	int version;

	if (skb->protocol != htons(ETH_P_IP) || skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TCX_NEXT;
	cfg = configured();
	if (!cfg || !cfg->direct)
		return TCX_NEXT;
	peer = plain_tunnel(skb, cfg);
	if (!peer)
		return TCX_NEXT;
	version = remove_tunnel(skb);
	if (version == 4)
		return from_uplink_ip(skb, cfg, &ctx, 4, peer);
	if (version == 6)
		return from_uplink_ip(skb, cfg, &ctx, 6, peer);
	if (!version)
		return TCX_NEXT;
	ctx.len = skb->len;
	return drop(&ctx, REASON_tunnel_failed);
}
