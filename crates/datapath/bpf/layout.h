/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps: what the agent writes and the programs read. src/layout.rs is the same in Rust, and a
 * test compares the two, member by member.
 *
 * Keys are multiples of four bytes and have no hidden padding; addresses have 16 bytes, IPv4 as ::ffff:a.b.c.d; all
 * in network order.
 *
 * Who changes what a map's bytes are or mean gives the map its next version in src/maps.rs, and says there how entries
 * of the former version become new ones: agents of both meet on one node in an upgrade.
 */
#pragma once
#include "headers.h"

struct address {
	__u32 word[4];
};

/* What this node is; index 0 of an array of one. Without it (mido_ifindex 0) nothing passes. */
struct config {
	struct address gateway4; /* zero when the node has no such family */
	struct address gateway6;
	__u8 gateway_mac[ETH_ALEN];
	__u8 overlay_mac[ETH_ALEN];
	__u8 node_mac[ETH_ALEN];
	__u8 pad[2];
	__u32 node_ifindex;
	__u32 mido_ifindex;
	__u32 overlay_ifindex;
	__u32 vni;
	__u32 overlay_mtu; /* the largest IP packet that fits into the tunnel */
	__u32 tunnel_address4; /* own end of tunnels over IPv4; zero: there is none */
	__u16 tunnel_port;
	__u8 direct; /* the programs write and remove the headers of tunnels over IPv4; zero: the device does */
	__u8 pad2;
	__u32 shaper_ifindex; /* where what limited Pods send has to queue; zero: there is none */
	__u32 shaped_ifindex; /* where it comes back */
	struct address tunnel_address6; /* own end of tunnels over IPv6; zero: there is none */
};

#define ROLE_POD 1
#define ROLE_NODE 2
#define ROLE_OUTSIDE 3 /* a Pod with an address outside this node's podCIDRs: they changed since it was made */

#define LIMITED_INGRESS 1 /* what it gets queues at its host side */
#define LIMITED_EGRESS 2 /* what it sends goes through the shaper first */
#define RECORDED 4 /* ROLE_OUTSIDE: the flows of what it sends are recorded */

/* Who has an address on this node: where to deliver, and who may send with it. */
struct endpoint {
	__u32 ifindex; /* the host side: where its packets come in */
	__u32 role;
	__u8 mac[ETH_ALEN]; /* of the container side */
	__u16 limited; /* zero for almost all */
};

#define PORT_ADDRESSES 4

/* What is bound to an interface: the record the agent reads back, and who may ask for the gateway. */
struct port {
	__u32 role;
	__u32 count; /* of addresses */
	__u8 mac[ETH_ALEN];
	__u8 pad[2];
	struct address addresses[PORT_ADDRESSES];
};

/*
 * How fast a Pod may be, seen from the Pod: the record the agent reads back, in bits as it was asked for, zero for
 * no limit. Queueing disciplines keep to it; the programs only send packets there.
 */
struct limit {
	__u64 ingress_rate; /* in a second */
	__u64 ingress_burst;
	__u64 egress_rate;
	__u64 egress_burst;
	__u32 class; /* the shaper's, a handle of traffic control */
	__u32 pad;
};

struct route_key {
	__u32 prefix_length; /* of the 16 bytes: an IPv4 prefix is 96 longer */
	struct address address;
};

#define ROUTE_TUNNEL 1
#define ROUTE_LOCAL 2
#define ROUTE_UNREACHABLE 3

struct route {
	__u32 kind;
	struct address tunnel; /* the other node's address on the underlay */
};

/*
 * A connection that is not forwarded as its addresses alone say. Both directions have one key: the lower address
 * stands first.
 *
 * The programs record it from its packets. When the map is full, the least recently seen flow
 * is evicted. The kernel takes the memory for all of them at once, 112 bytes each: 7 MiB.
 */
struct flow {
	struct address lower;
	struct address upper;
	__u16 lower_port; /* network order; of an ICMP echo its identifier; zero for what has none */
	__u16 upper_port;
	__u8 protocol; /* zero: all fragments between the two addresses */
	__u8 pad[3];
};

#define FLOWS_MAX 65536

/* The node's network stack forwards it. */
#define FLOW_VIA_NODE 0
/* Between a Pod of this node and a process of another node that uses an address of that node on the underlay. */
#define FLOW_FROM_NODE 1
/*
 * Between a Pod outside this node's podCIDRs and the node or the outside: by that its answers are told from packets to
 * who has its address now.
 */
#define FLOW_OUTSIDE 2

/*
 * How often a port was answered with an ICMP error or an echo reply: when the next one would be due if they all came
 * evenly (bpf_ktime_get_ns). That is a token bucket in one number.
 */
struct answers {
	__u64 due; /* all but the next */
	__u64 due_too_big; /* path-MTU messages */
};

/* The kernel takes the memory for all of them at once: about 350 KiB. */
#define ANSWERS_MAX 4096

/* Space for reasons, so that a new one needs no new version of the map. */
#define REASONS_MAX 128

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct config);
} config SEC(".maps");

/* The agent's settings decide how many entries the next five can have. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct address);
	MAP_TYPE(value, struct endpoint);
} endpoints SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct port);
} ports SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct limit);
} limits SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LPM_TRIE);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct route_key);
	MAP_TYPE(value, struct route);
} routes SEC(".maps");

/*
 * The addresses of nodes on the underlay. The value is where tunnels to that node end, by which the programs know the
 * node; zero for this node.
 */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct address);
	MAP_TYPE(value, struct address);
} nodes SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, FLOWS_MAX);
	MAP_TYPE(key, struct flow);
	MAP_TYPE(value, __u32); /* FLOW_VIA_NODE or FLOW_FROM_NODE */
} flows SEC(".maps");

/* Of which kinds there ever was a flow, one bit each: most nodes need not look any up. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u32);
} flows_used SEC(".maps");

/* By interface. An evicted entry is a full bucket again. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, ANSWERS_MAX);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct answers);
} answers SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, REASONS_MAX);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct counter);
} counters SEC(".maps");
