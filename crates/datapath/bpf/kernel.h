/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few types, constants and helpers of the kernel that the datapath uses.
 *
 * Nothing is included from the system: a distribution's headers lag behind its kernel, and some of
 * them drag in libc for a target that has none. Every number here is part of the kernel's stable
 * interface (include/uapi/linux/bpf.h, pkt_cls.h, if_ether.h).
 */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
/*
 * Rare paths are functions of their own, so that the common path stays short. They are global: the
 * verifier then looks at each once, for any arguments, which is why each looks for NULL first.
 */
#define NOINLINE __attribute__((noinline))
#define ALIGNED __attribute__((aligned(4)))
#define copy(to, from, size) __builtin_memcpy(to, from, size)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define htons(x) ((__u16)__builtin_bswap16(x))
#define htonl(x) ((__u32)__builtin_bswap32(x))
#else
#define htons(x) ((__u16)(x))
#define htonl(x) ((__u32)(x))
#endif
#define ntohs htons
#define ntohl htonl

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	__u64 flow_keys;
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	__u64 sk;
	__u32 gso_size;
	__u8 tstamp_type;
	__u8 unused[3];
	__u64 hwtstamp;
};

/* With the local address, which came last: Linux 6.0. */
struct bpf_tunnel_key {
	__u32 tunnel_id;
	union {
		__u32 remote_ipv4; /* host order */
		__u32 remote_ipv6[4]; /* network order */
	};
	__u8 tunnel_tos;
	__u8 tunnel_ttl;
	__u16 tunnel_ext;
	__u32 tunnel_label;
	union {
		__u32 local_ipv4; /* host order; zero: the kernel chooses */
		__u32 local_ipv6[4];
	};
};

_Static_assert(sizeof(struct bpf_tunnel_key) == 44, "struct bpf_tunnel_key of linux/bpf.h");

/* The form of redirect_neigh's next hop. */
struct bpf_redir_neigh {
	__u32 family;
	union {
		__u32 ipv4; /* network order */
		__u32 ipv6[4];
	};
};

#define AF_INET 2
#define AF_INET6 10

/* What the kernel's routing says of a packet; the names are those of their use here. */
struct bpf_fib_lookup {
	__u8 family;
	__u8 protocol;
	__u16 source_port; /* network order, as everything on the wire */
	__u16 destination_port;
	__u16 length; /* in: the packet's, to be compared with the path's MTU; out: that MTU */
	__u32 ifindex; /* in: where it came in; out: where it leaves */
	__u32 tos;
	union {
		__u32 source4;
		__u32 source6[4];
	};
	union {
		__u32 destination4; /* out: the next hop */
		__u32 destination6[4];
	};
	__u32 table;
	__u8 source_mac[6];
	__u8 destination_mac[6];
};

_Static_assert(sizeof(struct bpf_fib_lookup) == 64, "struct bpf_fib_lookup of linux/bpf.h");

#define BPF_FIB_LOOKUP_SKIP_NEIGH (1U << 2)
#define BPF_FIB_LKUP_RET_SUCCESS 0
#define BPF_FIB_LKUP_RET_FRAG_NEEDED 8

/* The loopback interface has this number in every namespace: routing's word for "from here". */
#define LOOPBACK_IFINDEX 1

#define PACKET_HOST 0

#define TCX_NEXT -1
#define TC_ACT_SHOT 2

#define BPF_F_INGRESS (1ULL << 0)
#define BPF_F_ZERO_CSUM_TX (1ULL << 1)
#define BPF_F_TUNINFO_IPV6 (1ULL << 0)
#define BPF_F_NO_PREALLOC 1
#define BPF_NOEXIST 1
#define BPF_ADJ_ROOM_MAC 1
#define BPF_F_ADJ_ROOM_FIXED_GSO (1ULL << 0)
#define BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 (1ULL << 1)
#define BPF_F_ADJ_ROOM_ENCAP_L4_UDP (1ULL << 4)
#define BPF_F_ADJ_ROOM_NO_CSUM_RESET (1ULL << 5)
#define BPF_F_ADJ_ROOM_ENCAP_L2_ETH (1ULL << 6)
#define BPF_F_ADJ_ROOM_ENCAP_L2(size) ((__u64)(size) << 56)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)

#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_LPM_TRIE 11

/* How a map is described to the loader: numbers become array lengths in the type information. */
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, value) __typeof__(value) *name

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_get_prandom_u32)(void) = (void *)7;
static long (*bpf_skb_store_bytes)(struct __sk_buff *, __u32 offset, const void *, __u32 size, __u64 flags) = (void *)9;
static long (*bpf_l3_csum_replace)(struct __sk_buff *, __u32 offset, __u64 from, __u64 to, __u64 size) = (void *)10;
static long (*bpf_l4_csum_replace)(struct __sk_buff *, __u32 offset, __u64 from, __u64 to, __u64 flags) = (void *)11;
static long (*bpf_skb_get_tunnel_key)(struct __sk_buff *, struct bpf_tunnel_key *, __u32 size, __u64 flags) = (void *)20;
static long (*bpf_skb_set_tunnel_key)(struct __sk_buff *, struct bpf_tunnel_key *, __u32 size, __u64 flags) = (void *)21;
static long (*bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*bpf_skb_load_bytes)(const struct __sk_buff *, __u32 offset, void *, __u32 size) = (void *)26;
static long (*bpf_skb_change_proto)(struct __sk_buff *, __u16 protocol, __u64 flags) = (void *)31;
static __u32 (*bpf_get_hash_recalc)(struct __sk_buff *) = (void *)34;
static long (*bpf_skb_change_tail)(struct __sk_buff *, __u32 size, __u64 flags) = (void *)38;
static long (*bpf_skb_pull_data)(struct __sk_buff *, __u32 size) = (void *)39;
static long (*bpf_skb_adjust_room)(struct __sk_buff *, __s32 size, __u32 mode, __u64 flags) = (void *)50;
static long (*bpf_fib_lookup)(struct __sk_buff *, struct bpf_fib_lookup *, int size, __u32 flags) = (void *)69;
static long (*bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *, int size, __u64 flags) = (void *)152;
static long (*bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)155;

/* Headers on the wire; every number in network order. */

#define MAC_SIZE 6
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IPV6 0x86dd

struct ethernet {
	__u8 destination[MAC_SIZE];
	__u8 source[MAC_SIZE];
	__u16 type;
};

struct arp {
	__u16 hardware;
	__u16 protocol;
	__u8 hardware_size;
	__u8 protocol_size;
	__u16 operation;
	__u8 sender_mac[MAC_SIZE];
	__u32 sender;
	__u8 target_mac[MAC_SIZE];
	__u32 target;
} __attribute__((packed));

#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff

struct ipv4 {
	__u8 version_length; /* 4 bits each, the length in words */
	__u8 tos;
	__u16 total_length;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__u32 source;
	__u32 destination;
};

struct ipv6 {
	__u32 version_class_flow;
	__u16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u32 source[4];
	__u32 destination[4];
};

struct udp {
	__u16 source;
	__u16 destination;
	__u16 length;
	__u16 checksum;
};

/* RFC 7348, section 5. */
struct vxlan {
	__u32 flags;
	__u32 vni; /* in the upper 24 bits */
};

#define VXLAN_HAS_VNI 0x08000000

struct icmp {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__u32 rest;
};

#define IPPROTO_HOPOPTS 0
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_AUTH 51
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60
#define IPPROTO_SCTP 132

#define ETHERNET_SIZE sizeof(struct ethernet)
