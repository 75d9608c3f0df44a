/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a packet goes: a Pod of this node, its node, another node, or out of the cluster. */
#pragma once
#include "flow.h"
#include "vxlan.h"

/* SCTP's mark for a packet that is a list of ready ones: their sizes are not known here. */
#define GSO_BY_FRAGS 0xffff

INLINE int icmp_error(struct __sk_buff *skb, const struct config *cfg, const struct packet *p, __u32 error4,
		      __u32 error6, __u32 reason)
{
	if (p->version == 4)
		return icmp4_error(skb, cfg, p, error4, reason);
	return icmp6_error(skb, cfg, p, error6, reason);
}

/* Into the node's network stack, as if midokube-node had received it. */
INLINE int to_node(struct __sk_buff *skb, const struct config *cfg, const struct packet *p, bool routed,
		   __u32 reason)
{
	if (!next_hop(skb, p->version, cfg->node_mac, cfg->gateway_mac, routed))
		return drop(skb, REASON_malformed);
	count(reason, skb->len);
	return bpf_redirect(cfg->node_ifindex, BPF_F_INGRESS);
}

INLINE int to_pod(struct __sk_buff *skb, const struct config *cfg, const struct packet *p,
		  const struct endpoint *endpoint, bool routed, __u32 reason)
{
	if (!next_hop(skb, p->version, endpoint->mac, cfg->gateway_mac, routed))
		return drop(skb, REASON_malformed);
	count(reason, skb->len);
	/* Past every queue, but for those who have to queue. */
	if (endpoint->limited & LIMITED_INGRESS)
		return bpf_redirect(endpoint->ifindex, 0);
	return bpf_redirect_peer(endpoint->ifindex, 0);
}

/*
 * What a Pod with a limit sends waits its turn at the shaper, a pair of interfaces whose other end is one more
 * door: the packet is judged there. Unlike a queue at the Pod's own end, nobody in the Pod can take it away.
 */
NOINLINE int to_shaper(struct __sk_buff *skb, const struct config *cfg)
{
	__u32 ifindex = skb->ifindex;
	struct limit *limit = bpf_map_lookup_elem(&limits, &ifindex);

	if (!cfg || !limit || !limit->class || !cfg->shaper_ifindex)
		return drop(skb, REASON_no_shaper);
	skb->priority = limit->class;
	return bpf_redirect(cfg->shaper_ifindex, 0);
}

/* The largest IP packet that will be on the wire: a packet for segmentation offload is many. */
NOINLINE __u32 segment_size(struct __sk_buff *skb, const struct packet *p)
{
	__u32 gso_size = skb->gso_size, offset;
	int protocol;

	if (!p)
		return 0;
	offset = p->transport;
	if (!gso_size)
		return skb->len - ETHERNET_SIZE;
	if (gso_size == GSO_BY_FRAGS)
		return 0;
	protocol = p->version == 4 ? p->protocol : transport6(skb, p, &offset);
	if (protocol == IPPROTO_TCP) {
		__u8 data_offset;

		if (!bpf_skb_load_bytes(skb, offset + 12, &data_offset, 1))
			offset += (data_offset >> 4) * 4;
	} else {
		offset += 8; /* UDP */
	}
	return offset - ETHERNET_SIZE + gso_size;
}

/* To the node where tunnels to `end` lead. The packet's source and destination stay. */
INLINE int to_tunnel(struct __sk_buff *skb, const struct config *cfg, struct packet *p, const struct address *end)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = cfg->vni,
		.tunnel_ttl = GATEWAY_HOPS,
	};
	__u32 size = skb->gso_size ? segment_size(skb, p) : skb->len - ETHERNET_SIZE, mtu = cfg->overlay_mtu;
	struct hop hop = {};
	bool ipv4 = is_mapped(end);
	__u64 flags = BPF_F_ZERO_CSUM_TX;

	if (size <= mtu) {
		if (!ipv4 && size > IPV6_LEAST_MTU - TUNNEL6_HEADERS)
			mtu = path_mtu6(skb, cfg, end, size);
		else if (ipv4 && cfg->direct)
			underlay_hop(skb, cfg, end->word[3], size, &hop);
		if (hop.mtu)
			mtu = hop.mtu;
		/* What IPv6 may rely on: over IPv4 such a packet arrives in fragments. */
		if (p->version == 6 && mtu < IPV6_LEAST_MTU)
			mtu = IPV6_LEAST_MTU;
	}
	/*
	 * IPv4 that may be fragmented goes on: the kernel fragments the outer packet. It does so for
	 * IPv4 only; a tunnel over IPv6 would lose it without a word, so the sender is told.
	 */
	if (size > mtu && (p->version == 6 || p->fragment & IPV4_DONT_FRAGMENT || !ipv4)) {
		p->mtu = mtu;
		return icmp_error(skb, cfg, p, ICMP4_TOO_BIG, ICMP6_TOO_BIG, REASON_too_big);
	}
	/* Not from the overlay's own MAC: the receiving VXLAN device takes that for a loop. */
	if (!next_hop(skb, p->version, cfg->overlay_mac, cfg->gateway_mac, true))
		return drop(skb, REASON_malformed);
	if (hop.ifindex) {
		int action = send_directly(skb, cfg, p->version, end->word[3], &hop);

		if (action != TCX_NEXT)
			return action;
	}
	/* The source that the other node checks, whatever address the kernel would choose. */
	if (ipv4) {
		key.remote_ipv4 = ntohl(end->word[3]);
		key.local_ipv4 = ntohl(cfg->tunnel_address4);
	} else {
		copy(key.remote_ipv6, end, sizeof(key.remote_ipv6));
		copy(key.local_ipv6, &cfg->tunnel_address6, sizeof(key.local_ipv6));
		flags |= BPF_F_TUNINFO_IPV6;
	}
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags))
		return drop(skb, REASON_tunnel_failed);
	count(REASON_overlay_out, skb->len);
	return bpf_redirect(cfg->overlay_ifindex, 0);
}

/*
 * Whether a packet that leaves the cluster is VXLAN for the tunnels' port. A node's stack gives it the
 * node's own address, by which other nodes know their peer. A later fragment says nothing without the first.
 */
NOINLINE bool is_tunnel(struct __sk_buff *skb, const struct config *cfg, const struct packet *p)
{
	__u32 offset;
	__u16 port;
	bool fragment;
	int protocol;

	if (!cfg || !p)
		return true;
	protocol = find_transport(skb, p, &offset, &fragment);
	if (protocol != IPPROTO_UDP)
		return protocol == TOO_MANY_HEADERS;
	return bpf_skb_load_bytes(skb, offset + 2, &port, sizeof(port)) || port == cfg->tunnel_port;
}

/* Not somewhere a router sends packets: REASON_no_route stands for "it is". */
INLINE __u32 not_routable(const struct packet *p)
{
	const struct address *to = &p->destination;

	if (p->version == 4) {
		__u32 top = ntohl(to->word[3]) >> 24;

		return is_unicast4(to->word[3]) ? REASON_no_route :
		       top >= 224               ? REASON_multicast :
						  REASON_not_routable;
	}
	if ((to->word[0] & htonl(0xff000000)) == htonl(0xff000000))
		return REASON_multicast;
	return is_unicast6(to) && !is_link_local6(to) && !is_mapped(to) ? REASON_no_route : REASON_not_routable;
}

/* Where tunnels to the other node end whose process a packet answers; NULL if it answers none. */
INLINE const struct address *answered_node(struct __sk_buff *skb, const struct packet *p)
{
	const struct address *end;

	if (!has_flows(FLOW_FROM_NODE))
		return NULL;
	end = bpf_map_lookup_elem(&nodes, &p->destination);
	return end && !is_unspecified6(end) && flow_kind(skb, p) == FLOW_FROM_NODE ? end : NULL;
}

INLINE int route_packet(struct __sk_buff *skb, const struct config *cfg, struct packet *p, bool from_node)
{
	struct route_key key = { .prefix_length = 128, .address = p->destination };
	struct route *route = bpf_map_lookup_elem(&routes, &key);
	const struct address *end;

	if (route && route->kind == ROUTE_TUNNEL) {
		if (needs_node(skb, p, from_node))
			return to_node(skb, cfg, p, true, REASON_via_node);
		end = &route->tunnel;
	} else if (route && route->kind == ROUTE_LOCAL) {
		return icmp_error(skb, cfg, p, ICMP4_HOST_UNREACHABLE, ICMP6_ADDRESS_UNREACHABLE,
				  REASON_no_endpoint);
	} else if (route) {
		return icmp_error(skb, cfg, p, ICMP4_NET_UNREACHABLE, ICMP6_NO_ROUTE, REASON_unreachable);
	} else {
		__u32 reason = not_routable(p);

		if (from_node || reason != REASON_no_route)
			return drop(skb, reason);
		if ((p->version == 6 || p->protocol == IPPROTO_UDP) && is_tunnel(skb, cfg, p))
			return drop(skb, REASON_tunnel_from_pod);
		end = answered_node(skb, p);
		if (!end)
			return to_node(skb, cfg, p, true, REASON_external);
	}
	return to_tunnel(skb, cfg, p, end);
}

/* Why a Pod's packet is refused whose source is not an address of the port with that MAC. */
NOINLINE int refuse_source(struct __sk_buff *skb)
{
	struct ethernet *ethernet = frame(skb, ETHERNET_SIZE);
	__u32 ifindex = skb->ifindex;
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);

	if (!ethernet)
		return drop(skb, REASON_malformed);
	if (!port)
		return drop(skb, REASON_port_not_bound);
	return drop(skb, same_mac(port->mac, ethernet->source) ? REASON_source_ip : REASON_source_mac);
}

/* Why a frame is refused that is not for the gateway's MAC. */
NOINLINE int refuse_destination(struct __sk_buff *skb, bool from_node)
{
	struct ethernet *ethernet = frame(skb, ETHERNET_SIZE);
	__u32 ifindex = skb->ifindex;

	if (!ethernet)
		return drop(skb, REASON_malformed);
	if (!from_node && !bpf_map_lookup_elem(&ports, &ifindex))
		return drop(skb, REASON_port_not_bound);
	return drop(skb, is_multicast_mac(ethernet->destination) ? REASON_multicast : REASON_destination_mac);
}

/* From a Pod, be it by way of the shaper, or from the node through midokube-mido. */
INLINE int from_endpoint_ip(struct __sk_buff *skb, const struct config *cfg, __u8 version)
{
	bool from_node = skb->ifindex == cfg->mido_ifindex;
	struct endpoint *endpoint;
	struct ethernet *ethernet;
	struct packet p;

	if (!(version == 4 ? parse_ipv4(skb, &p) : parse_ipv6(skb, &p)))
		return drop(skb, REASON_malformed);
	if (pretends_ipv4(&p))
		return drop(skb, REASON_not_routable);
	if (version == 6 && p.protocol == IPPROTO_ICMPV6) {
		__u8 type;

		if (bpf_skb_load_bytes(skb, p.transport, &type, 1))
			return drop(skb, REASON_malformed);
		if (type >= NDP_FIRST && type <= NDP_LAST)
			return from_endpoint_ndp(skb, cfg, &p);
	}
	ethernet = frame(skb, ETHERNET_SIZE);
	if (!ethernet)
		return drop(skb, REASON_malformed);
	if (!same_mac(ethernet->destination, cfg->gateway_mac))
		return refuse_destination(skb, from_node);
	if (!from_node) {
		endpoint = bpf_map_lookup_elem(&endpoints, &p.source);
		if (!endpoint || !same_mac(endpoint->mac, ethernet->source))
			return refuse_source(skb);
		if (endpoint->ifindex != skb->ifindex) {
			if (skb->ifindex != cfg->shaped_ifindex)
				return refuse_source(skb);
		} else if (endpoint->limited & (LIMITED_EGRESS | RECORDED)) {
			if (endpoint->limited & RECORDED)
				record_outside(skb, &p);
			if (endpoint->limited & LIMITED_EGRESS)
				return to_shaper(skb, cfg);
		}
	}
	if (version == 4 && same_address(&p.destination, &cfg->gateway4))
		return gateway_ipv4(skb, cfg, &p);
	if (version == 6 && same_address(&p.destination, &cfg->gateway6))
		return gateway_ipv6(skb, cfg, &p);
	if (p.hops <= 1)
		return icmp_error(skb, cfg, &p, ICMP4_TTL_EXCEEDED, ICMP6_HOPS_EXCEEDED, REASON_ttl_exceeded);
	endpoint = bpf_map_lookup_elem(&endpoints, &p.destination);
	if (!endpoint || (endpoint->role == ROLE_OUTSIDE && is_elsewhere(&p) && flow_kind(skb, &p) == NOT_RECORDED))
		return route_packet(skb, cfg, &p, from_node);
	if (endpoint->role != ROLE_NODE) {
		if (needs_node(skb, &p, from_node))
			return to_node(skb, cfg, &p, true, REASON_via_node);
		return to_pod(skb, cfg, &p, endpoint, true, REASON_local);
	}
	if (from_node)
		return drop(skb, REASON_node_loop);
	return to_node(skb, cfg, &p, true, REASON_to_node);
}
