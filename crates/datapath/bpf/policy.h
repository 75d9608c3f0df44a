/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What policy says to a packet: address -> class; set, direction and class -> list; list, protocol and port -> verdict.
 */
#pragma once
#include "address.h"
#include "context.h"
#include "drops.h"

/* What is asked for one end of a packet. */
struct question {
	struct address own; /* this end */
	struct address peer; /* the other one */
	__u32 set;
	__u32 direction;
	__u16 port; /* to which it is sent; network order */
	__u16 source_port; /* of the client; 0: it has none */
	__u8 protocol; /* if it has ports, else 0 */
	__u8 transport; /* the protocol, whether it has ports or not; 0: it is not known */
	bool port_unknown; /* it may have some, but which is not known */
	bool hairpin; /* a Pod asks itself, through a Service */
	bool first; /* its connection has not been judged, or it has none */
	bool audited; /* the connection was let pass on trial before */
	__u8 pad[2];
};

_Static_assert(sizeof(struct question) == 52, "no padding");

INLINE __u32 class_of(const struct address *address, __u32 column)
{
	struct route_key key = { .prefix_length = 128, .address = *address };
	struct class *class = bpf_map_lookup_elem(&classes, &key.address);

	if (class && class->column[column] != CLASS_NONE)
		return class->column[column];
	class = bpf_map_lookup_elem(&block_classes, &key);
	return class ? class->column[column] : CLASS_OTHER;
}

INLINE const struct set_entry *set_entry(const struct question *question, __u32 class)
{
	struct set_key key = { .set = question->set, .class = class, .direction = question->direction };
	struct set_entry *entry = bpf_map_lookup_elem(&policy_sets, &key);

	if (entry)
		return entry;
	key.class = CLASS_NONE;
	return bpf_map_lookup_elem(&policy_sets, &key);
}

INLINE const struct verdict *verdict_of_port(const struct question *question, __u32 list)
{
	struct ports_key key = {
		.prefix_length = 64,
		.list = list,
		.protocol = question->protocol,
		.port = question->port,
	};

	return bpf_map_lookup_elem(&policy_ports, &key);
}

/* Looks the verdict up. Returns 0, or, if there is none, the reason for which nothing passes. */
INLINE __u32 find_verdict(const struct question *question, __u32 column, struct verdict *verdict)
{
	const struct set_entry *entry;
	const struct verdict *of_port;

	if (question->set == SET_CLOSED)
		return REASON_policy_unknown;
	entry = set_entry(question, class_of(&question->peer, column));
	if (!entry)
		return REASON_policy_unknown;
	*verdict = entry->others;
	if (!entry->list)
		return 0;
	if (question->port_unknown)
		return REASON_policy_no_port;
	of_port = question->protocol ? verdict_of_port(question, entry->list) : NULL;
	if (of_port)
		*verdict = *of_port;
	return 0;
}

INLINE struct rule_counter *counter_of(__u32 rule)
{
	return rule ? bpf_map_lookup_elem(&policy_counts, &rule) : NULL;
}

/* Whether such a verdict counts for what a Pod asks itself through a Service: a NetworkPolicy's does not. */
INLINE bool counts_for_hairpin(const struct verdict *verdict)
{
	__u32 origin = verdict->flags & VERDICT_ORIGIN;

	return origin == ORIGIN_ADMIN || origin == ORIGIN_BASELINE;
}

/* Notes what policy does not let pass, or, with `audit`, would not. */
INLINE void note_denied(const struct context *ctx, const struct question *question, __u32 reason, __u32 rule, bool audit)
{
	struct scratch *memory = scratch_memory();
	struct drop_key *key;

	if (!memory)
		return;
	/* Member by member: the stack has no space for a copy. */
	key = &memory->drop;
	if (question->direction == INGRESS) {
		key->source = question->peer;
		key->destination = question->own;
		key->flags = DROP_INGRESS;
	} else {
		key->source = question->own;
		key->destination = question->peer;
		key->flags = 0;
	}
	if (audit)
		key->flags |= DROP_AUDIT;
	key->rule = rule;
	key->port = question->protocol ? question->port : 0;
	key->protocol = question->transport;
	key->reason = reason;
	key->ifindex = 0;
	memory->dropped.source_port = question->source_port;
	memory->dropped.claimed = (struct address){};
	__builtin_memset(memory->dropped.mac, 0, ETH_ALEN);
	note_drop(memory, ctx->len, ctx->source_ifindex, question->direction == EGRESS, question->direction == INGRESS);
}

/* Whether one end lets the packet pass, which is counted; if not, the context has why. */
NOINLINE bool ask(struct context *ctx, const struct question *question)
{
	struct verdict verdict = {};
	struct rule_counter *counter;
	__u32 reason, denied;
	bool passes;

	if (!ctx || !question)
		return false;
	denied = question->direction == INGRESS ? REASON_policy_ingress : REASON_policy_egress;
	reason = find_verdict(question, ctx->generation & 1, &verdict);
	if (!reason && question->hairpin && !counts_for_hairpin(&verdict))
		return true;
	if (!reason && verdict.flags & VERDICT_DENY)
		reason = denied;
	counter = counter_of(verdict.rule);
	passes = !reason;
	if (passes && is_recording()) {
		if (question->direction == INGRESS)
			ctx->rules[INGRESS] = verdict.rule;
		else
			ctx->rules[EGRESS] = verdict.rule;
	}
	if (!passes) {
		if (counter)
			counter->denied++;
		ctx->reason = reason;
		ctx->rule = verdict.rule;
		ctx->judgement |= verdict.flags & VERDICT_REJECT ? FORBIDDEN | REJECTED : FORBIDDEN;
	} else if (verdict.flags & VERDICT_AUDIT) {
		ctx->judgement |= question->direction == INGRESS ? AUDITED_INGRESS : AUDITED_EGRESS;
		if (!question->first && question->audited)
			return true;
		if (counter)
			counter->audited++;
		reason = denied;
	} else if (counter && question->first) {
		counter->allowed++;
	}
	if (reason)
		note_denied(ctx, question, reason, verdict.rule, passes);
	return passes;
}
