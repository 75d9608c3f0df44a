/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the gateway sends goes back to who sent the packet. */
#pragma once
#include "address.h"
#include "context.h"

/* What the gateway sends starts with this TTL. */
#define GATEWAY_HOPS 64

INLINE void answer_macs(struct ethhdr *eth, const struct config *cfg)
{
	copy_mac(eth->h_dest, eth->h_source);
	copy_mac(eth->h_source, cfg->gateway_mac);
}

/* From whom the packet was for: the gateway, or the uplink. */
INLINE void reverse_macs(struct ethhdr *eth)
{
	__u8 own[ETH_ALEN] __attribute__((aligned(2)));

	copy_mac(own, eth->h_dest);
	copy_mac(eth->h_dest, eth->h_source);
	copy_mac(eth->h_source, own);
}

/* Out of the interface where the question came in. */
INLINE int answer(struct __sk_buff *skb, struct context *ctx, __u32 reason)
{
	ctx->reason = reason;
	return leave(ctx, bpf_redirect(skb->ifindex, 0));
}

/* The same for the sender of an IP packet, which may have come through the shaper. */
INLINE int answer_sender(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct endpoint *endpoint;
	struct address sender;

	if (skb->ifindex != cfg->shaped_ifindex)
		return leave(ctx, bpf_redirect(skb->ifindex, 0));
	sender = ctx->saddr;
	endpoint = bpf_map_lookup_elem(&endpoints, &sender);
	if (!endpoint)
		return drop(ctx, REASON_port_not_bound);
	return leave(ctx, bpf_redirect(endpoint->ifindex, 0));
}
