/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of a packet that policy does not let pass: it is dropped, and its sender told if the policy says so. */
#pragma once
#include "icmp.h"
#include "reset.h"

/*
 * Turns such a packet into the answer to it, if its sender is to be told: a reset, or an ICMP error. The context then is
 * that of the answer, but for the reason. Returns whether there is one: there is none to a packet that keeps the kernel's
 * marks of a tunnel (vxlan.h), which a virtual wire brings with it, since the kernel cuts no such packet.
 */
NOINLINE bool make_refusal(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	__u32 reason;
	bool made;

	if (!cfg || !ctx || !(ctx->judgement & REJECTED))
		return false;
	reason = ctx->reason;
	if (ctx->tracked == IPPROTO_TCP && ctx->has_l4) {
		made = !(ctx->tcp_flags & TCP_RST) && within_limit(skb, cfg, ctx, false) && make_reset(skb, ctx);
	} else {
		ctx->error = ctx->version == 4 ? ICMP4_PROHIBITED : ICMP6_PROHIBITED;
		made = make_error(skb, cfg, ctx);
	}
	ctx->reason = reason;
	return made;
}

/* The end of a packet that came from an endpoint or from the outside. */
NOINLINE int refuse(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	if (!cfg || !ctx)
		return TC_ACT_SHOT;
	return make_refusal(skb, cfg, ctx) ? answer_sender(skb, cfg, ctx) : leave(ctx, TC_ACT_SHOT);
}
