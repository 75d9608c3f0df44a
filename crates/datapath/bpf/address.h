/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* MAC and IP addresses, and whose they are. */
#pragma once
#include "layout.h"

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

/* Whether an address is this node's own, in the Pod network or on the underlay. */
INLINE bool is_this_node(const struct address *of)
{
	const struct endpoint *endpoint;
	struct address address = *of;
	const struct address *end;

	endpoint = bpf_map_lookup_elem(&endpoints, &address);
	if (endpoint)
		return endpoint->role == ROLE_NODE;
	if (bpf_map_lookup_elem(&addresses, &address))
		return true;
	end = bpf_map_lookup_elem(&nodes, &address);
	return end && is_unspecified6(end);
}
