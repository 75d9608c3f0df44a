/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ARP (RFC 826): the gateway has no interface, so it is answered for here. */
#pragma once
#include "answer.h"
#include "drops.h"
#include "frame.h"

/*
 * Who may say this: the port itself, with its own MAC and one of its own addresses. Whether its gateway may be another
 * than this node's, since its address is from a former podCIDR.
 */
INLINE __u32 arp_sender(struct __sk_buff *skb, const struct arphdr *arp, const __u8 *mac, bool *outside)
{
	__u32 ifindex = skb->ifindex;
	struct endpoint *endpoint;
	struct address sender;
	struct port *port;

	port = bpf_map_lookup_elem(&ports, &ifindex);
	if (!port)
		return REASON_port_not_bound;
	if (!same_mac(port->mac, mac) || !same_mac(port->mac, arp->ar_sha))
		return REASON_arp_forged;
	*outside = port->role == ROLE_OUTSIDE;
	if (!arp->ar_sip) /* a probe whether an address is free (RFC 5227) */
		return REASON_arp_other;
	mapped(&sender, arp->ar_sip);
	endpoint = bpf_map_lookup_elem(&endpoints, &sender);
	if (!endpoint || endpoint->ifindex != ifindex)
		return REASON_arp_forged;
	return REASON_arp_reply;
}

/* The end of a message, from whom it says it is. */
INLINE int drop_arp(struct __sk_buff *skb, struct context *ctx, const struct arphdr *arp, __u32 reason)
{
	mapped(&ctx->saddr, arp->ar_sip);
	mapped(&ctx->daddr, arp->ar_tip);
	return drop_of_port(skb, ctx, reason);
}

NOINLINE int answer_arp(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	void *data = frame(skb, ETH_HLEN + sizeof(struct arphdr));
	struct ethhdr *eth = data;
	struct arphdr *arp = data + ETH_HLEN, request ALIGNED;
	__u8 mac[ETH_ALEN] ALIGNED;
	bool outside = false;

	if (!cfg || !ctx)
		return TC_ACT_SHOT;
	if (!data || arp->ar_hrd != htons(ARPHRD_ETHER) || arp->ar_pro != htons(ETH_P_IP) ||
	    arp->ar_hln != ETH_ALEN || arp->ar_pln != 4)
		return drop_of_port(skb, ctx, REASON_malformed);
	copy(&request, arp, sizeof(request));
	copy_mac(mac, eth->h_source);
	if (!ctx->from_node) {
		__u32 reason = arp_sender(skb, &request, mac, &outside);

		if (reason != REASON_arp_reply)
			return drop_arp(skb, ctx, &request, reason);
	}
	if (request.ar_op != htons(ARPHRD_ETHER) || (request.ar_tip != cfg->gateway4.word[3] && !outside) || !request.ar_tip ||
	    request.ar_sip == request.ar_tip)
		return drop_arp(skb, ctx, &request, REASON_arp_other);

	data = frame_start(skb);
	if (data + ETH_HLEN + sizeof(struct arphdr) > frame_end(skb))
		return drop_of_port(skb, ctx, REASON_malformed);
	eth = data;
	arp = data + ETH_HLEN;
	answer_macs(eth, cfg);
	arp->ar_op = htons(ARPOP_REPLY);
	copy_mac(arp->ar_sha, cfg->gateway_mac);
	arp->ar_sip = request.ar_tip;
	copy_mac(arp->ar_tha, request.ar_sha);
	arp->ar_tip = request.ar_sip;
	return answer(skb, ctx, REASON_arp_reply);
}
