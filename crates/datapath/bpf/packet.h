/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading a packet's headers, and the few things that are changed in them. */
#pragma once
#include "reasons.h"

/* What the decisions need of an IP packet. */
struct packet {
	struct address source;
	struct address destination;
	__u32 transport; /* offset of what follows the IP header, from the frame's start */
	__u16 fragment; /* IPv4: flags and offset, host order */
	__u8 version;
	__u8 protocol; /* IPv6: the first next header */
	__u8 hops; /* TTL or hop limit */
	__u8 pad[3];
	__u32 mtu; /* the largest packet that the path takes, for an ICMP error that tells it */
};

/*
 * Read anew each time, and by one instruction with the offset in it: to the verifier neither a copy in a 32-bit
 * register is a packet pointer, nor a register with the member's address the context.
 */
#define READ_CONTEXT(skb, member)                                                                       \
	({                                                                                              \
		void *value;                                                                            \
		__asm__ volatile("%0 = *(u32 *)(%1 + %2)"                                               \
				 : "=r"(value)                                                          \
				 : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, member)));        \
		value;                                                                                  \
	})

INLINE void *frame_start(struct __sk_buff *skb)
{
	return READ_CONTEXT(skb, data);
}

INLINE void *frame_end(struct __sk_buff *skb)
{
	return READ_CONTEXT(skb, data_end);
}

/* The frame's start with `size` bytes readable, or NULL if it is shorter. Makes old pointers invalid. */
INLINE void *frame(struct __sk_buff *skb, __u32 size)
{
	void *data = frame_start(skb);

	if (data + size <= frame_end(skb))
		return data;
	if (bpf_skb_pull_data(skb, size))
		return NULL;
	data = frame_start(skb);
	return data + size <= frame_end(skb) ? data : NULL;
}

/* MACs lie at even addresses everywhere, and nowhere at better ones. */
INLINE bool same_mac(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const __u16 *)a, *y = (const __u16 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

INLINE void copy_mac(__u8 *to, const __u8 *from)
{
	__u16 *x = (__u16 *)to;
	const __u16 *y = (const __u16 *)from;

	x[0] = y[0];
	x[1] = y[1];
	x[2] = y[2];
}

INLINE bool same_address(const struct address *a, const struct address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

INLINE bool is_multicast_mac(const __u8 *mac)
{
	return mac[0] & 1;
}

INLINE void mapped(struct address *address, __u32 ipv4)
{
	address->word[0] = 0;
	address->word[1] = 0;
	address->word[2] = htonl(0xffff);
	address->word[3] = ipv4;
}

INLINE bool is_mapped(const struct address *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == htonl(0xffff);
}

INLINE bool is_link_local6(const struct address *address)
{
	return (address->word[0] & htonl(0xffc00000)) == htonl(0xfe800000);
}

INLINE bool is_unspecified6(const struct address *address)
{
	return !address->word[0] && !address->word[1] && !address->word[2] && !address->word[3];
}

/* An IPv4 address that can be the source or the destination of a routed packet. */
INLINE bool is_unicast4(__u32 address)
{
	__u32 top = ntohl(address) >> 24;

	return top != 0 && top != 127 && top < 224;
}

INLINE bool is_unicast6(const struct address *address)
{
	bool loopback_or_none = !address->word[0] && !address->word[1] && !address->word[2] &&
				ntohl(address->word[3]) <= 1;

	return !loopback_or_none && (address->word[0] & htonl(0xff000000)) != htonl(0xff000000);
}

/*
 * In the maps an IPv4-mapped address stands for IPv4. On the wire, in an IPv6 header, it would pass for
 * what it is not: at the door, and to whoever gets it.
 */
INLINE bool pretends_ipv4(const struct packet *p)
{
	return p->version == 6 && (is_mapped(&p->source) || is_mapped(&p->destination));
}

INLINE bool parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	void *data = frame(skb, ETHERNET_SIZE + sizeof(struct ipv4));
	struct ipv4 *ip = data + ETHERNET_SIZE;
	__u32 room = skb->len - ETHERNET_SIZE, header, total;

	if (!data)
		return false;
	header = (ip->version_length & 0xf) * 4;
	total = ntohs(ip->total_length);
	if (!total && skb->gso_size) /* larger than 64 KiB: "big TCP" */
		total = room;
	if (ip->version_length >> 4 != 4 || header < sizeof(*ip) || total < header || total > room)
		return false;
	mapped(&p->source, ip->source);
	mapped(&p->destination, ip->destination);
	p->transport = ETHERNET_SIZE + header;
	p->fragment = ntohs(ip->fragment);
	p->version = 4;
	p->protocol = ip->protocol;
	p->hops = ip->ttl;
	p->mtu = 0;
	return true;
}

INLINE bool parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	void *data = frame(skb, ETHERNET_SIZE + sizeof(struct ipv6));
	struct ipv6 *ip = data + ETHERNET_SIZE;

	if (!data)
		return false;
	if (ntohl(ip->version_class_flow) >> 28 != 6 ||
	    ntohs(ip->payload_length) + sizeof(*ip) + ETHERNET_SIZE > skb->len)
		return false;
	copy(&p->source, ip->source, sizeof(p->source));
	copy(&p->destination, ip->destination, sizeof(p->destination));
	p->transport = ETHERNET_SIZE + sizeof(*ip);
	p->fragment = 0;
	p->version = 6;
	p->protocol = ip->next_header;
	p->hops = ip->hop_limit;
	p->mtu = 0;
	return true;
}

/* Gives the frame its next MAC addresses; a router also takes one off the TTL or hop limit. */
INLINE bool next_hop(struct __sk_buff *skb, __u8 version, const __u8 *destination, const __u8 *source, bool routed)
{
	void *data = frame_start(skb);
	struct ethernet *ethernet = data;

	if (data + ETHERNET_SIZE + sizeof(struct ipv4) > frame_end(skb))
		return false;
	copy_mac(ethernet->destination, destination);
	copy_mac(ethernet->source, source);
	if (!routed)
		return true;
	if (version == 4) {
		struct ipv4 *ip = data + ETHERNET_SIZE;
		/* RFC 1624: the TTL is the upper byte of its checksum word. */
		__u32 sum = ip->checksum + htons(0x0100);

		ip->checksum = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		struct ipv6 *ip = data + ETHERNET_SIZE;

		ip->hop_limit--;
	}
	return true;
}

/* An answer goes back to who sent the frame, from the gateway. */
INLINE void answer_macs(struct ethernet *ethernet, const struct config *cfg)
{
	copy_mac(ethernet->destination, ethernet->source);
	copy_mac(ethernet->source, cfg->gateway_mac);
}

/* The answer's way back: out of the interface where the question came in. */
INLINE int answer(struct __sk_buff *skb, __u32 reason, __u32 bytes)
{
	count(reason, bytes);
	return bpf_redirect(skb->ifindex, 0);
}

/* The same for the sender of an IP packet, which may have come by way of the shaper. */
INLINE int answer_sender(struct __sk_buff *skb, const struct config *cfg, const struct packet *p, __u32 reason,
			 __u32 bytes)
{
	struct endpoint *endpoint;
	struct address sender;

	if (skb->ifindex != cfg->shaped_ifindex)
		return answer(skb, reason, bytes);
	sender = p->source;
	endpoint = bpf_map_lookup_elem(&endpoints, &sender);
	if (!endpoint)
		return drop(skb, REASON_port_not_bound);
	count(reason, bytes);
	return bpf_redirect(endpoint->ifindex, 0);
}

/* The ones-complement sum of up to `words` words from `offset` to the frame's end, not folded. */
INLINE __u64 sum_words(struct __sk_buff *skb, __u32 offset, __u32 words)
{
	void *data = frame_start(skb), *end = frame_end(skb);
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < words; i++) {
		__u32 *word = data + offset + i * 4;

		if ((void *)(word + 1) > end)
			break;
		sum += *word;
	}
	return sum;
}

/* The checksum field for a sum. */
INLINE __u16 checksum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}
