/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors from the gateway (RFC 792, RFC 1812 4.3.2; RFC 4443), and its answer to a ping.
 *
 * An error is made out of the packet it is about: cut to what is quoted, and new headers put in
 * front. A caller gives type and code as one number.
 */
#pragma once
#include "packet.h"

#define ICMP_ERROR(type, code) ((type) << 8 | (code))
#define ICMP4_NET_UNREACHABLE ICMP_ERROR(3, 0)
#define ICMP4_HOST_UNREACHABLE ICMP_ERROR(3, 1)
#define ICMP4_TOO_BIG ICMP_ERROR(3, 4)
#define ICMP4_TTL_EXCEEDED ICMP_ERROR(11, 0)
#define ICMP6_NO_ROUTE ICMP_ERROR(1, 0)
#define ICMP6_ADDRESS_UNREACHABLE ICMP_ERROR(1, 3)
#define ICMP6_TOO_BIG ICMP_ERROR(2, 0)
#define ICMP6_HOPS_EXCEEDED ICMP_ERROR(3, 0)

#define ICMP4_ECHO 8
#define ICMP4_ECHO_REPLY 0
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_REDIRECT 137

/* What the gateway sends starts with this TTL. */
#define GATEWAY_HOPS 64

/* The whole error stays within what every host accepts: 576 and 1280 bytes. Whole words are quoted. */
#define ICMP4_HEADERS (sizeof(struct ipv4) + sizeof(struct icmp))
#define ICMP6_HEADERS (sizeof(struct ipv6) + sizeof(struct icmp))
#define ICMP4_QUOTE (576 - ICMP4_HEADERS)
#define ICMP6_QUOTE (1280 - ICMP6_HEADERS)

/* RFC 792 and RFC 4443 2.1: IPv6 has its error messages below 128, where the echo request begins. */
INLINE bool is_icmp_error(int protocol, __u8 type)
{
	if (protocol == IPPROTO_ICMPV6)
		return type < ICMP6_ECHO;
	return protocol == IPPROTO_ICMP && (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

/* RFC 1122 3.2.2: no error about an error, a later fragment, or a source that is not one host. */
INLINE bool may_answer4(struct __sk_buff *skb, const struct config *cfg, const struct packet *p)
{
	__u8 type;

	if (!cfg->gateway4.word[3] || !is_unicast4(p->source.word[3]) || (p->fragment & IPV4_FRAGMENT_OFFSET))
		return false;
	if (p->protocol != IPPROTO_ICMP)
		return true;
	if (bpf_skb_load_bytes(skb, p->transport, &type, 1))
		return false;
	return !is_icmp_error(IPPROTO_ICMP, type) && type <= 18;
}

/*
 * RFC 4443 2.4 (f), RFC 1812 4.3.2.8: errors and echo replies are limited, for each port that causes them. Path-MTU
 * messages have a limit of their own: nothing else must keep them from a sender.
 */
#define SECOND 1000000000ULL
#define ANSWERS_INTERVAL (SECOND / 100)
#define ANSWERS_BURST 200
#define TOO_BIG_INTERVAL (SECOND / 1000)
#define TOO_BIG_BURST 1000

/* Whether one more answer may be sent, and counts it. CPUs that answer at the same moment may count one for two. */
NOINLINE bool within_limit(struct __sk_buff *skb, const struct config *cfg, const struct packet *p, bool too_big)
{
	__u64 interval = too_big ? TOO_BIG_INTERVAL : ANSWERS_INTERVAL;
	__u64 most = too_big ? TOO_BIG_INTERVAL * (TOO_BIG_BURST - 1) : ANSWERS_INTERVAL * (ANSWERS_BURST - 1);
	__u64 now = bpf_ktime_get_ns(), *due, next;
	struct answers *bucket, full = {};
	__u32 ifindex = skb->ifindex;

	if (!cfg || !p)
		return false;
	if (ifindex == cfg->shaped_ifindex) {
		struct address sender = p->source;
		struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &sender);

		if (endpoint)
			ifindex = endpoint->ifindex;
	}
	bucket = bpf_map_lookup_elem(&answers, &ifindex);
	if (!bucket) {
		bpf_map_update_elem(&answers, &ifindex, &full, BPF_NOEXIST);
		bucket = bpf_map_lookup_elem(&answers, &ifindex);
		if (!bucket)
			return too_big;
	}
	due = too_big ? &bucket->due_too_big : &bucket->due;
	next = *due > now ? *due : now;
	if (next - now > most)
		return false;
	*due = next + interval;
	return true;
}

/* Cuts the frame to what is quoted, word by word, and makes room for new headers behind the MACs. */
INLINE bool quote(struct __sk_buff *skb, __u32 limit, __u32 headers)
{
	__u32 size = skb->len - ETHERNET_SIZE;

	if (size > limit)
		size = limit;
	size &= ~3;
	return !bpf_skb_change_tail(skb, ETHERNET_SIZE + size, 0) &&
	       !bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, 0);
}

NOINLINE int icmp4_error(struct __sk_buff *skb, const struct config *cfg, const struct packet *p, __u32 error,
			 __u32 reason)
{
	__u32 bytes = skb->len;
	struct icmp *icmp;
	struct ipv4 *ip;
	void *data;

	if (!cfg || !p)
		return drop(skb, REASON_malformed);
	if (!may_answer4(skb, cfg, p))
		return drop(skb, REASON_icmp_suppressed);
	if (!within_limit(skb, cfg, p, error == ICMP4_TOO_BIG))
		return drop(skb, REASON_icmp_limited);
	if (!quote(skb, ICMP4_QUOTE, ICMP4_HEADERS))
		return drop(skb, REASON_answer_failed);
	data = frame(skb, ETHERNET_SIZE + ICMP4_HEADERS);
	if (!data)
		return drop(skb, REASON_answer_failed);
	answer_macs(data, cfg);
	ip = data + ETHERNET_SIZE;
	ip->version_length = 0x45;
	ip->tos = 0xc0; /* internetwork control */
	ip->total_length = htons((__u16)(skb->len - ETHERNET_SIZE));
	ip->id = 0;
	ip->fragment = htons(IPV4_DONT_FRAGMENT);
	ip->ttl = GATEWAY_HOPS;
	ip->protocol = IPPROTO_ICMP;
	ip->checksum = 0;
	ip->source = cfg->gateway4.word[3];
	ip->destination = p->source.word[3];
	ip->checksum = checksum(sum_words(skb, ETHERNET_SIZE, sizeof(*ip) / 4));
	icmp = data + ETHERNET_SIZE + sizeof(*ip);
	icmp->type = error >> 8;
	icmp->code = error;
	icmp->checksum = 0;
	icmp->rest = error == ICMP4_TOO_BIG ? htonl(p->mtu) : 0;
	icmp->checksum = checksum(sum_words(skb, ETHERNET_SIZE + sizeof(*ip), (sizeof(*icmp) + ICMP4_QUOTE) / 4));
	return answer_sender(skb, cfg, p, reason, bytes);
}

#define MAX_EXTENSIONS 8

/* What transport6 says instead of a protocol. */
#define LATER_FRAGMENT -1
#define TOO_MANY_HEADERS -2 /* or cut off */

/* Behind the extension headers: the protocol, or one of these two; and whether the packet is a fragment. */
INLINE int find_transport6(struct __sk_buff *skb, const struct packet *p, __u32 *offset, bool *fragment)
{
	__u8 protocol = p->protocol;

	*offset = p->transport;
	*fragment = false;
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		__u8 header[4];

		if (protocol != IPPROTO_HOPOPTS && protocol != IPPROTO_ROUTING && protocol != IPPROTO_FRAGMENT &&
		    protocol != IPPROTO_AUTH && protocol != IPPROTO_DSTOPTS)
			return protocol;
		if (bpf_skb_load_bytes(skb, *offset, header, sizeof(header)))
			return TOO_MANY_HEADERS;
		if (protocol == IPPROTO_FRAGMENT) {
			*fragment = header[2] || header[3] & 0xf9;
			if (header[2] || header[3] & 0xf8)
				return LATER_FRAGMENT;
			*offset += 8;
		} else if (protocol == IPPROTO_AUTH) {
			*offset += (header[1] + 2) * 4;
		} else {
			*offset += (header[1] + 1) * 8;
		}
		protocol = header[0];
	}
	return TOO_MANY_HEADERS;
}

INLINE int transport6(struct __sk_buff *skb, const struct packet *p, __u32 *offset)
{
	bool fragment;

	return find_transport6(skb, p, offset, &fragment);
}

/* RFC 4443 2.4 (e): no error about an error, a redirect, or a source that is not one host. */
INLINE bool may_answer6(struct __sk_buff *skb, const struct config *cfg, const struct packet *p)
{
	__u32 offset;
	__u8 type;
	int protocol;

	if (is_unspecified6(&cfg->gateway6) || !is_unicast6(&p->source))
		return false;
	protocol = transport6(skb, p, &offset);
	if (protocol < 0)
		return false;
	if (protocol != IPPROTO_ICMPV6)
		return true;
	if (bpf_skb_load_bytes(skb, offset, &type, 1))
		return false;
	return type >= 128 && type != ICMP6_REDIRECT;
}

NOINLINE int icmp6_error(struct __sk_buff *skb, const struct config *cfg, const struct packet *p, __u32 error,
			 __u32 reason)
{
	__u32 bytes = skb->len, size;
	struct icmp *icmp;
	struct ipv6 *ip;
	void *data;
	__u64 sum;

	if (!cfg || !p)
		return drop(skb, REASON_malformed);
	if (!may_answer6(skb, cfg, p))
		return drop(skb, REASON_icmp_suppressed);
	if (!within_limit(skb, cfg, p, error == ICMP6_TOO_BIG))
		return drop(skb, REASON_icmp_limited);
	if (!quote(skb, ICMP6_QUOTE, ICMP6_HEADERS))
		return drop(skb, REASON_answer_failed);
	data = frame(skb, ETHERNET_SIZE + ICMP6_HEADERS);
	if (!data)
		return drop(skb, REASON_answer_failed);
	answer_macs(data, cfg);
	size = skb->len - ETHERNET_SIZE - sizeof(*ip);
	ip = data + ETHERNET_SIZE;
	ip->version_class_flow = htonl(0x60000000);
	ip->payload_length = htons((__u16)size);
	ip->next_header = IPPROTO_ICMPV6;
	ip->hop_limit = GATEWAY_HOPS;
	copy(ip->source, &cfg->gateway6, sizeof(ip->source));
	copy(ip->destination, &p->source, sizeof(ip->destination));
	icmp = data + ETHERNET_SIZE + sizeof(*ip);
	icmp->type = error >> 8;
	icmp->code = error;
	icmp->checksum = 0;
	icmp->rest = error == ICMP6_TOO_BIG ? htonl(p->mtu) : 0;
	/* The addresses stand right before the message: with length and protocol the pseudo-header. */
	sum = sum_words(skb, ETHERNET_SIZE + 8, (32 + sizeof(*icmp) + ICMP6_QUOTE) / 4);
	icmp->checksum = checksum(sum + htonl(size) + htonl(IPPROTO_ICMPV6));
	return answer_sender(skb, cfg, p, reason, bytes);
}

/* Turns type and checksum of an echo request into the reply's. */
INLINE bool echo_type(struct __sk_buff *skb, __u32 offset, __u8 request, __u8 reply)
{
	struct icmp icmp;

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
NOINLINE int gateway_ipv4(struct __sk_buff *skb, const struct config *cfg, const struct packet *p)
{
	void *data;
	struct ipv4 *ip;

	if (!cfg || !p)
		return drop(skb, REASON_malformed);
	if (p->protocol != IPPROTO_ICMP)
		return drop(skb, REASON_gateway_other);
	if (!within_limit(skb, cfg, p, false))
		return drop(skb, REASON_icmp_limited);
	if (!(p->fragment & IPV4_FRAGMENT_OFFSET) &&
	    !echo_type(skb, p->transport, ICMP4_ECHO, ICMP4_ECHO_REPLY))
		return drop(skb, REASON_gateway_other);
	if (bpf_l3_csum_replace(skb, ETHERNET_SIZE + 10, htons(p->hops << 8), htons(GATEWAY_HOPS << 8), 2))
		return drop(skb, REASON_answer_failed);
	data = frame(skb, ETHERNET_SIZE + sizeof(*ip));
	if (!data)
		return drop(skb, REASON_answer_failed);
	answer_macs(data, cfg);
	ip = data + ETHERNET_SIZE;
	ip->ttl = GATEWAY_HOPS;
	ip->source = p->destination.word[3];
	ip->destination = p->source.word[3];
	return answer_sender(skb, cfg, p, REASON_echo_reply, skb->len);
}

NOINLINE int gateway_ipv6(struct __sk_buff *skb, const struct config *cfg, const struct packet *p)
{
	__u32 offset = ETHERNET_SIZE + sizeof(struct ipv6);
	bool first = true;
	struct ipv6 *ip;
	void *data;
	__u8 protocol;

	if (!cfg || !p)
		return drop(skb, REASON_malformed);
	protocol = p->protocol;
	if (protocol == IPPROTO_FRAGMENT) {
		__u8 header[4];

		if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
			return drop(skb, REASON_malformed);
		protocol = header[0];
		first = !header[2] && !(header[3] & 0xf8);
		offset += 8;
	}
	if (protocol != IPPROTO_ICMPV6)
		return drop(skb, REASON_gateway_other);
	if (!within_limit(skb, cfg, p, false))
		return drop(skb, REASON_icmp_limited);
	if (first && !echo_type(skb, offset, ICMP6_ECHO, ICMP6_ECHO_REPLY))
		return drop(skb, REASON_gateway_other);
	data = frame(skb, ETHERNET_SIZE + sizeof(*ip));
	if (!data)
		return drop(skb, REASON_answer_failed);
	answer_macs(data, cfg);
	ip = data + ETHERNET_SIZE;
	ip->hop_limit = GATEWAY_HOPS;
	copy(ip->source, &p->destination, sizeof(ip->source));
	copy(ip->destination, &p->source, sizeof(ip->destination));
	return answer_sender(skb, cfg, p, REASON_echo_reply, skb->len);
}
