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

/* Where the sender of an IP packet is reached: the interface where it came in, before it came through the shaper. */
INLINE __u32 came_from(struct __sk_buff *skb, const struct config *cfg, const struct context *ctx)
{
	return skb->ifindex == cfg->shaped_ifindex && ctx->source_ifindex ? ctx->source_ifindex : skb->ifindex;
}

/* The same for the sender of an IP packet, which may have come through the shaper. */
INLINE int answer_sender(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	return leave(ctx, bpf_redirect(came_from(skb, cfg, ctx), 0));
}
