/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * FLOW_VIA_NODE: connections between Pods that the node's network stack forwards. It does so because it translated an
 * address of theirs: for kube-proxy, for portmap, for an administrator's rule. It has to see their answers, too.
 *
 * A packet that comes from the node with a Pod's address as its source is such a forwarded one, and its flow is
 * recorded. From then on all packets of that flow go to the node, in both directions: also those of a new
 * connection with the same addresses and ports, which the node's connection tracking may know as a translated one.
 * There is no harm in a flow that is over: the node forwards what it does not translate.
 *
 * FLOW_FROM_NODE: a process of another node that bound to an address of its node on the underlay talks to a Pod of
 * this node. Its packets come through the tunnel, and so the answers go back. The node's stack would send them past
 * the tunnel: masqueraded, or with a source that the other node's reverse path filter refuses.
 *
 * FLOW_OUTSIDE: what a Pod outside this node's podCIDRs exchanges with the node or the outside.
 */
#pragma once
#include "icmp.h"

/* The protocol, and where its header begins; LATER_FRAGMENT or TOO_MANY_HEADERS if there is none. */
INLINE int find_transport(struct __sk_buff *skb, const struct packet *p, __u32 *offset, bool *fragment)
{
	if (p->version == 6)
		return find_transport6(skb, p, offset, fragment);
	*offset = p->transport;
	*fragment = p->fragment & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET);
	return p->fragment & IPV4_FRAGMENT_OFFSET ? LATER_FRAGMENT : p->protocol;
}

/* The beginning of a packet that an ICMP error at `offset` quotes, in the place of the error itself. */
INLINE bool read_quote(struct __sk_buff *skb, __u32 offset, struct packet *p)
{
	offset += sizeof(struct icmp);
	if (p->version == 4) {
		struct ipv4 ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version_length >> 4 != 4)
			return false;
		mapped(&p->source, ip.source);
		mapped(&p->destination, ip.destination);
		p->transport = offset + (ip.version_length & 0xf) * 4;
		p->fragment = ntohs(ip.fragment);
		p->protocol = ip.protocol;
	} else {
		struct ipv6 ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ntohl(ip.version_class_flow) >> 28 != 6)
			return false;
		copy(&p->source, ip.source, sizeof(p->source));
		copy(&p->destination, ip.destination, sizeof(p->destination));
		p->transport = offset + sizeof(ip);
		p->protocol = ip.next_header;
	}
	return true;
}

/* What the two directions of a flow differ in. */
INLINE bool is_lower(const struct packet *p, __u16 source_port, __u16 destination_port)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		if (p->source.word[i] != p->destination.word[i])
			return p->source.word[i] < p->destination.word[i];
	}
	return source_port <= destination_port;
}

/*
 * The flow of a packet; of an ICMP error, that of the packet it quotes. Returns whether the packet is a
 * fragment; of a later one, the ports are not known.
 */
INLINE bool flow_of(struct __sk_buff *skb, const struct packet *packet, struct flow *flow)
{
	union {
		struct udp udp; /* TCP and SCTP have their ports in the same place */
		struct icmp icmp;
	} header = {};
	struct packet p = *packet;
	__u16 source = 0, destination = 0;
	bool fragment = false;
	__u32 offset = 0;
	int protocol = find_transport(skb, &p, &offset, &fragment);

	if (protocol >= 0 && bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
		protocol = TOO_MANY_HEADERS;
	if (is_icmp_error(protocol, header.icmp.type) && read_quote(skb, offset, &p)) {
		protocol = find_transport(skb, &p, &offset, &fragment);
		if (protocol >= 0 && bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
			protocol = TOO_MANY_HEADERS;
	}
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP) {
		source = header.udp.source;
		destination = header.udp.destination;
	} else if ((protocol == IPPROTO_ICMP &&
		    (header.icmp.type == ICMP4_ECHO || header.icmp.type == ICMP4_ECHO_REPLY)) ||
		   (protocol == IPPROTO_ICMPV6 &&
		    (header.icmp.type == ICMP6_ECHO || header.icmp.type == ICMP6_ECHO_REPLY))) {
		source = destination = htons((__u16)(ntohl(header.icmp.rest) >> 16));
	}
	if (is_lower(&p, source, destination)) {
		flow->lower = p.source;
		flow->upper = p.destination;
		flow->lower_port = source;
		flow->upper_port = destination;
	} else {
		flow->lower = p.destination;
		flow->upper = p.source;
		flow->lower_port = destination;
		flow->upper_port = source;
	}
	flow->protocol = protocol < 0 ? 0 : protocol;
	return fragment;
}

/* That of all fragments between the same addresses: the node puts them together, so it needs them all. */
INLINE void fragments_of(struct flow *flow)
{
	flow->lower_port = 0;
	flow->upper_port = 0;
	flow->protocol = 0;
}

/* A lookup alone keeps a flow from being evicted for others. */
INLINE void record(const struct flow *flow, __u32 kind)
{
	if (!bpf_map_lookup_elem(&flows, flow))
		bpf_map_update_elem(&flows, flow, &kind, 0);
}

/* The flow of a packet, and that of fragments of it. */
INLINE void record_both(struct __sk_buff *skb, const struct packet *p, __u32 kind)
{
	struct flow flow = {};
	__u32 index = 0, *used;

	flow_of(skb, p, &flow);
	record(&flow, kind);
	fragments_of(&flow);
	record(&flow, kind);
	used = bpf_map_lookup_elem(&flows_used, &index);
	/* Another CPU may undo it in the same moment: the next packet sets it again. */
	if (used && !(*used & 1 << kind))
		*used |= 1 << kind;
}

/* Records what the node sends to a Pod or to another node, if a Pod of this or another node is the source. */
NOINLINE int record_flow(struct __sk_buff *skb, const struct packet *p)
{
	struct route_key key = { .prefix_length = 128 };
	struct endpoint *endpoint;

	if (!p)
		return 0;
	key.address = p->source;
	endpoint = bpf_map_lookup_elem(&endpoints, &key.address);
	if (endpoint && endpoint->role == ROLE_NODE)
		return 0;
	if (!endpoint) {
		struct route *route = bpf_map_lookup_elem(&routes, &key);

		if (!route || route->kind != ROUTE_TUNNEL)
			return 0;
	}
	record_both(skb, p, FLOW_VIA_NODE);
	return 0;
}

/* Records what a process of another node sends to a Pod with an address of its node. */
NOINLINE int record_from_node(struct __sk_buff *skb, const struct packet *p)
{
	if (p)
		record_both(skb, p, FLOW_FROM_NODE);
	return 0;
}

#define NOT_RECORDED -1

NOINLINE int flow_kind(struct __sk_buff *skb, const struct packet *p)
{
	struct flow flow = {};
	__u32 *kind;

	if (!p)
		return NOT_RECORDED;
	if (flow_of(skb, p, &flow))
		fragments_of(&flow);
	kind = bpf_map_lookup_elem(&flows, &flow);
	return kind ? (int)*kind : NOT_RECORDED;
}

/* Whether there ever was a flow of that kind; what follows is out of the way of those that never have any. */
INLINE bool has_flows(__u32 kind)
{
	__u32 index = 0, *used = bpf_map_lookup_elem(&flows_used, &index);

	return __builtin_expect(used && *used & 1 << kind, false);
}

/*
 * Records what a Pod outside this node's podCIDRs sends to the node or out of the cluster: answers to it are then told
 * from packets to who has its address now, on another node. Nothing goes another way because of it.
 */
NOINLINE int record_outside(struct __sk_buff *skb, const struct packet *p)
{
	struct route_key key = { .prefix_length = 128 };
	struct endpoint *endpoint;

	if (!p)
		return 0;
	key.address = p->destination;
	endpoint = bpf_map_lookup_elem(&endpoints, &key.address);
	if (endpoint ? endpoint->role != ROLE_NODE : bpf_map_lookup_elem(&routes, &key) != NULL)
		return 0;
	record_both(skb, p, FLOW_OUTSIDE);
	return 0;
}

/*
 * Whether another node has the range of such a Pod's address by now: then only what belongs to a flow of that Pod is for
 * it. Does not look for the flow itself, since Linux 6.1 counts the stack of all that call each other together.
 */
NOINLINE bool is_elsewhere(const struct packet *p)
{
	struct route_key key = { .prefix_length = 128 };
	struct route *route;

	if (!p)
		return false;
	key.address = p->destination;
	route = bpf_map_lookup_elem(&routes, &key);
	return route && route->kind == ROUTE_TUNNEL;
}

/* Whether a packet to a Pod of this or another node has to go through the node's network stack first. */
INLINE bool needs_node(struct __sk_buff *skb, const struct packet *p, bool from_node)
{
	if (from_node) {
		record_flow(skb, p);
		return false;
	}
	return has_flows(FLOW_VIA_NODE) && flow_kind(skb, p) == FLOW_VIA_NODE;
}
