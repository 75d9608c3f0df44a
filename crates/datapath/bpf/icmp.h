/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors from the gateway (RFC 792, RFC 1812 4.3.2; RFC 4443), and its answer to a ping.
 *
 * An error is made out of the packet it is about: the packet is cut to what is quoted, and new headers are put in
 * front. Type and code are one number, ICMP_ERROR.
 */
#pragma once
#include "answer.h"
#include "bucket.h"
#include "drops.h"
#include "parse.h"

#define ICMP_ERROR(type, code) ((type) << 8 | (code))
#define ICMP4_NET_UNREACHABLE ICMP_ERROR(3, 0)
#define ICMP4_HOST_UNREACHABLE ICMP_ERROR(3, 1)
#define ICMP4_PORT_UNREACHABLE ICMP_ERROR(3, 3)
#define ICMP4_TOO_BIG ICMP_ERROR(3, 4)
#define ICMP4_PROHIBITED ICMP_ERROR(3, 13)
#define ICMP4_TTL_EXCEEDED ICMP_ERROR(11, 0)
#define ICMP6_NO_ROUTE ICMP_ERROR(1, 0)
#define ICMP6_PROHIBITED ICMP_ERROR(1, 1)
#define ICMP6_ADDRESS_UNREACHABLE ICMP_ERROR(1, 3)
#define ICMP6_PORT_UNREACHABLE ICMP_ERROR(1, 4)
#define ICMP6_TOO_BIG ICMP_ERROR(2, 0)
#define ICMP6_HOPS_EXCEEDED ICMP_ERROR(3, 0)

/* The whole error stays within what every host accepts: 576 and 1280 bytes. Whole words are quoted. */
#define ICMP4_HEADERS (sizeof(struct iphdr) + sizeof(struct icmphdr))
#define ICMP6_HEADERS (sizeof(struct ipv6hdr) + sizeof(struct icmphdr))
#define ICMP4_QUOTE (576 - ICMP4_HEADERS)
#define ICMP6_QUOTE (1280 - ICMP6_HEADERS)

/* RFC 1122 3.2.2: no error about an error, a later fragment, or a source that is not one host. */
INLINE bool may_answer4(const struct config *cfg, const struct context *ctx)
{
	if (!cfg->gateway4.word[3] || !is_unicast4(ctx->saddr.word[3]) || ctx->protocol == PROTOCOL_FRAGMENT)
		return false;
	if (ctx->protocol != IPPROTO_ICMP)
		return true;
	return ctx->has_l4 && !is_icmp_error(IPPROTO_ICMP, ctx->l4.icmp.type) && ctx->l4.icmp.type <= 18;
}

/*
 * RFC 4443 2.4 (f), RFC 1812 4.3.2.8: errors and echo replies are limited, for each port that causes them. Path-MTU
 * messages have a limit of their own: nothing else must keep them from a sender.
 */
#define ANSWERS_INTERVAL (SECOND / 100)
#define ANSWERS_BURST 200
#define TOO_BIG_INTERVAL (SECOND / 1000)
#define TOO_BIG_BURST 1000

/* Whether one more answer may be sent, and counts it. */
NOINLINE bool within_limit(struct __sk_buff *skb, const struct config *cfg, const struct context *ctx, bool too_big)
{
	struct answers *bucket, full = {};
	__u64 now = bpf_ktime_get_ns();
	__u32 ifindex;

	if (!cfg || !ctx)
		return false;
	ifindex = came_from(skb, cfg, ctx);
	bucket = bpf_map_lookup_elem(&answers, &ifindex);
	if (!bucket) {
		bpf_map_update_elem(&answers, &ifindex, &full, BPF_NOEXIST);
		bucket = bpf_map_lookup_elem(&answers, &ifindex);
		if (!bucket)
			return too_big;
	}
	if (too_big)
		return take(&bucket->due_too_big, now, TOO_BIG_INTERVAL, TOO_BIG_BURST);
	return take(&bucket->due, now, ANSWERS_INTERVAL, ANSWERS_BURST);
}

/* Cuts the frame to what is quoted, word by word, and inserts space for new headers behind the MACs. */
INLINE bool quote(struct __sk_buff *skb, __u32 limit, __u32 headers)
{
	__u32 size = skb->len - ETH_HLEN;

	if (size > limit)
		size = limit;
	size &= ~3;
	return !bpf_skb_change_tail(skb, ETH_HLEN + size, 0) &&
	       !bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, 0);
}

/*
 * Whether an error comes from the address that the packet was sent to: what a Service refuses, and every error to the
 * outside, which knows no gateway.
 */
INLINE bool is_in_service_name(const struct context *ctx)
{
	return ctx->from_outside || ctx->error == (ctx->version == 4 ? ICMP4_PORT_UNREACHABLE : ICMP6_PORT_UNREACHABLE);
}

INLINE bool no_answer(struct context *ctx, __u32 reason)
{
	ctx->reason = reason;
	return false;
}

NOINLINE bool make_error4(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct iphdr *ip, *quoted;
	struct icmphdr *icmp;
	void *data;

	if (!cfg || !ctx)
		return false;
	if (!may_answer4(cfg, ctx))
		return no_answer(ctx, REASON_icmp_suppressed);
	if (!within_limit(skb, cfg, ctx, ctx->error == ICMP4_TOO_BIG))
		return no_answer(ctx, REASON_icmp_limited);
	if (!quote(skb, ICMP4_QUOTE, ICMP4_HEADERS))
		return no_answer(ctx, REASON_answer_failed);
	data = frame(skb, ETH_HLEN + ICMP4_HEADERS + sizeof(*quoted));
	if (!data)
		return no_answer(ctx, REASON_answer_failed);
	reverse_macs(data);
	quoted = data + ETH_HLEN + ICMP4_HEADERS;
	ip = data + ETH_HLEN;
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = 0xc0; /* internetwork control */
	ip->tot_len = htons((__u16)(skb->len - ETH_HLEN));
	ip->id = 0;
	ip->frag_off = htons(IP_DF);
	ip->ttl = GATEWAY_HOPS;
	ip->protocol = IPPROTO_ICMP;
	ip->check = 0;
	/* Back to the sender, as the packet itself has it. */
	ip->daddr = quoted->saddr;
	ip->saddr = is_in_service_name(ctx) ? quoted->daddr : cfg->gateway4.word[3];
	ip->check = checksum(sum_words(skb, ETH_HLEN, sizeof(*ip) / 4));
	icmp = data + ETH_HLEN + sizeof(*ip);
	icmp->type = ctx->error >> 8;
	icmp->code = ctx->error;
	icmp->checksum = 0;
	icmp->un.mtu = ctx->error == ICMP4_TOO_BIG ? htonl(ctx->mtu) : 0;
	icmp->checksum = checksum(sum_words(skb, ETH_HLEN + sizeof(*ip), (sizeof(*icmp) + ICMP4_QUOTE) / 4));
	return true;
}

/* RFC 4443 2.4 (e): no error about an error, a redirect, or a source that is not one host. */
INLINE bool may_answer6(const struct config *cfg, const struct context *ctx)
{
	if (is_unspecified6(&cfg->gateway6) || !is_unicast6(&ctx->saddr) || ctx->protocol < 0)
		return false;
	if (ctx->protocol != IPPROTO_ICMPV6)
		return true;
	return ctx->has_l4 && !is_icmp_error(IPPROTO_ICMPV6, ctx->l4.icmp.type) &&
	       ctx->l4.icmp.type != NDISC_REDIRECT;
}

NOINLINE bool make_error6(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct ipv6hdr *ip, *quoted;
	struct icmphdr *icmp;
	__u32 size;
	void *data;
	__u64 sum;

	if (!cfg || !ctx)
		return false;
	if (!may_answer6(cfg, ctx))
		return no_answer(ctx, REASON_icmp_suppressed);
	if (!within_limit(skb, cfg, ctx, ctx->error == ICMP6_TOO_BIG))
		return no_answer(ctx, REASON_icmp_limited);
	if (!quote(skb, ICMP6_QUOTE, ICMP6_HEADERS))
		return no_answer(ctx, REASON_answer_failed);
	data = frame(skb, ETH_HLEN + ICMP6_HEADERS + sizeof(*quoted));
	if (!data)
		return no_answer(ctx, REASON_answer_failed);
	reverse_macs(data);
	quoted = data + ETH_HLEN + ICMP6_HEADERS;
	size = skb->len - ETH_HLEN - sizeof(*ip);
	ip = data + ETH_HLEN;
	*(__be32 *)ip = htonl(0x60000000); /* version 6, no class and no label */
	ip->payload_len = htons((__u16)size);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = GATEWAY_HOPS;
	if (is_in_service_name(ctx))
		copy(ip->saddr, quoted->daddr, sizeof(ip->saddr));
	else
		copy(ip->saddr, &cfg->gateway6, sizeof(ip->saddr));
	copy(ip->daddr, quoted->saddr, sizeof(ip->daddr));
	icmp = data + ETH_HLEN + sizeof(*ip);
	icmp->type = ctx->error >> 8;
	icmp->code = ctx->error;
	icmp->checksum = 0;
	icmp->un.mtu = ctx->error == ICMP6_TOO_BIG ? htonl(ctx->mtu) : 0;
	/* The addresses stand right before the message: with length and protocol the pseudo-header. */
	sum = sum_words(skb, ETH_HLEN + 8, (32 + sizeof(*icmp) + ICMP6_QUOTE) / 4);
	icmp->checksum = checksum(sum + htonl(size) + htonl(IPPROTO_ICMPV6));
	return true;
}

/*
 * Turns a packet into the error about it, addressed to who sent it. The context then is that of the error but for the
 * addresses; it belongs to no connection. Returns whether that could be done; if not, the reason is why.
 */
INLINE bool make_error(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	if (!(ctx->version == 4 ? make_error4(skb, cfg, ctx) : make_error6(skb, cfg, ctx)))
		return false;
	ctx->l4_offset = ETH_HLEN + (ctx->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	ctx->protocol = ctx->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	ctx->frag_off = IP_DF;
	ctx->tracked = 0;
	ctx->translated = false;
	ctx->routed = false;
	return true;
}

/* Turns type and checksum of an echo request into the reply's. */
INLINE bool echo_type(struct __sk_buff *skb, __u32 offset, __u8 request, __u8 reply)
{
	struct icmphdr icmp;

	if (bpf_skb_load_bytes(skb, offset, &icmp, sizeof(icmp)) || icmp.type != request || icmp.code)
		return false;
	return !bpf_l4_csum_replace(skb, offset + 2, htons(request << 8), htons(reply << 8), 2) &&
	       !bpf_skb_store_bytes(skb, offset, &reply, 1, 0);
}

/*
 * The only thing the gateway does for others is to answer a ping. Fragments of a long one are
 * turned round one by one: the first carries type and checksum, whose change does not depend on
 * the rest, and whoever sent them puts the reply together.
 */
NOINLINE int gateway_ipv4(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	void *data;
	struct iphdr *ip;

	if (!cfg || !ctx)
		return TC_ACT_SHOT;
	if (ctx->nexthdr != IPPROTO_ICMP)
		return drop(skb, ctx, REASON_gateway_other);
	if (!within_limit(skb, cfg, ctx, false))
		return drop(skb, ctx, REASON_icmp_limited);
	if (!(ctx->frag_off & IP_OFFSET) &&
	    !echo_type(skb, ctx->l4_offset, ICMP_ECHO, ICMP_ECHOREPLY))
		return drop(skb, ctx, REASON_gateway_other);
	if (bpf_l3_csum_replace(skb, ETH_HLEN + 10, htons(ctx->ttl << 8), htons(GATEWAY_HOPS << 8), 2))
		return drop(skb, ctx, REASON_answer_failed);
	data = frame(skb, ETH_HLEN + sizeof(*ip));
	if (!data)
		return drop(skb, ctx, REASON_answer_failed);
	reverse_macs(data);
	ip = data + ETH_HLEN;
	ip->ttl = GATEWAY_HOPS;
	ip->saddr = ctx->daddr.word[3];
	ip->daddr = ctx->saddr.word[3];
	ctx->reason = REASON_echo_reply;
	return answer_sender(skb, cfg, ctx);
}

NOINLINE int gateway_ipv6(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	__u32 offset = ETH_HLEN + sizeof(struct ipv6hdr);
	bool first = true;
	struct ipv6hdr *ip;
	void *data;
	__u8 protocol;

	if (!cfg || !ctx)
		return TC_ACT_SHOT;
	protocol = ctx->nexthdr;
	if (protocol == IPPROTO_FRAGMENT) {
		__u8 header[4];

		if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
			return drop(skb, ctx, REASON_malformed);
		protocol = header[0];
		first = !header[2] && !(header[3] & 0xf8);
		offset += 8;
	}
	if (protocol != IPPROTO_ICMPV6)
		return drop(skb, ctx, REASON_gateway_other);
	if (!within_limit(skb, cfg, ctx, false))
		return drop(skb, ctx, REASON_icmp_limited);
	if (first && !echo_type(skb, offset, ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY))
		return drop(skb, ctx, REASON_gateway_other);
	data = frame(skb, ETH_HLEN + sizeof(*ip));
	if (!data)
		return drop(skb, ctx, REASON_answer_failed);
	reverse_macs(data);
	ip = data + ETH_HLEN;
	ip->hop_limit = GATEWAY_HOPS;
	copy(ip->saddr, &ctx->daddr, sizeof(ip->saddr));
	copy(ip->daddr, &ctx->saddr, sizeof(ip->daddr));
	ctx->reason = REASON_echo_reply;
	return answer_sender(skb, cfg, ctx);
}

/* The error that is due about a packet, whose reason is in its context. */
INLINE int icmp_error(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, __u16 error4, __u16 error6)
{
	bool made;

	ctx->error = ctx->version == 4 ? error4 : error6;
	describe(skb, ctx);
	made = make_error(skb, cfg, ctx);
	note_described(ctx);
	return made ? answer_sender(skb, cfg, ctx) : leave(ctx, TC_ACT_SHOT);
}
