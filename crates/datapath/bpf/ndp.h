/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Neighbour discovery (RFC 4861): solicitations for the gateway are answered, nothing else is. */
#pragma once
#include "answer.h"
#include "drops.h"
#include "frame.h"

#define NDP_OPTION_SOURCE 1
#define NDP_OPTION_TARGET 2
#define NDP_MAX_OPTIONS 8
#define NDP_ROUTER_SOLICITED_OVERRIDE 0xe0000000

#define NDP_OFFSET (ETH_HLEN + sizeof(struct ipv6hdr))
#define NDP_OPTIONS (NDP_OFFSET + sizeof(struct nd_msg))
#define NDP_ANSWER_SIZE (NDP_OPTIONS + sizeof(struct nd_opt))

/* Every link-layer address given in the options must be the sender's own. */
INLINE int ndp_options(struct __sk_buff *skb, const __u8 *mac, __u32 end)
{
	__u32 offset = NDP_OPTIONS;

#pragma clang loop unroll(disable)
	for (int i = 0; i < NDP_MAX_OPTIONS && offset < end; i++) {
		struct nd_opt option ALIGNED;

		if (offset + sizeof(option) > end || bpf_skb_load_bytes(skb, offset, &option, sizeof(option)) ||
		    !option.nd_opt_len)
			return REASON_malformed;
		if (option.nd_opt_type == NDP_OPTION_SOURCE && !same_mac(option.mac, mac))
			return REASON_ndp_forged;
		offset += option.nd_opt_len * 8;
	}
	return offset == end ? REASON_ndp_reply : REASON_malformed;
}

/* What becomes of the message: REASON_ndp_reply if it is to be answered. */
INLINE int ndp_verdict(struct __sk_buff *skb, const struct config *cfg, const struct context *ctx)
{
	void *data = frame(skb, NDP_OFFSET + sizeof(struct icmphdr));
	bool multicast, outside = false;
	struct ethhdr *eth = data;
	__u32 ifindex = skb->ifindex, end;
	__u8 mac[ETH_ALEN] ALIGNED, type;
	struct address sender, target;
	struct ipv6hdr *ip = data + ETH_HLEN;

	if (!data)
		return REASON_malformed;
	copy_mac(mac, eth->h_source);
	multicast = is_multicast_mac(eth->h_dest);
	type = ((struct icmphdr *)(data + NDP_OFFSET))->type;
	end = NDP_OFFSET + ntohs(ip->payload_len);
	if (!ctx->from_node) {
		struct port *port = bpf_map_lookup_elem(&ports, &ifindex);

		if (!port)
			return REASON_port_not_bound;
		if (!same_mac(port->mac, mac))
			return REASON_ndp_forged;
		outside = port->role == ROLE_OUTSIDE; /* its gateway may be that of a former podCIDR */
	}
	if (type != NDISC_NEIGHBOUR_SOLICITATION)
		return multicast ? REASON_multicast : REASON_ndp_other;
	if (is_unspecified6(&ctx->saddr)) /* duplicate address detection */
		return REASON_multicast;
	data = frame(skb, NDP_OPTIONS);
	if (!data || ctx->ttl != 255 || ((struct icmphdr *)(data + NDP_OFFSET))->code || end < NDP_OPTIONS)
		return REASON_malformed;
	copy(&target, ((struct nd_msg *)(data + NDP_OFFSET))->target, sizeof(target));
	if (!is_unicast6(&target) ||
	    (!same_address(&target, &cfg->gateway6) && (!outside || same_address(&target, &ctx->saddr))))
		return REASON_ndp_other;
	if (!is_unicast6(&ctx->saddr))
		return REASON_ndp_forged;
	if (!ctx->from_node && !is_link_local6(&ctx->saddr)) {
		struct endpoint *endpoint;

		sender = ctx->saddr;
		endpoint = bpf_map_lookup_elem(&endpoints, &sender);
		if (!endpoint || endpoint->ifindex != ifindex)
			return REASON_ndp_forged;
	}
	return ndp_options(skb, mac, end);
}

NOINLINE int answer_ndp(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct nd_opt *option;
	struct nd_msg *ndp;
	struct ipv6hdr *ip;
	__u32 reason;
	__u64 sum;
	void *data;

	if (!cfg || !ctx)
		return TC_ACT_SHOT;
	reason = ndp_verdict(skb, cfg, ctx);
	if (reason != REASON_ndp_reply)
		return drop_of_port(skb, ctx, reason);
	if (bpf_skb_change_tail(skb, NDP_ANSWER_SIZE, 0))
		return drop_of_port(skb, ctx, REASON_answer_failed);
	data = frame(skb, NDP_ANSWER_SIZE);
	if (!data)
		return drop_of_port(skb, ctx, REASON_answer_failed);
	ip = data + ETH_HLEN;
	ndp = data + NDP_OFFSET;
	option = data + NDP_OPTIONS;
	answer_macs(data, cfg);
	ip->payload_len = htons(sizeof(*ndp) + sizeof(*option));
	copy(ip->saddr, ndp->target, sizeof(ip->saddr));
	copy(ip->daddr, &ctx->saddr, sizeof(ip->daddr));
	ndp->icmph.type = NDISC_NEIGHBOUR_ADVERTISEMENT;
	ndp->icmph.code = 0;
	ndp->icmph.checksum = 0;
	ndp->icmph.un.data = htonl(NDP_ROUTER_SOLICITED_OVERRIDE);
	option->nd_opt_type = NDP_OPTION_TARGET;
	option->nd_opt_len = 1;
	copy_mac(option->mac, cfg->gateway_mac);
	/* Addresses and message lie side by side; length and protocol complete the pseudo-header. */
	sum = sum_words(skb, ETH_HLEN + 8, (32 + sizeof(*ndp) + sizeof(*option)) / 4);
	ndp->icmph.checksum = checksum(sum + htonl(sizeof(*ndp) + sizeof(*option)) + htonl(IPPROTO_ICMPV6));
	return answer(skb, ctx, REASON_ndp_reply);
}
