/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The end of packets that are dropped, and what people get to know of them: a row of `drops` for each reason, sender,
 * destination and port. What policy does not let pass has its row from policy.h, which knows the rule.
 *
 * What a sender may have made up makes no rows: neither a source that is not checked yet, or wrong, nor more
 * destinations than it may have rows for. What else it sends has one row for each reason.
 */
#pragma once
#include "address.h"
#include "bucket.h"
#include "frame.h"
#include "scratch.h"

_Static_assert(REASONS_MAX <= 256, "a key has one byte for the reason");

/* How many rows an interface may add at once. The loader sets it, by the table's size. */
const volatile __u32 drop_rows = 1;
/* And one more in that time. */
#define DROP_ROW_INTERVAL (SECOND / 4)

#define DROP_BUDGETS 1024

/*
 * How many rows each interface may still add to `drops` (bucket.h), by its index: two that share an entry share that.
 * Of this load of the programs alone.
 */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, DROP_BUDGETS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u64);
} drop_budgets SEC(".maps");

INLINE bool may_add_row(__u32 ifindex, __u64 now)
{
	__u32 index = ifindex % DROP_BUDGETS;
	__u64 *due = bpf_map_lookup_elem(&drop_budgets, &index);

	return due && take(due, now, DROP_ROW_INTERVAL, drop_rows);
}

/* Of `source` and `destination`, those stay that are an end of this node's own. */
INLINE void of_others(struct drop_key *key, bool source, bool destination)
{
	if (!source)
		key->source = (struct address){};
	if (!destination)
		key->destination = (struct address){};
	key->port = 0;
	key->protocol = 0;
	key->flags |= DROP_OTHERS;
}

/*
 * Counts a packet under `memory->drop`: one look-up, and one insertion if it is the first there. `memory->dropped` has what
 * is kept of the last one. `ifindex`: whose rows these are; `source` and `destination` as above.
 */
INLINE void note_drop(struct scratch *memory, __u32 bytes, __u32 ifindex, bool source, bool destination)
{
	struct drop_counter *found = bpf_map_lookup_elem(&drops, &memory->drop), *last = &memory->dropped;
	__u64 now = bpf_ktime_get_boot_ns();

	if (!found && !may_add_row(ifindex, now)) {
		of_others(&memory->drop, source, destination);
		found = bpf_map_lookup_elem(&drops, &memory->drop);
	}
	if (!found) {
		last->packets = 1;
		last->bytes = bytes;
		last->first = last->last = now;
		if (!bpf_map_update_elem(&drops, &memory->drop, last, BPF_NOEXIST))
			return;
		/* Another CPU was faster. */
		found = bpf_map_lookup_elem(&drops, &memory->drop);
		if (!found)
			return;
	}
	__sync_fetch_and_add(&found->packets, 1);
	__sync_fetch_and_add(&found->bytes, bytes);
	found->last = now;
	found->claimed = last->claimed;
	found->source_port = last->source_port;
	copy_mac(found->mac, last->mac);
}

/* The source that the frame itself has. Returns whether it can be read. */
INLINE bool read_source(struct __sk_buff *skb, const struct context *ctx, struct address *source)
{
	if (ctx->version == 6)
		return !bpf_skb_load_bytes(skb, ETH_HLEN + 8, source, sizeof(*source));
	mapped(source, 0);
	return !bpf_skb_load_bytes(skb, ETH_HLEN + 12, &source->word[3], sizeof(source->word[3]));
}

/* What a context knows of a packet, but for its source. */
INLINE void describe_context(struct scratch *memory, const struct context *ctx)
{
	struct drop_key *key = &memory->drop;
	bool ports = ctx->tracked ? has_ports(ctx->tracked) :
				    ctx->has_l4 && ctx->protocol >= 0 && has_ports(ctx->protocol);

	key->destination = ctx->daddr;
	key->rule = 0;
	/* An answer's port is the client's, of which there are thousands. */
	key->port = ports && ctx->part != PART_SERVER ? ctx->l4.udp.dest : 0;
	key->protocol = transport_of(ctx);
	memory->dropped.source_port = ports ? ctx->l4.udp.source : 0;
	memory->dropped.claimed = (struct address){};
	__builtin_memset(memory->dropped.mac, 0, ETH_ALEN);
}

/*
 * Begins the row of a packet whose source is checked, before it becomes another one: note_described makes it. What came
 * from no endpoint of this node was about to come to one.
 */
NOINLINE int describe(struct __sk_buff *skb, const struct context *ctx)
{
	struct scratch *memory = scratch_memory();

	if (!ctx || !memory)
		return 0;
	describe_context(memory, ctx);
	memory->drop.ifindex = ctx->source_ifindex ? ctx->source_ifindex : skb->ifindex;
	memory->drop.flags = ctx->source_ifindex || ctx->from_node ? 0 : DROP_INGRESS;
	memory->drop.source = ctx->saddr;
	if (ctx->translated) {
		read_source(skb, ctx, &memory->drop.source);
		if (memory->dropped.source_port && ctx->has_l4)
			bpf_skb_load_bytes(skb, ctx->l4_offset, &memory->dropped.source_port, sizeof(__u16));
	}
	return 0;
}

/* Makes the row of what was described, if the context's reason is one of drops. */
NOINLINE int note_described(const struct context *ctx)
{
	struct scratch *memory = scratch_memory();

	if (!ctx || !memory || !is_drop(ctx->reason))
		return 0;
	memory->drop.reason = ctx->reason;
	note_drop(memory, ctx->len, memory->drop.ifindex, ctx->source_ifindex, false);
	return 0;
}

/* The end of a packet whose source is checked. */
NOINLINE int drop(struct __sk_buff *skb, struct context *ctx, __u32 reason)
{
	if (!ctx)
		return TC_ACT_SHOT;
	ctx->reason = reason;
	describe(skb, ctx);
	note_described(ctx);
	return leave(ctx, TC_ACT_SHOT);
}

/* The same of one that has the addresses of its context by now. */
INLINE int drop_rewritten(struct __sk_buff *skb, struct context *ctx, __u32 reason)
{
	ctx->translated = false;
	return drop(skb, ctx, reason);
}

/* An address of a port, of that family if it has one; zero: nothing is bound there. */
INLINE void address_of_port(struct address *address, __u32 ifindex, bool ipv6)
{
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);

	*address = (struct address){};
	if (!port || !port->count)
		return;
	*address = port->addresses[0];
#pragma clang loop unroll(full)
	for (int i = PORT_ADDRESSES - 1; i >= 0; i--) {
		if ((__u32)i < port->count && is_mapped(&port->addresses[i]) != ipv6)
			*address = port->addresses[i];
	}
}

/* The end of a packet from a port whose source is not checked, or wrong: it is that port's. */
NOINLINE int drop_of_port(struct __sk_buff *skb, struct context *ctx, __u32 reason)
{
	struct scratch *memory = scratch_memory();

	if (!ctx)
		return TC_ACT_SHOT;
	ctx->reason = reason;
	if (memory && is_drop(reason)) {
		describe_context(memory, ctx);
		memory->drop.ifindex = skb->ifindex;
		memory->drop.flags = 0;
		memory->drop.reason = reason;
		address_of_port(&memory->drop.source, skb->ifindex, ctx->version == 6);
		memory->dropped.claimed = ctx->saddr;
		bpf_skb_load_bytes(skb, ETH_ALEN, memory->dropped.mac, ETH_ALEN);
		note_drop(memory, ctx->len, skb->ifindex, true, false);
	}
	return leave(ctx, TC_ACT_SHOT);
}
