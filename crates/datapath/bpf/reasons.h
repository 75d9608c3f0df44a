/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting: a packet's fate is decided and counted in one place. */
#pragma once
#include "layout.h"

enum reason {
#define REASON(name, fate, help) REASON_##name,
#include "reasons.def"
#undef REASON
	REASON_COUNT,
};

_Static_assert(REASON_COUNT <= REASONS_MAX, "raise REASONS_MAX in layout.h");

INLINE void count(__u32 reason, __u32 bytes)
{
	struct counter *counter = bpf_map_lookup_elem(&counters, &reason);

	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	}
}

INLINE int drop(struct __sk_buff *skb, __u32 reason)
{
	count(reason, skb->len);
	return TC_ACT_SHOT;
}
