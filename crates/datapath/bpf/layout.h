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
	struct address node_address4; /* the source of what is sent for others to hosts outside; zero: there is none */
	struct address node_address6;
	__u16 first_port; /* host order: the ports that a translated source gets; neither NodePorts nor ephemeral ones */
	__u16 last_port;
	__u32 services; /* nonzero: Services are served here */
	__u32 policy_generation; /* of policy in force; its lowest bit is the column that counts; 0: there is no policy */
	__u32 policy_last; /* the last generation, for the agent that begins policy again */
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
	__u32 sets[2]; /* of policy, by columns */
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
#define ROUTE_SERVICES 4 /* a ServiceCIDR: what is no Service there is nothing */
#define ROUTE_PROXIED 5 /* a ServiceCIDR of another proxy, to which the node's stack leads: to routing, it is not there */

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
/* In `flows_used` alone: the outside was sent to a backend that is a process of this node. */
#define FLOW_HOST_BACKEND 3
/* In `flows_used` alone: there was a connection with VARIANT_DIRECT. */
#define FLOW_DIRECT 4

/*
 * The addresses and ports of a connection. Both directions have one key: the lower address stands first.
 */
struct tuple {
	struct address lower;
	struct address upper;
	__u16 lower_port; /* network order; of an ICMP echo its identifier, in both */
	__u16 upper_port;
	__u8 protocol;
	__u8 variant;
	__u8 pad[2];
};

/*
 * A connection straight to a backend whose tuple is that of a connection through a Service: its own is another
 * variant, from which its source gets another port.
 */
#define VARIANT_DIRECT 1

/*
 * A connection's state: the bits below, and in the upper half the jiffies, less their lowest bits, when its packets were
 * last attended to. Unlike the clock, reading the jiffies costs nothing.
 */
#define CONNECTION_TICK_SHIFT 16

/* Kinds of entries, in the lowest bits. */
#define CONNECTION_KIND 3
#define CONNECTION_PLAIN 0 /* nothing is translated */
#define CONNECTION_FORWARD 1 /* the key is between client and frontend; it becomes one between source and destination */
#define CONNECTION_REPLY 2 /* the key is between translated client and backend; it becomes that of the other entry */

#define CONNECTION_CLIENT_UPPER 4 /* the client is `upper` in the key */
#define CONNECTION_REPLIED 8 /* the server has sent something */
#define CONNECTION_FIN_CLIENT 16
#define CONNECTION_FIN_SERVER 32
#define CONNECTION_RESET 64
#define CONNECTION_TUNNEL 128 /* PLAIN: the client is outside; what answers it goes through the tunnel to `source` */
#define CONNECTION_HOST 256 /* the backend is a process of this node, whose answers leave by the uplink */
#define CONNECTION_FAILED 512 /* the backend refused a datagram: the next one gets another backend */
#define CONNECTION_AUDITED_EGRESS 1024 /* policy would have it not pass, but only counts it */
#define CONNECTION_AUDITED_INGRESS 2048

/*
 * One entry of a connection. Of a translated one there are two; each holds the other's tuple, in the client's direction, so
 * that either can be made again from the other. None holds a number that can come to mean something else.
 */
struct connection {
	struct address source;
	struct address destination;
	__u16 source_port;
	__u16 destination_port;
	__u32 service; /* its number, for those who list connections; 0: none */
	__u32 seen; /* the last packet: CLOCK_MONOTONIC in 2^30 ns */
	__u32 state;
	__u32 client_ifindex; /* the host side of a Pod of this node; 0: it is no such Pod */
	__u32 server_ifindex;
	__u32 judged; /* the generation of policy that let it pass; 0: none did */
};

/* Connections without an answer. A flood of them evicts none that is established. */
#define NEW_CONNECTIONS_MAX 65536

#define SCOPE_ADDRESS 0
#define SCOPE_NODE_PORT 1 /* at every node; the address is zero */
#define SCOPE_HOST_PORT 2 /* at every address of this node; the address is zero */

/* Where a Service is reached. Port and protocol 0: the address is a Service's, whatever the port. */
struct service_key {
	struct address address; /* with another scope than SCOPE_ADDRESS: 0.0.0.0 (mapped) or :: */
	__u16 port;
	__u8 protocol;
	__u8 scope;
};

/* Slots of `backends`, and their table in `choices`. */
struct list {
	__u32 first; /* slot */
	__u32 count; /* 0: there is nobody */
	__u32 table; /* block of `choices` */
	__u32 size; /* entries of the table; 0: there is none, and up to RENDEZVOUS_MAX slots */
};

#define RENDEZVOUS_MAX 32

#define SERVICE_REFUSE 1 /* nobody anywhere: the sender is told */
#define SERVICE_ADDRESS 2 /* an entry of an address without its port */
#define SERVICE_LOCAL 4 /* the list `outside` has the backends of this node alone (externalTrafficPolicy: Local) */

struct service {
	__u32 number; /* of its counters; never 0, but in entries of addresses */
	__u32 flags;
	__u32 affinity; /* seconds for which a client keeps its backend; 0: it does not */
	__u32 ranges; /* whom `source_ranges` lets in; 0: everybody */
	struct list inside; /* for Pods and this node's processes */
	struct list outside;
};

struct backend {
	struct address address;
	__u16 port;
	__u8 pad[2];
	__u32 seed; /* a hash of address and port, equal on all nodes */
};

#define CHOICES_BLOCK 32

/* A part of a Maglev table: offsets from a list's first slot. */
struct choices {
	__u16 slots[CHOICES_BLOCK];
};

struct affinity_key {
	struct address client;
	__u32 service;
};

struct affinity {
	struct address address;
	__u16 port;
	__u8 pad[2];
	__u32 seen; /* as a connection's */
};

#define AFFINITY_MAX 65536

struct range_key {
	__u32 prefix_length; /* 32 longer than that of the address */
	__u32 ranges;
	struct address address;
};

#define ADDRESS_OWN 1 /* of this node */
#define ADDRESS_NODE_PORTS 2 /* NodePorts are served there */

/* Of which ports packets from outside may be for a Service: bits, first of TCP, then of UDP, then of SCTP. */
#define SERVED_PORTS_WORDS (3 * 65536 / 64)

struct service_counter {
	__u64 connections;
	__u64 refused; /* no backend, or none that this client may get */
};

/* All but the first fragment of a packet have no ports: those of the first, until the last has passed. */
struct fragment_key {
	struct address source;
	struct address destination;
	__u32 id;
	__u32 protocol;
};

struct fragment {
	__u16 source_port;
	__u16 destination_port;
	__u32 protocol;
};

#define FRAGMENTS_MAX 8192

/*
 * Policy. Every address is of a class, every Pod of this node has a set. For a set, a direction and a class there is a
 * list of verdicts by protocol and port. None of these numbers ever comes to mean something else.
 *
 * What can change has two columns. The lowest bit of the generation in force says which counts; a change is written into
 * the other one, and the next generation is in force with one write.
 */
struct class {
	__u32 column[2];
};

#define CLASS_OTHER 0 /* of addresses that are in no table */
#define CLASS_NONE 0xffffffff /* in a column: there is no entry; in a key: any class without an entry of its own */

#define SET_OPEN 0 /* everything passes */
#define SET_CLOSED 0xffffffff /* nothing passes but what comes from the own node */

#define INGRESS 0 /* seen from the Pod */
#define EGRESS 1

struct verdict {
	__u32 rule; /* under which it is counted; 0: none */
	__u32 flags;
};

#define VERDICT_DENY 1
#define VERDICT_AUDIT 2 /* it passes, and is counted as what should not */
#define VERDICT_REJECT 4 /* the sender is told */
#define VERDICT_ORIGIN 24 /* ORIGIN_*: what decided */
#define ORIGIN_ADMIN 0
#define ORIGIN_NETWORK_POLICY 8
#define ORIGIN_BASELINE 16
#define ORIGIN_NOTHING 24

struct set_key {
	__u32 set;
	__u32 class;
	__u32 direction;
};

struct set_entry {
	__u32 list; /* of verdicts by port; 0: all ports have one verdict */
	struct verdict others; /* of all that is not in the list */
};

struct ports_key {
	__u32 prefix_length; /* 48 longer than that of the port: an interval is several prefixes */
	__u32 list;
	__u8 pad;
	__u8 protocol;
	__u16 port; /* network order */
};

/* An entry is made by the agent: what has none is not counted. */
struct rule_counter {
	__u64 allowed; /* connections that began, and packets that belong to none */
	__u64 denied; /* packets */
	__u64 audited; /* as allowed */
};

/*
 * What was dropped: why, and between whom. The source is the real client, and the destination the endpoint behind a
 * Service; zero: it is not known.
 *
 * A source that its sender may have made up is in no key. In its place stands who sent the packet: an address of the
 * port where it came in, or the other node's end of the tunnel.
 */
struct drop_key {
	struct address source;
	struct address destination;
	__u32 rule; /* of policy; 0: none, or another reason */
	__u32 ifindex; /* where it came in, before the shaper; 0: policy dropped it */
	__u16 port; /* of the destination, network order; 0: it has none, or it is not known */
	__u8 protocol; /* of ICMPv6 that of ICMP; 0: it is not known */
	__u8 reason;
	__u8 flags;
	__u8 pad[3];
};

#define DROP_INGRESS 1 /* it was about to come to the destination; else the source was about to send it */
#define DROP_AUDIT 2 /* it passed: its policy is on trial */
#define DROP_OTHERS 4 /* all those of one sender that were too many to have rows of their own */

struct drop_counter {
	__u64 packets; /* with DROP_AUDIT: connections, and packets that belong to none */
	__u64 bytes; /* of frames */
	__u64 first; /* nanoseconds since boot (bpf_ktime_get_boot_ns) */
	__u64 last;
	struct address claimed; /* the last packet's own source, if that is in no key; zero: it has none */
	__u16 source_port; /* of the last packet, network order; 0 as above */
	__u8 mac[ETH_ALEN]; /* likewise, of a frame from a port */
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

/*
 * What is known of a connection, for people. The key is the tuple between its source and its backend; one record has both
 * directions. The state has bits of a connection's, and those below. All times are CLOCK_MONOTONIC in nanoseconds.
 */
struct record {
	struct address client; /* whose port and address are what it sent itself */
	struct address frontend; /* where it sent to: a Service's, or the backend itself */
	__u16 client_port;
	__u16 frontend_port;
	__u32 service; /* its number; 0: it went through none */
	__u32 client_ifindex; /* the host side of a Pod of this node; 0: it is no such Pod */
	__u32 server_ifindex;
	__u32 rules[2]; /* of policy, by which each direction (INGRESS, EGRESS) was let pass here; 0: none */
	__u32 state;
	__u32 round_trip; /* TCP: from SYN to SYN/ACK in microseconds; it counts once the server has answered; 0: not seen */
	__u64 began;
	__u64 last; /* the last packet; rounded down by up to ten milliseconds */
	__u64 told; /* the last event, whether it fitted or not */
	struct counter sent[2]; /* by the client and by the server: packets as they came in here, and bytes of frames */
};

#define RECORD_LATE 4096 /* it does not begin with the connection's first packet */
#define RECORD_ENDED 8192 /* TCP: the last packet was seen, or a reset; the agent was told */

/* What an event says. */
#define RECORD_NEW 1
#define RECORD_GOES_ON 2
#define RECORD_END 3

struct record_event {
	struct tuple key;
	struct record record;
	__u32 what;
	__u32 pad;
};

/* How many events there were. */
struct record_budget {
	__u64 window; /* the second, and in the lower half how many there were in it */
	__u64 made; /* all of them */
	__u64 over; /* those that were too many for their second */
	__u64 full; /* those for which the ring had no space */
};

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

/* The agent decides how many there can be, by the node's memory. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct tuple);
	MAP_TYPE(value, struct connection);
} connections SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, NEW_CONNECTIONS_MAX);
	MAP_TYPE(key, struct tuple);
	MAP_TYPE(value, struct connection);
} new_connections SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct service_key);
	MAP_TYPE(value, struct service);
} services SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct backend);
} backends SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct choices);
} choices SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct service_counter);
} service_counts SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, AFFINITY_MAX);
	MAP_TYPE(key, struct affinity_key);
	MAP_TYPE(value, struct affinity);
} affinities SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LPM_TRIE);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct range_key);
	MAP_TYPE(value, __u32);
} source_ranges SEC(".maps");

/* This node's own addresses: ADDRESS_* bits. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, struct address);
	MAP_TYPE(value, __u32);
} addresses SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, SERVED_PORTS_WORDS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u64);
} served_ports SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, FRAGMENTS_MAX);
	MAP_TYPE(key, struct fragment_key);
	MAP_TYPE(value, struct fragment);
} fragments SEC(".maps");

/* Of single addresses. Those of Pods are all there, so that no block is looked up for them. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct address);
	MAP_TYPE(value, struct class);
} classes SEC(".maps");

/* Of all others: by the longest prefix that an address is in, in whose columns there is always a class. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LPM_TRIE);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct route_key);
	MAP_TYPE(value, struct class);
} block_classes SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct set_key);
	MAP_TYPE(value, struct set_entry);
} policy_sets SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LPM_TRIE);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct ports_key);
	MAP_TYPE(value, struct verdict);
} policy_ports SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_HASH);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct rule_counter);
} policy_counts SEC(".maps");

/*
 * The agent's setting decides how many. When the map is full, the least recently seen is evicted. 168 bytes each, which
 * the kernel takes for all of them at once.
 */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct drop_key);
	MAP_TYPE(value, struct drop_counter);
} drops SEC(".maps");

/* The agent's setting decides how many: one if nothing is recorded. 224 bytes each, taken for all of them at once. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, struct tuple);
	MAP_TYPE(value, struct record);
} records SEC(".maps");

/* Of this load of the programs alone: an agent reads what its own programs say. A page if nothing is recorded. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_RINGBUF);
	MAP_UINT(max_entries, 4096);
} record_ring SEC(".maps");

/* Likewise. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct record_budget);
} record_budget SEC(".maps");

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
