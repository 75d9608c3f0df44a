/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Watches the datapath's programs at work, while somebody follows a connection. For each hook there are two programs: the
 * kernel runs one when the hook's program begins (fentry), the other when it returns (fexit). They decide nothing and
 * change no packet. While nobody follows, they are not there.
 *
 * A packet is followed if the client's address is at one of its ends: of the packet itself, of the one in a tunnel, or
 * of the one that an ICMP error quotes. What the hook did with it is seen from what the program returned, from what it
 * counted meanwhile on this CPU, and from the frame before and after.
 *
 * This is an object of its own: none of the datapath's maps but `counters` is used here.
 */
#include "bucket.h"
#include "headers.h"

static long (*bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;

/* The kernel's structures. The loader puts in where this kernel has their members. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct net_device {
	int ifindex;
};

struct sk_buff {
	unsigned int len;
	unsigned int data_len;
	unsigned char *data;
	struct net_device *dev;
};
#pragma clang attribute pop

enum reason {
#define REASON(name, fate, help) REASON_##name,
#include "reasons.def"
#undef REASON
	REASON_COUNT,
};

#define FOLLOWED_PORTS 8

/* What is followed; index 0 of an array of one. Ports are in network order. */
struct followed {
	__u32 client[4]; /* IPv4 as ::ffff:a.b.c.d */
	__u16 client_port; /* of an echo, its identifier; 0: any */
	__u16 tunnel_port;
	__u16 ports[FOLLOWED_PORTS]; /* of the other end; the first one 0: any */
	__u8 protocol; /* of ICMPv6 that of ICMP */
	__u8 pad[3];
	__u64 due; /* of the next event that is one too many (bucket.h) */
	__u64 lost; /* packets that were too many, or for which the ring had no space */
};

/* Events at once, and then in a second: what is followed costs no more than that. */
#define FOLLOWED_BURST 500
#define FOLLOWED_INTERVAL (SECOND / 1000)

/* The headers of a packet in a tunnel over IPv6, and some bytes of what they carry. */
#define FRAME_BYTES 192

struct followed_frame {
	__u32 length; /* of the frame */
	__u32 captured; /* of `bytes`, how many are its beginning */
	__u8 bytes[FRAME_BYTES];
};

struct followed_event {
	__u64 time; /* when the hook began (bpf_ktime_get_boot_ns) */
	__u32 hook; /* HOOK_* */
	__u32 ifindex; /* where the packet was */
	__s32 action; /* what the program returned */
	__u32 counted[2]; /* under which reasons, their numbers plus one; 0: none, or no second one */
	__u32 pad;
	struct followed_frame before;
	struct followed_frame after;
};

#define HOOK_FROM_ENDPOINT 1
#define HOOK_FROM_OVERLAY 2
#define HOOK_FROM_UPLINK 3
#define HOOK_TO_UPLINK 4

/* Of the packet that this CPU has at a hook. */
struct follow_memory {
	struct followed_event event;
	__u64 counted[REASON_COUNT]; /* before */
	__u32 hook; /* 0: it is not followed */
	__u32 pad;
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct followed);
} followed SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct follow_memory);
} follow_memory SEC(".maps");

/* Space for more than a burst. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_RINGBUF);
	MAP_UINT(max_entries, 512 * 1024);
} followed_ring SEC(".maps");

/* The datapath's own. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, REASON_COUNT);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct counter);
} counters SEC(".maps");

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The part of a frame that lies in one piece. */
struct linear {
	const unsigned char *data;
	__u32 length;
};

INLINE bool load(const struct linear *frame, __u32 at, void *to, __u32 size)
{
	return at + size <= frame->length && !bpf_probe_read_kernel(to, size, frame->data + at);
}

/* An IP header, as far as it matters here. */
struct ip {
	__u32 source[4];
	__u32 destination[4];
	__u32 payload; /* where it begins in the frame */
	__u8 protocol;
	bool later; /* a fragment other than the first one, or behind headers that are not read */
};

INLINE bool load_ip(const struct linear *frame, __u32 at, struct ip *ip)
{
	struct ipv6hdr v6;
	struct iphdr v4;

	if (!load(frame, at, &v4, sizeof(v4)))
		return false;
	if (v4.version == 4) {
		__builtin_memset(ip, 0, sizeof(*ip));
		ip->source[2] = ip->destination[2] = htonl(0xffff);
		ip->source[3] = v4.saddr;
		ip->destination[3] = v4.daddr;
		ip->protocol = v4.protocol;
		ip->later = v4.frag_off & htons(IP_OFFSET);
		ip->payload = at + v4.ihl * 4;
		return true;
	}
	if (v4.version != 6 || !load(frame, at, &v6, sizeof(v6)))
		return false;
	copy(ip->source, v6.saddr, sizeof(v6.saddr));
	copy(ip->destination, v6.daddr, sizeof(v6.daddr));
	ip->protocol = v6.nexthdr == IPPROTO_ICMPV6 ? IPPROTO_ICMP : v6.nexthdr;
	ip->later = v6.nexthdr == IPPROTO_HOPOPTS || v6.nexthdr == IPPROTO_ROUTING ||
		    v6.nexthdr == IPPROTO_FRAGMENT || v6.nexthdr == IPPROTO_DSTOPTS;
	ip->payload = at + sizeof(v6);
	return true;
}

INLINE bool same(const __u32 *a, const __u32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

INLINE bool is_error(const struct ip *ip, __u8 type)
{
	if (ip->source[2] == htonl(0xffff) && !ip->source[0] && !ip->source[1])
		return type == 3 || type == 4 || type == 11 || type == 12;
	return type >= 1 && type <= 4;
}

INLINE bool has_port(const struct followed *what, __u16 port)
{
	if (!what->ports[0])
		return true;
#pragma clang loop unroll(full)
	for (int i = 0; i < FOLLOWED_PORTS; i++)
		if (what->ports[i] == port)
			return true;
	return false;
}

/* Whether the transport's header is that of a packet between the client and such a port. */
INLINE bool fits(const struct linear *frame, const struct followed *what, const struct ip *ip, bool by_client)
{
	struct icmphdr echo;
	__u16 ports[2];

	if (ip->later)
		return true;
	if (ip->protocol != what->protocol)
		return false;
	if (ip->protocol == IPPROTO_ICMP)
		return load(frame, ip->payload, &echo, sizeof(echo)) && !is_error(ip, echo.type) &&
		       (!what->client_port || what->client_port == echo.un.echo.id);
	if (!load(frame, ip->payload, ports, sizeof(ports)))
		return false;
	if (what->client_port && what->client_port != (by_client ? ports[0] : ports[1]))
		return false;
	/* A Pod that is its own Service's endpoint serves at its own address: then that port is the server's. */
	return has_port(what, ports[0]) || has_port(what, ports[1]);
}

/* Whether a frame is followed: it, or what it carries or quotes. */
INLINE bool is_followed(const struct linear *frame, const struct followed *what)
{
	__u32 at = ETH_HLEN;
	struct icmphdr icmp;
	struct udphdr udp;
	struct ip ip;

	for (int layer = 0; layer < 3; layer++) {
		if (!load_ip(frame, at, &ip))
			return false;
		if (same(ip.source, what->client) && fits(frame, what, &ip, true))
			return true;
		if (same(ip.destination, what->client) && fits(frame, what, &ip, false))
			return true;
		if (ip.later)
			return false;
		if (ip.protocol == IPPROTO_UDP) {
			if (!load(frame, ip.payload, &udp, sizeof(udp)) || udp.dest != what->tunnel_port)
				return false;
			at = ip.payload + sizeof(udp) + sizeof(struct vxlanhdr) + ETH_HLEN;
		} else if (ip.protocol == IPPROTO_ICMP) {
			if (!load(frame, ip.payload, &icmp, sizeof(icmp)) || !is_error(&ip, icmp.type))
				return false;
			at = ip.payload + sizeof(icmp);
		} else {
			return false;
		}
	}
	return false;
}

INLINE void capture(struct followed_frame *to, const struct linear *frame, __u32 length)
{
	__u32 size = frame->length;

	if (size > FRAME_BYTES)
		size = FRAME_BYTES;
	to->length = length;
	to->captured = bpf_probe_read_kernel(to->bytes, size, frame->data) ? 0 : size;
}

INLINE struct linear linear(const struct sk_buff *skb)
{
	return (struct linear){ .data = skb->data, .length = skb->len - skb->data_len };
}

INLINE __u64 packets(__u32 reason)
{
	struct counter *counter = bpf_map_lookup_elem(&counters, &reason);

	return counter ? counter->packets : 0;
}

INLINE int begins(struct sk_buff *skb, __u32 hook)
{
	struct linear frame = linear(skb);
	struct follow_memory *memory;
	struct followed *what;
	__u32 index = 0;
	__u64 now;

	what = bpf_map_lookup_elem(&followed, &index);
	memory = bpf_map_lookup_elem(&follow_memory, &index);
	if (!what || !memory)
		return 0;
	memory->hook = 0;
	if (!is_followed(&frame, what))
		return 0;
	now = bpf_ktime_get_boot_ns();
	if (!take(&what->due, now, FOLLOWED_INTERVAL, FOLLOWED_BURST)) {
		__sync_fetch_and_add(&what->lost, 1);
		return 0;
	}
	memory->hook = hook;
	memory->event.time = now;
	memory->event.hook = hook;
	memory->event.ifindex = skb->dev->ifindex;
	capture(&memory->event.before, &frame, skb->len);
	for (__u32 i = 0; i < REASON_COUNT; i++)
		memory->counted[i] = packets(i);
	return 0;
}

INLINE int returns(struct sk_buff *skb, __u32 hook, int action)
{
	struct linear frame = linear(skb);
	struct follow_memory *memory;
	__u32 first = 0, second = 0;
	struct followed *what;
	__u32 index = 0;

	what = bpf_map_lookup_elem(&followed, &index);
	memory = bpf_map_lookup_elem(&follow_memory, &index);
	if (!what || !memory || memory->hook != hook)
		return 0;
	memory->hook = 0;
	for (__u32 i = 0; i < REASON_COUNT; i++) {
		if (packets(i) == memory->counted[i])
			continue;
		second = first ? i + 1 : 0;
		first = first ? first : i + 1;
	}
	memory->event.action = action;
	memory->event.counted[0] = first;
	memory->event.counted[1] = second;
	capture(&memory->event.after, &frame, skb->len);
	if (bpf_ringbuf_output(&followed_ring, &memory->event, sizeof(memory->event), 0))
		__sync_fetch_and_add(&what->lost, 1);
	return 0;
}

/* What such a program gets: the arguments of the other one, and what that returned. */
#define FOLLOW(name, hook)                                                               \
	SEC("fentry/" #name) int name##_begins(__u64 *arguments)                         \
	{                                                                                \
		return begins((struct sk_buff *)arguments[0], hook);                     \
	}                                                                                \
	SEC("fexit/" #name) int name##_returns(__u64 *arguments)                         \
	{                                                                                \
		return returns((struct sk_buff *)arguments[0], hook, (int)arguments[1]); \
	}

FOLLOW(from_endpoint, HOOK_FROM_ENDPOINT)
FOLLOW(from_overlay, HOOK_FROM_OVERLAY)
FOLLOW(from_uplink, HOOK_FROM_UPLINK)
FOLLOW(to_uplink, HOOK_TO_UPLINK)
