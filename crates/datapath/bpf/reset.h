/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A TCP segment of a connection whose other end is gone: its sender gets a reset, in that end's name, and need not wait
 * until it gives up (RFC 9293 3.5.2).
 */
#pragma once
#include "answer.h"
#include "connection.h"

struct tcphdr {
	__be16 source;
	__be16 dest;
	__be32 seq;
	__be32 ack_seq;
	__u8 data_offset;
	__u8 flags;
	__be16 window;
	__u16 check;
	__u16 urg_ptr;
};

#define RESET4 (ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr))
#define RESET6 (ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr))

/* Whether a segment has to be answered so. */
INLINE bool needs_reset(const struct context *ctx)
{
	return ctx->tracked == IPPROTO_TCP && ctx->has_l4 && ctx->part != PART_NEW &&
	       (ctx->tcp_flags & (TCP_RST | TCP_ACK)) == TCP_ACK;
}

/*
 * Turns a segment into the reset that answers it, addressed to who sent it. The context then is that of the reset, which
 * belongs to no connection. Returns whether that could be done.
 */
NOINLINE bool make_reset(struct __sk_buff *skb, struct context *ctx)
{
	struct tcphdr tcp = {}, *to;
	__be16 ports[2];
	void *data;
	__u64 sum;
	__be32 numbers[2]; /* of the sequence, and acknowledged */

	if (!ctx)
		return false;
	if (bpf_skb_load_bytes(skb, ctx->l4_offset, ports, sizeof(ports)) ||
	    bpf_skb_load_bytes(skb, ctx->l4_offset + 4, numbers, sizeof(numbers)))
		return false;
	tcp.source = ports[1];
	tcp.dest = ports[0];
	tcp.data_offset = sizeof(tcp) / 4 << 4;
	tcp.flags = TCP_RST;
	if (ctx->tcp_flags & TCP_ACK) {
		tcp.seq = numbers[1];
	} else {
		/* Of what acknowledges nothing only a SYN waits for an answer, and it has no data. */
		tcp.ack_seq = htonl(ntohl(numbers[0]) + 1);
		tcp.flags |= TCP_ACK;
	}
	if (ctx->version == 4) {
		struct iphdr *ip;

		if (bpf_skb_change_tail(skb, RESET4, 0))
			return false;
		data = frame(skb, RESET4);
		if (!data)
			return false;
		ip = data + ETH_HLEN;
		to = data + ETH_HLEN + sizeof(*ip);
		mapped(&ctx->daddr, ip->saddr);
		mapped(&ctx->saddr, ip->daddr);
		ip->version = 4;
		ip->ihl = sizeof(*ip) / 4;
		ip->tot_len = htons(RESET4 - ETH_HLEN);
		ip->id = 0;
		ip->frag_off = htons(IP_DF);
		ip->ttl = GATEWAY_HOPS;
		ip->protocol = IPPROTO_TCP;
		ip->saddr = ctx->saddr.word[3];
		ip->daddr = ctx->daddr.word[3];
		ip->check = 0;
		copy(to, &tcp, sizeof(tcp));
		ip->check = checksum(sum_words(skb, ETH_HLEN, sizeof(*ip) / 4));
		sum = sum_words(skb, ETH_HLEN + 12, (8 + sizeof(tcp)) / 4);
		reverse_macs(data);
	} else {
		struct ipv6hdr *ip;

		if (bpf_skb_change_tail(skb, RESET6, 0))
			return false;
		data = frame(skb, RESET6);
		if (!data)
			return false;
		ip = data + ETH_HLEN;
		to = data + ETH_HLEN + sizeof(*ip);
		copy(&ctx->daddr, ip->saddr, sizeof(ctx->daddr));
		copy(&ctx->saddr, ip->daddr, sizeof(ctx->saddr));
		*(__be32 *)ip = htonl(0x60000000);
		ip->payload_len = htons(sizeof(tcp));
		ip->nexthdr = IPPROTO_TCP;
		ip->hop_limit = GATEWAY_HOPS;
		copy(ip->saddr, &ctx->saddr, sizeof(ip->saddr));
		copy(ip->daddr, &ctx->daddr, sizeof(ip->daddr));
		copy(to, &tcp, sizeof(tcp));
		sum = sum_words(skb, ETH_HLEN + 8, (32 + sizeof(tcp)) / 4);
		reverse_macs(data);
	}
	tcp.check = checksum(sum + htonl(sizeof(tcp)) + htonl(IPPROTO_TCP));
	bpf_skb_store_bytes(skb, (ctx->version == 4 ? RESET4 : RESET6) - 4, &tcp.check, sizeof(tcp.check), 0);
	ctx->l4_offset = ctx->version == 4 ? RESET4 - sizeof(tcp) : RESET6 - sizeof(tcp);
	ctx->protocol = IPPROTO_TCP;
	ctx->frag_off = IP_DF;
	ctx->tracked = 0;
	ctx->translated = false;
	ctx->routed = false;
	return true;
}

/* Answers a segment from an endpoint or from the outside. */
NOINLINE int reset_sender(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	if (!cfg || !ctx)
		return TC_ACT_SHOT;
	if (!make_reset(skb, ctx))
		return drop(skb, ctx, REASON_answer_failed);
	ctx->reason = REASON_connection_reset;
	return answer_sender(skb, cfg, ctx);
}

/* The connection was with a Pod that had the destination's address before. */
NOINLINE int stale(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	if (!cfg || !ctx)
		return TC_ACT_SHOT;
	forget_packet(skb, ctx);
	if (!needs_reset(ctx))
		return drop(skb, ctx, REASON_stale_connection);
	return reset_sender(skb, cfg, ctx);
}
