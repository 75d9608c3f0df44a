/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ARP (RFC 826): the gateway has no interface, so it is answered for here. */
#pragma once
#include "packet.h"

/*
 * Who may say this: the port itself, with its own MAC and one of its own addresses. Whether its gateway may be another
 * than this node's, since its address is from a former podCIDR.
 */
INLINE __u32 arp_sender(struct __sk_buff *skb, const struct arp *arp, const __u8 *mac, bool *outside)
{
	__u32 ifindex = skb->ifindex;
	struct endpoint *endpoint;
	struct address sender;
	struct port *port;

	port = bpf_map_lookup_elem(&ports, &ifindex);
	if (!port)
		return REASON_port_not_bound;
	if (!same_mac(port->mac, mac) || !same_mac(port->mac, arp->sender_mac))
		return REASON_arp_forged;
	*outside = port->role == ROLE_OUTSIDE;
	if (!arp->sender) /* a probe whether an address is free (RFC 5227) */
		return REASON_arp_other;
	mapped(&sender, arp->sender);
	endpoint = bpf_map_lookup_elem(&endpoints, &sender);
	if (!endpoint || endpoint->ifindex != ifindex)
		return REASON_arp_forged;
	return REASON_arp_reply;
}

NOINLINE int from_endpoint_arp(struct __sk_buff *skb, const struct config *cfg)
{
	void *data = frame(skb, ETHERNET_SIZE + sizeof(struct arp));
	struct ethernet *ethernet = data;
	struct arp *arp = data + ETHERNET_SIZE, request ALIGNED;
	__u8 mac[MAC_SIZE] ALIGNED;
	bool outside = false;

	if (!data || !cfg || arp->hardware != htons(1) || arp->protocol != htons(ETHERTYPE_IPV4) ||
	    arp->hardware_size != MAC_SIZE || arp->protocol_size != 4)
		return drop(skb, REASON_malformed);
	copy(&request, arp, sizeof(request));
	copy_mac(mac, ethernet->source);
	if (skb->ifindex != cfg->mido_ifindex) {
		__u32 reason = arp_sender(skb, &request, mac, &outside);

		if (reason != REASON_arp_reply)
			return drop(skb, reason);
	}
	if (request.operation != htons(1) || (request.target != cfg->gateway4.word[3] && !outside) || !request.target ||
	    request.sender == request.target)
		return drop(skb, REASON_arp_other);

	data = frame_start(skb);
	if (data + ETHERNET_SIZE + sizeof(struct arp) > frame_end(skb))
		return drop(skb, REASON_malformed);
	ethernet = data;
	arp = data + ETHERNET_SIZE;
	answer_macs(ethernet, cfg);
	arp->operation = htons(2);
	copy_mac(arp->sender_mac, cfg->gateway_mac);
	arp->sender = request.target;
	copy_mac(arp->target_mac, request.sender_mac);
	arp->target = request.sender;
	return answer(skb, REASON_arp_reply, skb->len);
}
