/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records of connections, for people: who talks to whom, how much, and what policy let it pass. And the agent is told of
 * them: when one begins, when it ends, and now and then in between.
 *
 * Nothing of this decides about packets. While `record_events` is zero, the kernel's verifier removes what asks for it.
 */
#pragma once
#include "judge.h"
#include "scratch.h"
#include "tuple.h"

/* The least time between two events of a connection that goes on. */
#define RECORD_INTERVAL (10 * 1000000000ULL)

/* Whether one more event may be sent in this second. CPUs that begin a second at the same moment may count one for the last. */
INLINE bool within_budget(struct record_budget *budget, __u64 now)
{
	__u64 second = now / 1000000000ULL, window = budget->window;

	if (window >> 32 != second)
		__sync_val_compare_and_swap(&budget->window, window, second << 32);
	return (__u32)__sync_fetch_and_add(&budget->window, 1) < record_events;
}

/* Tells the agent of a connection, or counts that it is not told. */
INLINE void tell(struct record_event *event, __u32 what, __u64 now)
{
	struct record_budget *budget;
	__u32 index = 0;

	budget = bpf_map_lookup_elem(&record_budget, &index);
	if (!budget)
		return;
	__sync_fetch_and_add(&budget->made, 1);
	if (!within_budget(budget, now)) {
		__sync_fetch_and_add(&budget->over, 1);
		return;
	}
	event->what = what;
	event->pad = 0;
	if (bpf_ringbuf_output(&record_ring, event, sizeof(*event), 0))
		__sync_fetch_and_add(&budget->full, 1);
}

INLINE __u32 audited_state(const struct context *ctx)
{
	return (ctx->judgement & AUDITED_EGRESS ? CONNECTION_AUDITED_EGRESS : 0) |
	       (ctx->judgement & AUDITED_INGRESS ? CONNECTION_AUDITED_INGRESS : 0);
}

/* Begins the record of a new connection with its first packet, whose context has what it will have when it leaves. */
NOINLINE int begin_record(struct __sk_buff *skb, struct context *ctx)
{
	struct scratch *memory = scratch_memory();
	struct connection *original;
	struct record *record;
	struct tuple key;
	bool upper;

	if (!ctx || !memory)
		return 0;
	record = &memory->event.record;
	original = &memory->again;
	if (!read_original(skb, ctx, original))
		return 0;
	upper = tuple_of_packet(&key, ctx, 0);
	record->client = original->source;
	record->frontend = original->destination;
	record->client_port = original->source_port;
	record->frontend_port = original->destination_port;
	record->service = ctx->service;
	record->client_ifindex = ctx->source_ifindex;
	record->server_ifindex = ctx->peer_ifindex;
	record->rules[INGRESS] = ctx->rules[INGRESS];
	record->rules[EGRESS] = ctx->rules[EGRESS];
	record->state = audited_state(ctx) | (upper ? CONNECTION_CLIENT_UPPER : 0);
	record->round_trip = 0;
	record->began = record->last = record->told = bpf_ktime_get_ns();
	record->sent[0].packets = 1;
	record->sent[0].bytes = ctx->len;
	record->sent[1] = (struct counter){};
	bpf_map_update_elem(&records, &key, record, BPF_ANY);
	memory->event.key = key;
	tell(&memory->event, RECORD_NEW, record->began);
	return 0;
}

/*
 * Begins the record of a connection that goes on: the switch was off when it began, or its record was evicted. `key` is
 * the record's.
 */
INLINE struct record *begin_late(const struct connection *entry, const struct tuple *own, const struct tuple *key, bool upper)
{
	bool client_upper = entry->state & CONNECTION_CLIENT_UPPER;
	struct scratch *memory = scratch_memory();
	struct record *record;

	if (!memory)
		return NULL;
	record = &memory->event.record;
	if ((entry->state & CONNECTION_KIND) == CONNECTION_REPLY) {
		record->client = entry->source;
		record->client_port = entry->source_port;
		record->frontend = entry->destination;
		record->frontend_port = entry->destination_port;
	} else {
		record->client = client_upper ? own->upper : own->lower;
		record->client_port = client_upper ? own->upper_port : own->lower_port;
		record->frontend = client_upper ? own->lower : own->upper;
		record->frontend_port = client_upper ? own->lower_port : own->upper_port;
	}
	record->service = entry->service;
	record->client_ifindex = entry->client_ifindex;
	record->server_ifindex = entry->server_ifindex;
	record->rules[INGRESS] = record->rules[EGRESS] = 0;
	record->state = RECORD_LATE | (upper ? CONNECTION_CLIENT_UPPER : 0) |
			(entry->state & (CONNECTION_REPLIED | CONNECTION_FIN_CLIENT | CONNECTION_FIN_SERVER | CONNECTION_RESET |
					 CONNECTION_AUDITED_EGRESS | CONNECTION_AUDITED_INGRESS));
	record->round_trip = 0;
	record->began = bpf_ktime_get_ns();
	record->last = record->told = 0;
	record->sent[0] = record->sent[1] = (struct counter){};
	bpf_map_update_elem(&records, key, record, BPF_NOEXIST);
	return bpf_map_lookup_elem(&records, key);
}

/* Microseconds since a connection began; at least one. */
INLINE __u32 since_began(const struct record *record)
{
	__u64 passed = (bpf_ktime_get_ns() - record->began) / 1000;

	return passed >= ~0U ? ~0U : passed ? passed : 1;
}

/*
 * Counts a packet of a connection that goes on, and tells of it what there is to tell. `found` is the key of its entry, which
 * the packet has not changed yet.
 */
NOINLINE int note_packet(struct context *ctx, const struct connection *entry, const struct tuple *found)
{
	bool server, tcp, opens, upper;
	__u32 state, set = 0, what = 0;
	struct scratch *memory;
	struct tuple key;
	struct counter *sent;
	struct record *record;
	__u64 now;

	if (!ctx || !entry || !found)
		return 0;
	server = ctx->part == PART_SERVER;
	tcp = ctx->tracked == IPPROTO_TCP;
	opens = tcp && (ctx->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	state = entry->state;
	/* It begins another connection in the place of this one. */
	if (!server && ((opens && is_closed(state)) || (!tcp && state & CONNECTION_FAILED)))
		return 0;
	upper = state & CONNECTION_CLIENT_UPPER;
	if ((state & CONNECTION_KIND) == CONNECTION_FORWARD)
		upper = other_tuple(&key, entry, found);
	else
		key = *found;
	now = bpf_ktime_get_coarse_ns();
	record = bpf_map_lookup_elem(&records, &key);
	if (!record) {
		record = begin_late(entry, found, &key, upper);
		if (!record)
			return 0;
	}
	sent = server ? &record->sent[1] : &record->sent[0];
	__sync_fetch_and_add(&sent->packets, 1);
	__sync_fetch_and_add(&sent->bytes, ctx->len);
	record->last = now;
	state = record->state;
	if (server)
		set |= CONNECTION_REPLIED;
	if (tcp && ctx->tcp_flags & TCP_RST)
		set |= CONNECTION_RESET;
	if (tcp && ctx->tcp_flags & TCP_FIN)
		set |= server ? CONNECTION_FIN_SERVER : CONNECTION_FIN_CLIENT;
	/* What the client sent last before the answer is what is answered: until then its time stands here. */
	if (!(state & (CONNECTION_REPLIED | RECORD_LATE))) {
		if (opens && !server)
			record->round_trip = since_began(record);
		else if (server && tcp && (ctx->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
			record->round_trip = since_began(record) - record->round_trip;
		else if (server)
			record->round_trip = 0;
	}
	/* Behind the last packet of a connection that both ended is one that only acknowledges. */
	if (set & CONNECTION_RESET || (is_closed(state) && !(set & ~state)))
		set |= RECORD_ENDED;
	if (ctx->judgement & JUDGED_AGAIN) {
		record->rules[INGRESS] = ctx->rules[INGRESS];
		record->rules[EGRESS] = ctx->rules[EGRESS];
		set |= audited_state(ctx);
	}
	if (set & ~state && set & ~__sync_fetch_and_or(&record->state, set) & RECORD_ENDED)
		what = RECORD_END;
	else if (now - record->told >= RECORD_INTERVAL && now > record->told && !(state & RECORD_ENDED))
		what = RECORD_GOES_ON;
	if (!what)
		return 0;
	memory = scratch_memory();
	if (memory) {
		record->told = now;
		memory->event.key = key;
		memory->event.record = *record;
		tell(&memory->event, what, now);
	}
	return 0;
}
