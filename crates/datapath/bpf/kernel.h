/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few types, constants and helpers of the kernel that the datapath uses.
 *
 * Nothing is included from the system: a distribution's headers lag behind its kernel, and some of
 * them drag in libc for a target that has none. Every number here is part of the kernel's stable
 * interface (include/uapi/linux/bpf.h, pkt_cls.h).
 */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16; /* in network order */
typedef __u32 __be32;
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

struct bpf_redir_neigh {
	__u32 nh_family;
	union {
		__be32 ipv4_nh;
		__u32 ipv6_nh[4];
	};
};

#define AF_INET 2
#define AF_INET6 10

struct bpf_fib_lookup {
	__u8 family;
	__u8 l4_protocol;
	__be16 sport;
	__be16 dport;
	union {
		__u16 tot_len; /* in: the packet's, to be compared with the path's MTU */
		__u16 mtu_result; /* out: that MTU */
	};
	__u32 ifindex; /* in: where it came in; out: where it leaves */
	__u32 tos;
	union {
		__be32 ipv4_src;
		__u32 ipv6_src[4];
	};
	union {
		__be32 ipv4_dst; /* out: the next hop */
		__u32 ipv6_dst[4];
	};
	__u32 tbid;
	__u8 smac[6];
	__u8 dmac[6];
};

_Static_assert(sizeof(struct bpf_fib_lookup) == 64, "struct bpf_fib_lookup of linux/bpf.h");

#define BPF_FIB_LOOKUP_SKIP_NEIGH (1U << 2)
#define BPF_FIB_LKUP_RET_SUCCESS 0
#define BPF_FIB_LKUP_RET_FRAG_NEEDED 8

/* The index of the loopback interface in every namespace: routing's word for "from here". */
#define LOOPBACK_IFINDEX 1

#define PACKET_HOST 0

#define TCX_NEXT -1
#define TC_ACT_SHOT 2

#define BPF_F_INGRESS (1ULL << 0)
#define BPF_F_RECOMPUTE_CSUM (1ULL << 0)
#define BPF_F_PSEUDO_HDR (1ULL << 4)
#define BPF_F_MARK_MANGLED_0 (1ULL << 5)
#define BPF_F_MARK_ENFORCE (1ULL << 6)
#define BPF_ANY 0
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
#define BPF_MAP_TYPE_PERCPU_HASH 5
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_LPM_TRIE 11
#define BPF_MAP_TYPE_RINGBUF 27

/* How a map is described to the loader: numbers become array lengths in the type information. */
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, value) __typeof__(value) *name

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
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
static __s64 (*bpf_csum_diff)(const void *from, __u32 from_size, const void *to, __u32 to_size, __u32 seed) = (void *)28;
static __u32 (*bpf_get_hash_recalc)(struct __sk_buff *) = (void *)34;
static long (*bpf_skb_change_tail)(struct __sk_buff *, __u32 size, __u64 flags) = (void *)38;
static long (*bpf_skb_pull_data)(struct __sk_buff *, __u32 size) = (void *)39;
static __s64 (*bpf_csum_update)(struct __sk_buff *, __u32 sum) = (void *)40;
static long (*bpf_skb_adjust_room)(struct __sk_buff *, __s32 size, __u32 mode, __u64 flags) = (void *)50;
static long (*bpf_fib_lookup)(struct __sk_buff *, struct bpf_fib_lookup *, int size, __u32 flags) = (void *)69;
static __u64 (*bpf_jiffies64)(void) = (void *)118;
static __u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;
static long (*bpf_ringbuf_output)(void *ring, void *data, __u64 size, __u64 flags) = (void *)130;
static long (*bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *, int size, __u64 flags) = (void *)152;
static long (*bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)155;
static __u64 (*bpf_ktime_get_coarse_ns)(void) = (void *)160;
static long (*bpf_loop)(__u32 count, void *callback, void *context, __u64 flags) = (void *)181;
static __u64 (*bpf_ktime_get_tai_ns)(void) = (void *)208;
