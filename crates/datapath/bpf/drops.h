/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What was dropped, and why, for people: one row for each source, destination, port and rule. */
#pragma once
#include "scratch.h"

_Static_assert(REASONS_MAX <= 256, "a key has one byte for the reason");

/*
 * Counts a packet under `memory->drop`: one look-up, and one insertion if it is the first there. `source_port` is in
 * network order.
 */
INLINE void note_drop(struct scratch *memory, __u32 bytes, __u16 source_port)
{
	struct drop_counter *found = bpf_map_lookup_elem(&drops, &memory->drop);
	__u64 now = bpf_ktime_get_boot_ns();

	if (!found) {
		memory->dropped.packets = 1;
		memory->dropped.bytes = bytes;
		memory->dropped.first = memory->dropped.last = now;
		memory->dropped.source_port = source_port;
		if (!bpf_map_update_elem(&drops, &memory->drop, &memory->dropped, BPF_NOEXIST))
			return;
		/* Another CPU was faster. */
		found = bpf_map_lookup_elem(&drops, &memory->drop);
		if (!found)
			return;
	}
	__sync_fetch_and_add(&found->packets, 1);
	__sync_fetch_and_add(&found->bytes, bytes);
	found->last = now;
	found->source_port = source_port;
}
