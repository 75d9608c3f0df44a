/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is too large for the stack, which all functions that call each other share. */
#pragma once
#include "context.h"

/* What an ICMP error quotes at least: an IP header, and the first 8 bytes behind it. */
struct quote4 {
	struct iphdr ip;
	struct udphdr l4;
};

struct quote6 {
	struct ipv6hdr ip;
	struct udphdr l4;
};

_Static_assert(sizeof(struct quote4) == 28 && sizeof(struct quote6) == 48, "as on the wire");

/* The largest quote; its size is a multiple of 4. */
union quote {
	struct quote4 v4;
	struct quote6 v6;
};

struct scratch {
	struct context quoted;
	union quote before;
	union quote now;
	struct connection again;
	struct drop_key drop;
	struct drop_counter dropped;
	struct record_event event;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct scratch);
} scratch SEC(".maps");

/* The only one of this CPU, until the function that asks for it returns. */
INLINE struct scratch *scratch_memory(void)
{
	__u32 index = 0;

	return bpf_map_lookup_elem(&scratch, &index);
}
