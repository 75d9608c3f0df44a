/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Neighbour discovery (RFC 4861): solicitations for the gateway are answered, nothing else is. */
#pragma once
#include "packet.h"

#define NDP_FIRST 133 /* router solicitation */
#define NDP_SOLICITATION 135
#define NDP_ADVERTISEMENT 136
#define NDP_LAST 137 /* redirect */
#define NDP_OPTION_SOURCE 1
#define NDP_OPTION_TARGET 2
#define NDP_MAX_OPTIONS 8
#define NDP_ROUTER_SOLICITED_OVERRIDE 0xe0000000

/* A solicitation, and the advertisement that answers it, without options. */
struct ndp {
	struct icmp icmp;
	__u32 target[4];
};

struct ndp_option {
	__u8 type;
	__u8 length; /* in units of 8 bytes */
	__u8 mac[MAC_SIZE];
};

#define NDP_OFFSET (ETHERNET_SIZE + sizeof(struct ipv6))
#define NDP_OPTIONS (NDP_OFFSET + sizeof(struct ndp))
#define NDP_ANSWER_SIZE (NDP_OPTIONS + sizeof(struct ndp_option))

/* Every link-layer address given in the options must be the sender's own. */
INLINE int ndp_options(struct __sk_buff *skb, const __u8 *mac, __u32 end)
{
	__u32 offset = NDP_OPTIONS;

#pragma clang loop unroll(disable)
	for (int i = 0; i < NDP_MAX_OPTIONS && offset < end; i++) {
		struct ndp_option option ALIGNED;

		if (offset + sizeof(option) > end || bpf_skb_load_bytes(skb, offset, &option, sizeof(option)) ||
		    !option.length)
			return REASON_malformed;
		if (option.type == NDP_OPTION_SOURCE && !same_mac(option.mac, mac))
			return REASON_ndp_forged;
		offset += option.length * 8;
	}
	return offset == end ? REASON_ndp_reply : REASON_malformed;
}

/* What becomes of the message: REASON_ndp_reply if it is to be answered. */
INLINE int ndp_verdict(struct __sk_buff *skb, const struct config *cfg, const struct packet *p)
{
	void *data = frame(skb, NDP_OFFSET + sizeof(struct icmp));
	bool from_node = skb->ifindex == cfg->mido_ifindex, multicast, outside = false;
	struct ethernet *ethernet = data;
	__u32 ifindex = skb->ifindex, end;
	__u8 mac[MAC_SIZE] ALIGNED, type;
	struct address sender, target;
	struct ipv6 *ip = data + ETHERNET_SIZE;

	if (!data)
		return REASON_malformed;
	copy_mac(mac, ethernet->source);
	multicast = is_multicast_mac(ethernet->destination);
	type = ((struct icmp *)(data + NDP_OFFSET))->type;
	end = NDP_OFFSET + ntohs(ip->payload_length);
	if (!from_node) {
		struct port *port = bpf_map_lookup_elem(&ports, &ifindex);

		if (!port)
			return REASON_port_not_bound;
		if (!same_mac(port->mac, mac))
			return REASON_ndp_forged;
		outside = port->role == ROLE_OUTSIDE; /* its gateway may be that of a former podCIDR */
	}
	if (type != NDP_SOLICITATION)
		return multicast ? REASON_multicast : REASON_ndp_other;
	if (is_unspecified6(&p->source)) /* duplicate address detection */
		return REASON_multicast;
	data = frame(skb, NDP_OPTIONS);
	if (!data || p->hops != 255 || ((struct icmp *)(data + NDP_OFFSET))->code || end < NDP_OPTIONS)
		return REASON_malformed;
	copy(&target, ((struct ndp *)(data + NDP_OFFSET))->target, sizeof(target));
	if (!is_unicast6(&target) ||
	    (!same_address(&target, &cfg->gateway6) && (!outside || same_address(&target, &p->source))))
		return REASON_ndp_other;
	if (!is_unicast6(&p->source))
		return REASON_ndp_forged;
	if (!from_node && !is_link_local6(&p->source)) {
		struct endpoint *endpoint;

		sender = p->source;
		endpoint = bpf_map_lookup_elem(&endpoints, &sender);
		if (!endpoint || endpoint->ifindex != ifindex)
			return REASON_ndp_forged;
	}
	return ndp_options(skb, mac, end);
}

NOINLINE int from_endpoint_ndp(struct __sk_buff *skb, const struct config *cfg, const struct packet *p)
{
	__u32 bytes = skb->len, reason;
	struct ndp_option *option;
	struct ndp *ndp;
	struct ipv6 *ip;
	__u64 sum;
	void *data;

	if (!cfg || !p)
		return drop(skb, REASON_malformed);
	reason = ndp_verdict(skb, cfg, p);
	if (reason != REASON_ndp_reply)
		return drop(skb, reason);
	if (bpf_skb_change_tail(skb, NDP_ANSWER_SIZE, 0))
		return drop(skb, REASON_answer_failed);
	data = frame(skb, NDP_ANSWER_SIZE);
	if (!data)
		return drop(skb, REASON_answer_failed);
	ip = data + ETHERNET_SIZE;
	ndp = data + NDP_OFFSET;
	option = data + NDP_OPTIONS;
	answer_macs(data, cfg);
	ip->payload_length = htons(sizeof(*ndp) + sizeof(*option));
	copy(ip->source, ndp->target, sizeof(ip->source));
	copy(ip->destination, &p->source, sizeof(ip->destination));
	ndp->icmp.type = NDP_ADVERTISEMENT;
	ndp->icmp.code = 0;
	ndp->icmp.checksum = 0;
	ndp->icmp.rest = htonl(NDP_ROUTER_SOLICITED_OVERRIDE);
	option->type = NDP_OPTION_TARGET;
	option->length = 1;
	copy_mac(option->mac, cfg->gateway_mac);
	/* Addresses and message lie side by side; length and protocol complete the pseudo-header. */
	sum = sum_words(skb, ETHERNET_SIZE + 8, (32 + sizeof(*ndp) + sizeof(*option)) / 4);
	ndp->icmp.checksum = checksum(sum + htonl(sizeof(*ndp) + sizeof(*option)) + htonl(IPPROTO_ICMPV6));
	return answer(skb, REASON_ndp_reply, bytes);
}
