/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The datapath's doors. Every packet leaves under one of the reasons in reasons.def, but for what the
 * uplink carries besides tunnels.
 *
 * from_endpoint  ingress of every Pod's outer end and of midokube-mido, through one shared block
 * from_overlay   ingress of midokube-vxlan
 * from_uplink    ingress of each interface that the routes to other nodes lead out of
 */
#include "arp.h"
#include "ndp.h"
#include "overlay.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

INLINE const struct config *configured(void)
{
	__u32 index = 0;
	struct config *cfg = bpf_map_lookup_elem(&config, &index);

	return cfg && cfg->mido_ifindex ? cfg : NULL;
}

/* The frame's EtherType, or 0 for one with a VLAN tag (which the kernel keeps beside the frame). */
INLINE __u16 ethertype(struct __sk_buff *skb)
{
	struct ethernet *ethernet = frame(skb, ETHERNET_SIZE);

	return ethernet && !skb->vlan_present ? ethernet->type : 0;
}

SEC("classifier") int from_endpoint(struct __sk_buff *skb)
{
	const struct config *cfg = configured();

	if (!cfg)
		return drop(skb, REASON_not_configured);
	switch (ethertype(skb)) {
	case htons(ETHERTYPE_IPV4):
		return from_endpoint_ip(skb, cfg, 4);
	case htons(ETHERTYPE_IPV6):
		return from_endpoint_ip(skb, cfg, 6);
	case htons(ETHERTYPE_ARP):
		return from_endpoint_arp(skb, cfg);
	default:
		return drop(skb, REASON_ethertype);
	}
}

SEC("classifier") int from_overlay(struct __sk_buff *skb)
{
	const struct config *cfg = configured();

	if (!cfg)
		return drop(skb, REASON_not_configured);
	switch (ethertype(skb)) {
	case htons(ETHERTYPE_IPV4):
		return from_overlay_ip(skb, cfg, 4);
	case htons(ETHERTYPE_IPV6):
		return from_overlay_ip(skb, cfg, 6);
	default:
		return drop(skb, REASON_ethertype);
	}
}

/* Takes plain packets of our tunnels off the wire, and lets everything else pass as if it were not there. */
SEC("classifier") int from_uplink(struct __sk_buff *skb)
{
	const struct config *cfg;
	__u32 peer;
	int version;

	if (skb->protocol != htons(ETHERTYPE_IPV4) || skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TCX_NEXT;
	cfg = configured();
	if (!cfg || !cfg->direct)
		return TCX_NEXT;
	peer = plain_tunnel(skb, cfg);
	if (!peer)
		return TCX_NEXT;
	version = remove_tunnel(skb);
	if (version == 4)
		return from_uplink_ip(skb, cfg, 4, peer);
	if (version == 6)
		return from_uplink_ip(skb, cfg, 6, peer);
	return version ? drop(skb, REASON_tunnel_failed) : TCX_NEXT;
}
