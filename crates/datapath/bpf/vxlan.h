/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The VXLAN header (RFC 7348), written and removed here instead of by the kernel's device: a packet to
 * another node then passes through no host's network stack.
 *
 * Only for tunnels over IPv4. What is not plain (fragments, options, UDP that arrives as one packet for segmentation, a UDP checksum, a congestion mark,
 * a destination that the routing look-up has no answer for) is left to the device, which handles
 * everything; every node understands both.
 */
#pragma once
#include "answer.h"
#include "drops.h"
#include "frame.h"

/* What a tunnel puts between a frame's MAC addresses and its IP packet. */
struct tunnel {
	struct iphdr ip;
	struct udphdr udp;
	struct vxlanhdr vxlan;
	struct ethhdr inner;
};

/* Not its size, which has two bytes more to be whole words. */
#define TUNNEL_HEADERS (__builtin_offsetof(struct tunnel, inner) + ETH_HLEN)

/* A frame's start with all of a tunnel's headers readable, or NULL. */
INLINE void *tunnel_frame(struct __sk_buff *skb)
{
	return frame(skb, ETH_HLEN + TUNNEL_HEADERS);
}

#define CONGESTION_BITS 3 /* RFC 3168: the two lowest of TOS and traffic class */
#define CONGESTION_EXPERIENCED 3

/* RFC 6335: the dynamic ports. */
#define FIRST_SOURCE_PORT 0xc000

/* What a tunnel over IPv6 puts in front of an IP packet. */
#define TUNNEL6_HEADERS (TUNNEL_HEADERS + sizeof(struct ipv6hdr) - sizeof(struct iphdr))

/* RFC 8200 5: every link takes packets of this size. */
#define IPV6_LEAST_MTU 1280

/* Where the underlay has another node. */
struct hop {
	struct bpf_redir_neigh neighbour;
	__u32 ifindex; /* zero: there is no answer, or too large a packet */
	__u32 mtu; /* the largest packet that the path takes in a tunnel, if it is too large; else zero */
	__u32 source_port;
};

/* RFC 7348 5: the source port tells flows apart, for links and queues that share the load. */
INLINE __u16 source_port(struct __sk_buff *skb)
{
	__u32 hash = bpf_get_hash_recalc(skb);

	return htons((__u16)(FIRST_SOURCE_PORT | ((hash ^ hash >> 16) & 0x3fff)));
}

/*
 * The next hop to `peer`, for a packet of `size` bytes in a tunnel. The path's MTU is less than the uplink's when the
 * kernel has learned it from another router (RFC 1191), or when this peer is behind another uplink. A function of its
 * own, since Linux 6.1 counts the stack of all that call each other together.
 */
NOINLINE int underlay_hop(struct __sk_buff *skb, const struct config *cfg, __u32 peer, __u32 size, struct hop *hop)
{
	struct bpf_fib_lookup route = {
		.family = AF_INET,
		.l4_protocol = IPPROTO_UDP,
		.tot_len = size + TUNNEL_HEADERS,
		.ifindex = LOOPBACK_IFINDEX,
		.ipv4_dst = peer,
	};

	if (!cfg || !hop)
		return 0;
	route.sport = source_port(skb);
	route.dport = cfg->tunnel_port;
	route.ipv4_src = cfg->tunnel_address4;
	/* Without the neighbour: it is resolved, and kept fresh, when the packet is sent. */
	switch (bpf_fib_lookup(skb, &route, sizeof(route), BPF_FIB_LOOKUP_SKIP_NEIGH)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		hop->neighbour.nh_family = AF_INET;
		hop->neighbour.ipv4_nh = route.ipv4_dst;
		hop->ifindex = route.ifindex;
		hop->source_port = route.sport;
		break;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		hop->mtu = route.mtu_result > TUNNEL_HEADERS ? route.mtu_result - TUNNEL_HEADERS : 1;
	}
	return 0;
}

/*
 * The largest packet that the path to `peer` takes in a tunnel over IPv6, if that is less than `size`; else the
 * overlay's MTU. The device would lose a larger one: the kernel does not fragment what it puts into IPv6 there.
 */
NOINLINE __u32 path_mtu6(struct __sk_buff *skb, const struct config *cfg, const struct address *peer, __u32 size)
{
	struct bpf_fib_lookup route = {
		.family = AF_INET6,
		.l4_protocol = IPPROTO_UDP,
		.tot_len = size + TUNNEL6_HEADERS,
		.ifindex = LOOPBACK_IFINDEX,
	};

	if (!cfg || !peer)
		return 0;
	route.dport = cfg->tunnel_port;
	copy(route.ipv6_src, &cfg->tunnel_address6, sizeof(route.ipv6_src));
	copy(route.ipv6_dst, peer, sizeof(route.ipv6_dst));
	if (bpf_fib_lookup(skb, &route, sizeof(route), BPF_FIB_LOOKUP_SKIP_NEIGH) != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return cfg->overlay_mtu;
	return route.mtu_result - TUNNEL6_HEADERS;
}

/* RFC 6040 4.1: the outer header carries the inner one's congestion bits. */
INLINE __u8 congestion_bits(const void *ip, __u8 version)
{
	if (version == 4)
		return ((const struct iphdr *)ip)->tos & CONGESTION_BITS;
	return ntohl(*(const __be32 *)ip) >> 20 & CONGESTION_BITS;
}

/* The checksum field for an IPv4 header; of one that has its checksum, 0 if that is right. */
INLINE __u16 header_checksum(const struct iphdr *ip)
{
	const __u32 *word = (const __u32 *)ip;

	return checksum((__u64)word[0] + word[1] + word[2] + word[3] + word[4]);
}

/* Not "don't fragment": a link on the path may be smaller than the uplink. */
INLINE void write_outer_ip(struct iphdr *to, const struct config *cfg, __u32 peer, __u16 length, __u8 tos)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = sizeof(ip) / 4,
		.tos = tos,
		.tot_len = htons(length),
		.id = bpf_get_prandom_u32(),
		.ttl = GATEWAY_HOPS,
		.protocol = IPPROTO_UDP,
		.saddr = cfg->tunnel_address4,
		.daddr = peer,
	};

	ip.check = header_checksum(&ip);
	copy(to, &ip, sizeof(ip));
}

/*
 * Sends a frame that is ready for the other node through the tunnel, by `hop`. TCX_NEXT if that cannot be
 * done here: the frame is as it was then.
 */
INLINE int send_directly(struct __sk_buff *skb, const struct config *cfg, struct context *ctx, __u32 peer,
			 struct hop *hop)
{
	__u32 length = skb->len - ETH_HLEN + TUNNEL_HEADERS;
	void *data = frame_start(skb);
	struct ethhdr *outer;
	struct tunnel *tunnel;
	__u8 tos;

	if (length > 0xffff || data + ETH_HLEN + sizeof(struct iphdr) > frame_end(skb))
		return TCX_NEXT;
	tos = congestion_bits(data + ETH_HLEN, ctx->version);
	if (bpf_skb_adjust_room(skb, TUNNEL_HEADERS, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET |
					BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
					BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN)))
		return TCX_NEXT;
	outer = data = tunnel_frame(skb);
	if (!data)
		return drop_rewritten(skb, ctx, REASON_tunnel_failed);
	tunnel = data + ETH_HLEN;
	copy_mac(tunnel->inner.h_dest, outer->h_dest);
	copy_mac(tunnel->inner.h_source, outer->h_source);
	tunnel->inner.h_proto = ctx->version == 4 ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	outer->h_proto = htons(ETH_P_IP);
	write_outer_ip(&tunnel->ip, cfg, peer, length, tos);
	tunnel->udp.source = (__u16)hop->source_port;
	tunnel->udp.dest = cfg->tunnel_port;
	tunnel->udp.len = htons((__u16)(length - sizeof(struct iphdr)));
	tunnel->udp.check = 0;
	tunnel->vxlan.vx_flags = htonl(VXLAN_HF_VNI);
	tunnel->vxlan.vx_vni = htonl(cfg->vni << 8);
	ctx->reason = REASON_direct_out;
	return leave(ctx, bpf_redirect_neigh(hop->ifindex, &hop->neighbour, sizeof(hop->neighbour), 0));
}

/*
 * The other node's address, if a frame at the uplink is a plain packet of our tunnels; 0 if it is none of
 * our business here.
 */
INLINE __u32 plain_tunnel(struct __sk_buff *skb, const struct config *cfg)
{
	void *data = frame(skb, ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr));
	struct tunnel *tunnel = data + ETH_HLEN;
	struct iphdr ip;

	if (!data || tunnel->udp.dest != cfg->tunnel_port ||
	    tunnel->ip.daddr != cfg->tunnel_address4 || tunnel->ip.protocol != IPPROTO_UDP ||
	    tunnel->ip.version != 4 || tunnel->ip.ihl != sizeof(ip) / 4)
		return 0;
	copy(&ip, &tunnel->ip, sizeof(ip));
	if (ip.frag_off & ~htons(IP_DF) || ntohs(ip.tot_len) != skb->len - ETH_HLEN ||
	    ntohs(tunnel->udp.len) != ntohs(ip.tot_len) - sizeof(ip) || tunnel->udp.check ||
	    (ip.tos & CONGESTION_BITS) == CONGESTION_EXPERIENCED || header_checksum(&ip))
		return 0;
	data = tunnel_frame(skb);
	tunnel = data + ETH_HLEN;
	if (!data || tunnel->vxlan.vx_flags != htonl(VXLAN_HF_VNI) || tunnel->vxlan.vx_vni != htonl(cfg->vni << 8) ||
	    !same_mac(tunnel->inner.h_dest, cfg->overlay_mac))
		return 0;
	return ip.saddr;
}

/*
 * What BPF_F_ADJ_ROOM_DECAP_L3_IPV6 does, for kernels before Linux 6.3, which do not know it: takes bytes off behind
 * the MAC addresses of a frame that is IPv4 to the kernel, and makes it IPv6 to the kernel. bpf_skb_change_proto
 * inserts the 20 bytes by which the header of IPv6 is longer. The header is there already, so they are removed again;
 * they are zeroed first, since the kernel subtracts what is removed from its checksum. Returns 6; 0 if the frame is
 * unchanged; negative if it is broken.
 */
NOINLINE int remove_before_ipv6(struct __sk_buff *skb, __s32 size)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	__s32 grown = sizeof(struct ipv6hdr) - sizeof(struct iphdr);
	struct iphdr zero = {};

	_Static_assert(sizeof(struct ipv6hdr) - sizeof(struct iphdr) == sizeof(zero), "zero covers what the header grows by");
	if (bpf_skb_adjust_room(skb, -size, BPF_ADJ_ROOM_MAC, flags))
		return 0;
	if (bpf_skb_change_proto(skb, htons(ETH_P_IPV6), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &zero, sizeof(zero), 0) ||
	    bpf_skb_adjust_room(skb, -grown, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	return 6;
}

/*
 * Whether a frame that carries several segments can lose its tunnel's headers here. The kernel goes on taking it for a
 * tunnel's packet (skb->encapsulation, SKB_GSO_UDP_TUNNEL): nothing that a program can do undoes that. It is the same to
 * TCP, which takes segments as one. UDP takes them apart, as a tunnel's, and loses them: only the device can remove
 * the marks.
 */
INLINE bool is_tcp(struct __sk_buff *skb, __u16 type)
{
	__u32 offset = ETH_HLEN + TUNNEL_HEADERS;
	__u8 protocol = 0;

	offset += type == htons(ETH_P_IP) ? __builtin_offsetof(struct iphdr, protocol) :
						  __builtin_offsetof(struct ipv6hdr, nexthdr);
	return !bpf_skb_load_bytes(skb, offset, &protocol, 1) && protocol == IPPROTO_TCP;
}

/*
 * Takes the headers off a plain tunnel's packet: leaves the inner IP packet behind the outer MAC
 * addresses. Its version, or 0 if it is none or cannot be had: the frame is as it was then. Negative if it is broken.
 */
INLINE int remove_tunnel(struct __sk_buff *skb)
{
	void *data = tunnel_frame(skb);
	struct tunnel *tunnel = data + ETH_HLEN;
	__s32 headers = TUNNEL_HEADERS;
	__u16 type = data ? tunnel->inner.h_proto : 0;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;

	if (skb->gso_size && !is_tcp(skb, type))
		return 0;
	/* To the kernel the frame is IPv4, as the tunnel. */
	if (type == htons(ETH_P_IP))
		return bpf_skb_adjust_room(skb, -headers, BPF_ADJ_ROOM_MAC, flags) ? 0 : 4;
	if (type != htons(ETH_P_IPV6))
		return 0;
	if (!bpf_skb_adjust_room(skb, -headers, BPF_ADJ_ROOM_MAC, flags | BPF_F_ADJ_ROOM_DECAP_L3_IPV6))
		return 6;
	return remove_before_ipv6(skb, headers);
}
