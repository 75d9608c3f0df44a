/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading a packet's headers into its context. */
#pragma once
#include "address.h"
#include "context.h"
#include "frame.h"

#define EXTENSION(nexthdr) (1ULL << (nexthdr))
#define EXTENSIONS                                                                                          \
	(EXTENSION(IPPROTO_HOPOPTS) | EXTENSION(IPPROTO_ROUTING) | EXTENSION(IPPROTO_FRAGMENT) | \
	 EXTENSION(IPPROTO_AUTH) | EXTENSION(IPPROTO_DSTOPTS))
#define MAX_EXTENSIONS 8

INLINE bool is_extension(__u8 nexthdr)
{
	return nexthdr < 64 && EXTENSIONS & EXTENSION(nexthdr);
}

INLINE void load_l4(struct __sk_buff *skb, struct context *ctx)
{
	ctx->has_l4 = ctx->protocol >= 0 &&
		      !bpf_skb_load_bytes(skb, ctx->l4_offset, &ctx->l4, sizeof(ctx->l4));
	if (ctx->has_l4 && ctx->protocol == IPPROTO_TCP)
		bpf_skb_load_bytes(skb, ctx->l4_offset + TCP_FLAGS, &ctx->tcp_flags, 1);
}

/* The same where the header follows one whose size is known: most often, without a call of the kernel. */
INLINE void read_l4(struct __sk_buff *skb, struct context *ctx, void *data, __u32 offset)
{
	if (data + offset + sizeof(ctx->l4) > frame_end(skb)) {
		load_l4(skb, ctx);
		return;
	}
	ctx->l4.bytes = *(__u64 *)(data + offset);
	ctx->has_l4 = true;
	if (ctx->protocol == IPPROTO_TCP && data + offset + TCP_FLAGS + 1 <= frame_end(skb))
		ctx->tcp_flags = *(__u8 *)(data + offset + TCP_FLAGS);
}

/* Walks the extension headers of IPv6. */
NOINLINE int skip_extensions(struct __sk_buff *skb, struct context *ctx)
{
	__u32 offset;
	__u8 nexthdr;

	if (!ctx)
		return 0;
	offset = ctx->l4_offset;
	nexthdr = ctx->nexthdr;
	ctx->protocol = PROTOCOL_UNKNOWN;
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		__u8 header[4];

		if (!is_extension(nexthdr)) {
			ctx->protocol = nexthdr;
			break;
		}
		if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
			break;
		if (nexthdr == IPPROTO_FRAGMENT) {
			ctx->fragment = header[2] || header[3] & 0xf9;
			if (header[2] || header[3] & 0xf8) {
				ctx->protocol = PROTOCOL_FRAGMENT;
				break;
			}
			offset += 8;
		} else if (nexthdr == IPPROTO_AUTH) {
			offset += (header[1] + 2) * 4;
		} else {
			offset += (header[1] + 1) * 8;
		}
		nexthdr = header[0];
	}
	ctx->l4_offset = offset;
	load_l4(skb, ctx);
	return 0;
}

INLINE void set_protocol4(struct context *ctx, const struct iphdr *ip)
{
	ctx->nexthdr = ip->protocol;
	ctx->frag_off = ntohs(ip->frag_off);
	ctx->fragment = ctx->frag_off & (IP_MF | IP_OFFSET);
	ctx->protocol = ctx->frag_off & IP_OFFSET ? PROTOCOL_FRAGMENT : ip->protocol;
	mapped(&ctx->saddr, ip->saddr);
	mapped(&ctx->daddr, ip->daddr);
}

INLINE bool parse_ipv4(struct __sk_buff *skb, struct context *ctx)
{
	void *data = frame(skb, ETH_HLEN + sizeof(struct iphdr));
	struct iphdr *ip = data + ETH_HLEN;
	__u32 size = skb->len - ETH_HLEN, header, total;

	if (!data)
		return false;
	header = ip->ihl * 4;
	total = ntohs(ip->tot_len);
	if (!total && skb->gso_size) /* larger than 64 KiB: "big TCP" */
		total = size;
	if (ip->version != 4 || header < sizeof(*ip) || total < header || total > size)
		return false;
	set_protocol4(ctx, ip);
	ctx->version = 4;
	ctx->ttl = ip->ttl;
	ctx->l4_offset = ETH_HLEN + header;
	if (header == sizeof(*ip) && ctx->protocol >= 0)
		read_l4(skb, ctx, data, ETH_HLEN + sizeof(*ip));
	else
		load_l4(skb, ctx);
	return true;
}

INLINE bool parse_ipv6(struct __sk_buff *skb, struct context *ctx)
{
	void *data = frame(skb, ETH_HLEN + sizeof(struct ipv6hdr));
	struct ipv6hdr *ip = data + ETH_HLEN;

	if (!data)
		return false;
	if (ip->version != 6 || ntohs(ip->payload_len) + sizeof(*ip) + ETH_HLEN > skb->len)
		return false;
	copy(&ctx->saddr, ip->saddr, sizeof(ctx->saddr));
	copy(&ctx->daddr, ip->daddr, sizeof(ctx->daddr));
	ctx->version = 6;
	ctx->nexthdr = ip->nexthdr;
	ctx->ttl = ip->hop_limit;
	ctx->l4_offset = ETH_HLEN + sizeof(*ip);
	ctx->protocol = ctx->nexthdr;
	if (is_extension(ctx->nexthdr))
		skip_extensions(skb, ctx);
	else
		read_l4(skb, ctx, data, ETH_HLEN + sizeof(*ip));
	return true;
}

/*
 * In the maps an IPv4-mapped address stands for IPv4. On the wire, in an IPv6 header, it would pass for
 * what it is not: here, and to whoever gets it.
 */
INLINE bool pretends_ipv4(const struct context *ctx)
{
	return ctx->version == 6 && (is_mapped(&ctx->saddr) || is_mapped(&ctx->daddr));
}

/*
 * Whether it is a packet of that IP version that can be forwarded; else the reason is why not. Of the context only `len`,
 * `from_node`, `from_outside` and `generation` are set before.
 */
INLINE bool parse(struct __sk_buff *skb, struct context *ctx, __u8 version)
{
	ctx->via = (struct address){};
	ctx->l4.bytes = 0;
	ctx->source_ifindex = 0;
	ctx->peer_ifindex = 0;
	ctx->service = 0;
	ctx->tcp_flags = 0;
	ctx->tracked = 0;
	ctx->part = PART_NEW;
	ctx->kind = CONNECTION_PLAIN;
	ctx->source_from = SOURCE_CLIENT;
	ctx->variant = 0;
	ctx->translated = false;
	ctx->related = false;
	ctx->host_backend = false;
	ctx->failed = false;
	ctx->reason = REASON_malformed;
	ctx->mtu = 0;
	ctx->error = 0;
	ctx->frag_off = 0;
	ctx->fragment = false;
	ctx->has_l4 = false;
	ctx->routed = false;
	ctx->rule = 0;
	ctx->rules[0] = ctx->rules[1] = 0;
	ctx->judgement = 0;
	ctx->pad = 0;
	if (!(version == 4 ? parse_ipv4(skb, ctx) : parse_ipv6(skb, ctx))) {
		*ctx = (struct context){ .len = ctx->len, .reason = REASON_malformed, .from_node = ctx->from_node };
		return false;
	}
	if (!pretends_ipv4(ctx))
		return true;
	ctx->reason = REASON_not_routable;
	return false;
}

/* RFC 792 and RFC 4443 2.1: IPv6 has its error messages below 128, where the echo request begins. */
INLINE bool is_icmp_error(int protocol, __u8 type)
{
	if (protocol == IPPROTO_ICMPV6)
		return type < ICMPV6_ECHO_REQUEST;
	return protocol == IPPROTO_ICMP && (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

/* The beginning of a packet that an ICMP error quotes, in the place of the error itself. */
INLINE bool parse_quote(struct __sk_buff *skb, struct context *ctx)
{
	__u32 offset = ctx->l4_offset + sizeof(struct icmphdr);

	if (ctx->version == 4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 4)
			return false;
		set_protocol4(ctx, &ip);
		ctx->l4_offset = offset + ip.ihl * 4;
		load_l4(skb, ctx);
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		copy(&ctx->saddr, ip.saddr, sizeof(ctx->saddr));
		copy(&ctx->daddr, ip.daddr, sizeof(ctx->daddr));
		ctx->l4_offset = offset + sizeof(ip);
		ctx->nexthdr = ip.nexthdr;
		ctx->fragment = false;
		skip_extensions(skb, ctx);
	}
	return true;
}
