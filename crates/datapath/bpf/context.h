/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is known of a packet on its path, and its one exit. */
#pragma once
#include "reasons.h"

/* The protocol of a fragment other than the first: only the first one has the header. */
#define PROTOCOL_FRAGMENT -1
/* The protocol is behind more IPv6 extension headers than are read, or cut off. */
#define PROTOCOL_UNKNOWN -2

/* The first 8 bytes of the transport header. */
union l4hdr {
	__u64 bytes;
	struct udphdr udp; /* TCP and SCTP have their ports in the same place */
	struct icmphdr icmp;
};

/*
 * Stages are functions of the packet, the configuration and this. The first two are no members of it: a pointer in
 * memory that a global function gets is a mere number to the verifier, before and after the call.
 */
struct context {
	struct address saddr; /* as in the maps; of a translated packet, what it will have when it leaves */
	struct address daddr;
	struct address via; /* CONNECTION_TUNNEL: where the tunnel to the client's node ends */
	union l4hdr l4; /* if has_l4; the ports likewise, also of a later fragment */
	__u32 l4_offset; /* of the transport header, behind IPv6 extension headers, from the frame's start */
	__s32 protocol; /* the transport's, or one of the two above */
	__u32 len; /* of the frame as it came in */
	__u32 reason; /* under which the packet leaves */
	__u32 mtu; /* the largest packet that the path takes, for an ICMP error that tells it */
	__u32 source_ifindex; /* the host side of the Pod of this node that sent it; else 0 */
	__u32 peer_ifindex; /* the host side of the Pod of this node at the connection's other end, if it is known; else 0 */
	__u32 service; /* of a new connection: the Service's number; 0: it goes through none */
	__u32 generation; /* of policy by which the packet is judged; 0: it is not */
	__u32 rule; /* of policy, by which it does not pass; 0: none */
	__u32 rules[2]; /* of policy, by which it passes, by direction, if that is recorded; 0: none */
	__u16 error; /* type and code of the ICMP error that is due */
	__u16 frag_off; /* IPv4: flags and offset, host order */
	__u8 version;
	__u8 nexthdr; /* what the IP header itself says: the protocol, or the first extension header */
	__u8 ttl; /* or hop limit */
	bool fragment; /* the first or another one */
	bool has_l4; /* the transport header is there */
	bool from_node; /* came in at midokube-mido */
	bool routed; /* the gateway is its router: the TTL gets less */
	__u8 tcp_flags;
	__u8 tracked; /* the transport protocol of its connection; 0: it belongs to none */
	__u8 part; /* PART_*, if it is tracked */
	__u8 kind; /* CONNECTION_KIND of the entry that was found */
	__u8 source_from; /* SOURCE_*: of a new connection, what its source becomes */
	__u8 variant; /* of the key of a new connection */
	bool translated; /* the packet has other addresses or ports than stand here */
	bool from_outside; /* came in at an uplink, from no node's tunnel */
	bool related; /* an ICMP error about a connection */
	bool host_backend; /* a new connection's backend is a process of this node that the outside reaches by its own address */
	bool failed; /* a new connection in the place of one whose backend refused a datagram */
	__u8 judgement; /* JUDGED and others, of policy */
	__u8 pad;
};

/* What a packet is to its connection. */
#define PART_NEW 0
#define PART_CLIENT 1
#define PART_SERVER 2

#define SOURCE_CLIENT 0 /* it stays */
#define SOURCE_GATEWAY 1 /* the backend is the client itself, or both are this node; or a Pod outside the podCIDRs */
#define SOURCE_NODE 2 /* the backend is outside of the Pod network: it has to answer this node */
#define SOURCE_PORT 3 /* only the port changes, since another connection has the tuple */

#define JUDGED 1 /* no stage needs to look verdicts up any more */
#define FORBIDDEN 2 /* the packet does not pass; the reason is why */
#define REJECTED 4 /* its sender is told so */
#define AUDITED_EGRESS 8 /* it only passes because its policy is on trial */
#define AUDITED_INGRESS 16
#define JUDGED_AGAIN 32 /* another policy is in force than when its connection was judged last */

/* Linux 6.1 gives no global function memory that has bytes without a value. */
_Static_assert(sizeof(struct context) == 128, "no padding");

INLINE bool has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

/* The number of the transport's protocol, of ICMPv6 that of ICMP; 0: it is not known. */
INLINE __u8 transport_of(const struct context *ctx)
{
	if (ctx->tracked)
		return ctx->tracked;
	if (ctx->version == 4)
		return ctx->nexthdr;
	if (ctx->protocol < 0)
		return 0;
	return ctx->protocol == IPPROTO_ICMPV6 ? IPPROTO_ICMP : ctx->protocol;
}

INLINE void count(__u32 reason, __u32 bytes)
{
	struct counter *counter = bpf_map_lookup_elem(&counters, &reason);

	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	}
}

/* Every packet leaves here, once, but for one that is dropped (drops.h). */
INLINE int leave(const struct context *ctx, int action)
{
	count(ctx->reason, ctx->len);
	return action;
}

/* How many events of connections' records there may be in a second; zero: nothing is recorded. The loader sets it. */
const volatile __u32 record_events = 0;

INLINE bool is_recording(void)
{
	return record_events != 0;
}
