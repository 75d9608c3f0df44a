/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The datapath's hooks. Every packet leaves under one of the reasons in reasons.def, but for what the
 * uplink carries besides tunnels.
 *
 * from_endpoint  ingress of the host side of every Pod's veth pair and of midokube-mido, through one shared block
 * from_overlay   ingress of midokube-vxlan
 * from_uplink    ingress of each interface that leads out of the node
 * to_uplink      egress of the same interfaces
 *
 * src/lib.rs draws a packet's path through the stages.
 */
#include "arp.h"
#include "ndp.h"
#include "outside.h"
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
		return drop_of_port(skb, ctx, ctx->reason);
	/* Neighbour discovery has no extension headers. */
	if (version == 6 && ctx->nexthdr == IPPROTO_ICMPV6) {
		__u8 type = ctx->l4.icmp.type;

		if (!ctx->has_l4 && bpf_skb_load_bytes(skb, ctx->l4_offset, &type, sizeof(type)))
			return drop_of_port(skb, ctx, REASON_malformed);
		if (type >= NDISC_ROUTER_SOLICITATION && type <= NDISC_REDIRECT)
			return answer_ndp(skb, cfg, ctx);
	}

	eth = frame(skb, ETH_HLEN);
	if (!eth)
		return drop_of_port(skb, ctx, REASON_malformed);
	if (!same_mac(eth->h_dest, cfg->gateway_mac))
		return refuse_destination(skb, ctx);
	if (!ctx->from_node) {
		source = check_source(skb, cfg, ctx, eth);
		if (!source)
			return refuse_source(skb, ctx);
		ctx->source_ifindex = source->ifindex;
		/* At the shaper's other end both is done. */
		if (source->limited & (LIMITED_EGRESS | RECORDED) && source->ifindex == skb->ifindex) {
			if (source->limited & RECORDED)
				record_outside(skb, ctx);
			if (source->limited & LIMITED_EGRESS)
				return to_shaper(skb, cfg, ctx);
		}
	}

	classify(skb, ctx);
	if (ctx->tracked) {
		track(ctx);
		if (ctx->part == PART_NEW && ctx->from_node && ctx->tracked == IPPROTO_UDP)
			track_node_answer(cfg, ctx);
		if (ctx->judgement & FORBIDDEN)
			return refuse(skb, cfg, ctx);
		if (ctx->part == PART_NEW && ctx->source_from != SOURCE_PORT && ctx->tracked != IPPROTO_ICMP && cfg->services) {
			switch (balance(cfg, ctx)) {
			case REFUSED:
				return icmp_error(skb, cfg, ctx, ICMP4_PORT_UNREACHABLE, ICMP6_PORT_UNREACHABLE);
			case DENIED:
				return drop(skb, ctx, ctx->reason);
			}
		}
	} else if (ctx->has_l4 && is_icmp_error(ctx->protocol, ctx->l4.icmp.type)) {
		track_error(skb, ctx);
	}
	if (version == 4 && same_address(&ctx->daddr, &cfg->gateway4))
		return gateway_ipv4(skb, cfg, ctx);
	if (version == 6 && same_address(&ctx->daddr, &cfg->gateway6))
		return gateway_ipv6(skb, cfg, ctx);
	if (is_unjudged(ctx) && !judge_egress(skb, cfg, ctx))
		return refuse(skb, cfg, ctx);
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

	if (!cfg) {
		ctx = (struct context){ .len = skb->len };
		return drop_of_port(skb, &ctx, REASON_not_configured);
	}
	ctx.len = skb->len;
	ctx.from_node = skb->ifindex == cfg->mido_ifindex;
	ctx.from_outside = false;
	ctx.generation = cfg->policy_generation;
	switch (ethertype(skb)) {
	case htons(ETH_P_IP):
		return from_endpoint_ip(skb, cfg, &ctx, 4);
	case htons(ETH_P_IPV6):
		return from_endpoint_ip(skb, cfg, &ctx, 6);
	case htons(ETH_P_ARP):
		ctx = (struct context){ .len = skb->len, .from_node = ctx.from_node };
		return answer_arp(skb, cfg, &ctx);
	default:
		ctx = (struct context){ .len = skb->len };
		return drop_of_port(skb, &ctx, REASON_ethertype);
	}
}

/* From the VXLAN device, which noted where the packet came from. */
INLINE int from_overlay_ip(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, __u8 version)
{
	const struct address *end;
	struct address peer;
	struct ethhdr *eth;
	bool is_node;
	__u32 vni;

	if (!parse(skb, ctx, version))
		return drop_of_peer(skb, ctx, ctx->reason, 0);
	eth = frame(skb, ETH_HLEN);
	if (!eth)
		return drop_of_peer(skb, ctx, REASON_malformed, 0);
	if (!same_mac(eth->h_dest, cfg->overlay_mac))
		return drop_of_peer(skb, ctx, REASON_destination_mac, 0);
	if (!tunnel_peer(skb, &peer, &vni))
		return drop_of_peer(skb, ctx, REASON_overlay_peer, 0);
	end = tunnel_sender(cfg, ctx, &peer, &is_node);
	if (!end)
		return drop_of_peer(skb, ctx, ctx->reason, 0);
	if (vni != cfg->vni)
		return drop_of_peer(skb, ctx, REASON_overlay_vni, 0);
	ctx->reason = REASON_overlay_in;
	return route_from_tunnel(skb, cfg, ctx, end, is_node);
}

SEC("classifier") int from_overlay(struct __sk_buff *skb)
{
	const struct config *cfg = configured();
	struct context ctx;

	if (!cfg) {
		ctx = (struct context){ .len = skb->len };
		return drop_of_peer(skb, &ctx, REASON_not_configured, 0);
	}
	ctx.len = skb->len;
	ctx.from_node = false;
	ctx.from_outside = false;
	ctx.generation = cfg->policy_generation;
	switch (ethertype(skb)) {
	case htons(ETH_P_IP):
		return from_overlay_ip(skb, cfg, &ctx, 4);
	case htons(ETH_P_IPV6):
		return from_overlay_ip(skb, cfg, &ctx, 6);
	default:
		ctx = (struct context){ .len = skb->len };
		return drop_of_peer(skb, &ctx, REASON_ethertype, 0);
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
	ctx->from_outside = false;
	ctx->generation = cfg->policy_generation;
	if (!eth) {
		*ctx = (struct context){ .len = skb->len };
		return drop_of_peer(skb, ctx, REASON_malformed, peer);
	}
	eth->h_proto = version == 4 ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	if (!parse(skb, ctx, version))
		return drop_of_peer(skb, ctx, ctx->reason, peer);
	mapped(&outer, peer);
	end = tunnel_sender(cfg, ctx, &outer, &is_node);
	if (!end)
		return drop_of_peer(skb, ctx, ctx->reason, peer);
	ctx->reason = REASON_direct_in;
	return route_from_tunnel(skb, cfg, ctx, end, is_node);
}

/* A plain packet of our tunnels; TCX_NEXT if it is for the device. */
INLINE int from_tunnel(struct __sk_buff *skb, const struct config *cfg, __u32 peer)
{
	struct context ctx;
	int version;

	version = remove_tunnel(skb);
	if (version == 4)
		return from_uplink_ip(skb, cfg, &ctx, 4, peer);
	if (version == 6)
		return from_uplink_ip(skb, cfg, &ctx, 6, peer);
	if (!version)
		return TCX_NEXT;
	ctx = (struct context){ .len = skb->len };
	return drop_of_peer(skb, &ctx, REASON_tunnel_failed, peer);
}

/*
 * Takes plain packets of our tunnels off the wire, and what is for a Service. Lets everything else pass as if it were not
 * there.
 */
SEC("classifier") int from_uplink(struct __sk_buff *skb)
{
	const struct config *cfg;
	struct context ctx;
	__u32 type, peer;

	type = ethertype(skb);
	if (skb->pkt_type != PACKET_HOST || (type != htons(ETH_P_IP) && type != htons(ETH_P_IPV6)))
		return TCX_NEXT;
	cfg = configured();
	if (!cfg)
		return TCX_NEXT;
	if (type == htons(ETH_P_IP) && cfg->direct) {
		peer = plain_tunnel(skb, cfg);
		if (peer)
			return from_tunnel(skb, cfg, peer);
	}
	if (!cfg->services)
		return TCX_NEXT;
	return type == htons(ETH_P_IP) ? from_outside(skb, cfg, &ctx, 4) : from_outside(skb, cfg, &ctx, 6);
}

/* Gives the answers of this node's own processes the Service's address, and lets everything else pass. */
SEC("classifier") int to_uplink(struct __sk_buff *skb)
{
	const struct config *cfg;
	struct context ctx;
	__u32 type;

	if (!has_flows(FLOW_HOST_BACKEND))
		return TCX_NEXT;
	cfg = configured();
	type = ethertype(skb);
	if (!cfg || !cfg->services)
		return TCX_NEXT;
	if (type == htons(ETH_P_IP))
		return to_uplink_ip(skb, &ctx, 4);
	if (type == htons(ETH_P_IPV6))
		return to_uplink_ip(skb, &ctx, 6);
	return TCX_NEXT;
}
