/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives a packet the addresses and ports that its context has, and the checksums that go with them. */
#pragma once
#include "context.h"
#include "frame.h"

/* RFC 9260 appendix A: the generator polynomial of SCTP's checksum, bits reversed. */
#define CRC32C 0x82f63b78

/* The product of two polynomials modulo CRC32C's, the highest bit standing for x^0. */
NOINLINE __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 32; i++) {
		if (a & 0x80000000)
			product ^= b;
		a <<= 1;
		b = b >> 1 ^ (b & 1 ? CRC32C : 0);
	}
	return product;
}

/*
 * What a checksum changes by when a word changes that has `bytes` bytes behind it: CRC is linear, so it is the word's
 * difference times x^(8 * bytes).
 */
NOINLINE __u32 crc32c_change(__u32 difference, __u32 bytes)
{
	__u32 power = 0x00800000; /* x^8 */

	/* A word's checksum is it times x^32: as if it had four bytes more behind it. */
	bytes += 4;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 17; i++) {
		if (bytes & 1)
			difference = crc32c_multiply(difference, power);
		power = crc32c_multiply(power, power);
		bytes >>= 1;
	}
	return difference;
}

/*
 * SCTP has no pseudo-header: its checksum (at 8, behind the ports and the tag) changes with the ports alone. A zero is
 * one that the interface will fill in. The packet's `end` may come before the frame's, which may be padded.
 */
NOINLINE int rewrite_sctp(struct __sk_buff *skb, __u32 offset, __u32 end, __u32 ports, __u32 before)
{
	__u32 sum;

	if (bpf_skb_load_bytes(skb, offset + 8, &sum, sizeof(sum)))
		return -1;
	if (!sum || end < offset + 4)
		return 0;
	/* The word's bits in the order in which they are sent: lowest first in each byte. */
	sum ^= crc32c_change(ports ^ before, end - offset - 4);
	return bpf_skb_store_bytes(skb, offset + 8, &sum, sizeof(sum), BPF_F_RECOMPUTE_CSUM);
}

/* The difference that a checksum's sum gets when words change, not folded. */
INLINE __u64 difference(const __be32 *from, const __be32 *to, int words)
{
	__u64 sum = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < words; i++)
		sum += (__u64)(__u32)~from[i] + to[i];
	return sum;
}

INLINE __u32 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

/*
 * The ports of a packet whose header has neither options nor extensions, in the packet; NULL for any other, and if they
 * cannot be pulled into its linear part.
 */
INLINE __u32 *ports_of(struct __sk_buff *skb, const struct context *ctx)
{
	if (ctx->l4_offset == ETH_HLEN + sizeof(struct iphdr)) {
		void *data = frame(skb, ETH_HLEN + sizeof(struct iphdr) + sizeof(__u32));

		return data ? data + ETH_HLEN + sizeof(struct iphdr) : NULL;
	}
	if (ctx->l4_offset == ETH_HLEN + sizeof(struct ipv6hdr)) {
		void *data = frame(skb, ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(__u32));

		return data ? data + ETH_HLEN + sizeof(struct ipv6hdr) : NULL;
	}
	return NULL;
}

/* The transport's checksum has these addresses in its pseudo-header, and the ports in itself. */
INLINE bool rewrite_transport(struct __sk_buff *skb, const struct context *ctx, __u32 addresses, __u32 end)
{
	__u64 zero = ctx->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 before, ports, at, *there;

	if (!ctx->has_l4)
		return true;
	at = ctx->l4_offset + 16;
	if (ctx->protocol == IPPROTO_UDP)
		at = ctx->l4_offset + 6;
	else if (ctx->protocol == IPPROTO_ICMPV6)
		at = ctx->l4_offset + 2;
	if (ctx->protocol != IPPROTO_SCTP && ctx->protocol != IPPROTO_ICMP &&
	    bpf_l4_csum_replace(skb, at, 0, addresses, BPF_F_PSEUDO_HDR | zero))
		return false;
	if (ctx->protocol == IPPROTO_ICMP || ctx->protocol == IPPROTO_ICMPV6)
		return true;
	ports = (__u32)(ctx->l4.bytes);
	there = ports_of(skb, ctx);
	if (there)
		before = *there;
	else if (bpf_skb_load_bytes(skb, ctx->l4_offset, &before, sizeof(before)))
		return false;
	if (ports == before)
		return true;
	if (ctx->protocol == IPPROTO_SCTP) {
		if (rewrite_sctp(skb, ctx->l4_offset, end, ports, before))
			return false;
	} else if (bpf_l4_csum_replace(skb, at, before, ports, zero | sizeof(ports))) {
		return false;
	}
	there = ctx->protocol == IPPROTO_SCTP ? NULL : ports_of(skb, ctx);
	if (there) {
		*there = ports;
		return true;
	}
	/* Elsewhere the transport's own sum evens it out. */
	return !bpf_skb_store_bytes(skb, ctx->l4_offset, &ports, sizeof(ports),
				    ctx->protocol == IPPROTO_SCTP ? BPF_F_RECOMPUTE_CSUM : 0);
}

NOINLINE bool rewrite4(struct __sk_buff *skb, const struct context *ctx)
{
	__be32 before[2], now[2];
	struct iphdr *ip;
	__u64 change;
	__u32 end;
	void *data;

	if (!ctx)
		return false;
	data = frame(skb, ETH_HLEN + sizeof(*ip));
	if (!data)
		return false;
	ip = data + ETH_HLEN;
	before[0] = ip->saddr;
	before[1] = ip->daddr;
	now[0] = ctx->saddr.word[3];
	now[1] = ctx->daddr.word[3];
	change = difference(before, now, 2);
	ip->check = checksum((__u64)(__u16)~ip->check + folded(change));
	ip->saddr = now[0];
	ip->daddr = now[1];
	end = ETH_HLEN + ntohs(ip->tot_len);
	return rewrite_transport(skb, ctx, folded(change), end);
}

NOINLINE bool rewrite6(struct __sk_buff *skb, const struct context *ctx)
{
	struct address before[2], now[2];
	struct ipv6hdr *ip;
	__u64 change;
	__u32 end;
	void *data;

	if (!ctx)
		return false;
	data = frame(skb, ETH_HLEN + sizeof(*ip));
	if (!data)
		return false;
	ip = data + ETH_HLEN;
	copy(before, ip->saddr, sizeof(before));
	now[0] = ctx->saddr;
	now[1] = ctx->daddr;
	change = difference(before[0].word, now[0].word, 4) + difference(before[1].word, now[1].word, 4);
	copy(ip->saddr, now, sizeof(now));
	end = ETH_HLEN + sizeof(*ip) + ntohs(ip->payload_len);
	/* A sum over the whole packet that the interface made: this header has no checksum that would even it out. */
	bpf_csum_update(skb, folded(change));
	return rewrite_transport(skb, ctx, folded(change), end);
}

/* Returns whether it could be done. */
INLINE bool rewrite(struct __sk_buff *skb, const struct context *ctx)
{
	return ctx->version == 4 ? rewrite4(skb, ctx) : rewrite6(skb, ctx);
}
