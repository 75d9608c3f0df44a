/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage: connection tracking. Which connection a packet belongs to, and what its addresses and ports become.
 *
 * Here only the context changes; the packet itself is rewritten when it leaves (rewrite.h), so that an ICMP error about
 * it quotes what its sender sent.
 *
 * A connection begins in `new_connections`, and moves to `connections` with the client's first packet after an answer.
 * Both evict their least recently used entries: a flood of packets that nobody answers evicts no connection that is
 * established.
 */
#pragma once
#include "flow.h"
#include "judge.h"
#include "record.h"

/* In 2^30 ns, a bit more than a second. */
INLINE __u32 connection_clock(void)
{
	return bpf_ktime_get_coarse_ns() >> 30;
}

/* Another one every 0.26 to 2.6 seconds, by the kernel's CONFIG_HZ. */
#define TICK_JIFFIES 8

#define TICK_MASK (~0U << CONNECTION_TICK_SHIFT)

INLINE __u32 connection_tick(void)
{
	return (__u32)(bpf_jiffies64() >> TICK_JIFFIES) << CONNECTION_TICK_SHIFT;
}

INLINE struct connection *find_connection(const struct tuple *key)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, key);

	return connection ? connection : bpf_map_lookup_elem(&new_connections, key);
}

/* Makes an entry its connection's other one. `own` is its own key; `client_upper` says where the client is in the other's. */
INLINE void turn_over(struct connection *entry, const struct tuple *own, bool client_upper)
{
	bool upper = entry->state & CONNECTION_CLIENT_UPPER, forward = (entry->state & CONNECTION_KIND) == CONNECTION_FORWARD;

	entry->source = upper ? own->upper : own->lower;
	entry->destination = upper ? own->lower : own->upper;
	entry->source_port = upper ? own->upper_port : own->lower_port;
	entry->destination_port = upper ? own->lower_port : own->upper_port;
	entry->state = (entry->state & ~(CONNECTION_KIND | CONNECTION_CLIENT_UPPER)) |
		       (forward ? CONNECTION_REPLY : CONNECTION_FORWARD) | (client_upper ? CONNECTION_CLIENT_UPPER : 0);
}

/* Gives the context the addresses and ports that a connection's entry says. */
INLINE void translate(struct context *ctx, const struct connection *entry)
{
	if (ctx->part == PART_CLIENT) {
		ctx->saddr = entry->source;
		ctx->daddr = entry->destination;
		ctx->l4.udp.source = entry->source_port;
		ctx->l4.udp.dest = entry->destination_port;
	} else {
		ctx->saddr = entry->destination;
		ctx->daddr = entry->source;
		ctx->l4.udp.source = entry->destination_port;
		ctx->l4.udp.dest = entry->source_port;
	}
	ctx->translated = true;
}

/* Has the packet go where its connection's entry says. */
INLINE void follow(struct context *ctx, const struct connection *entry)
{
	if (ctx->kind != CONNECTION_PLAIN)
		translate(ctx, entry);
	else if (entry->state & CONNECTION_TUNNEL)
		ctx->via = entry->source;
}

/* The packet begins a connection. */
INLINE void begin(struct context *ctx)
{
	ctx->part = PART_NEW;
	ctx->kind = CONNECTION_PLAIN;
	ctx->peer_ifindex = 0;
	ctx->judgement = 0;
}

/* Whether an entry becomes the tuple of a key where the client is `upper` or not: else the key's is of another connection. */
INLINE bool leads_to(const struct connection *entry, const struct tuple *key, bool client_upper)
{
	if (client_upper)
		return same_address(&entry->source, &key->upper) && same_address(&entry->destination, &key->lower) &&
		       entry->source_port == key->upper_port && entry->destination_port == key->lower_port;
	return same_address(&entry->source, &key->lower) && same_address(&entry->destination, &key->upper) &&
	       entry->source_port == key->lower_port && entry->destination_port == key->upper_port;
}

/*
 * Everything about an entry that not every packet changes: what its state is, when it was last seen, in which map it is,
 * and whether its other entry is there, which may have been evicted. `found` is its key. Returns whether the connection
 * goes on; else it is over, and the packet begins another one.
 */
NOINLINE bool attend(struct context *ctx, struct connection *entry, const struct tuple *found, __u32 established)
{
	struct scratch *memory = scratch_memory();
	struct connection *other = NULL, *again;
	bool from_client, upper, pair = false;
	struct tuple key, other_key;
	__u32 state, set = 0;

	if (!ctx || !entry || !found || !memory)
		return false;
	again = &memory->again;
	key = *found;
	state = entry->state;
	from_client = ctx->part == PART_CLIENT;
	if ((state & CONNECTION_KIND) != CONNECTION_PLAIN) {
		pair = true;
		upper = other_tuple(&other_key, entry, &key);
		other = find_connection(&other_key);
		if (other && !leads_to(other, &key, state & CONNECTION_CLIENT_UPPER)) {
			/* Another connection has it by now: this one is over, and has nothing to make again. */
			pair = false;
			other = NULL;
			if (from_client)
				goto anew;
		}
		if (other)
			state |= other->state & (CONNECTION_REPLIED | CONNECTION_FIN_CLIENT | CONNECTION_FIN_SERVER |
						 CONNECTION_RESET | CONNECTION_FAILED);
	}
	if (ctx->tracked == IPPROTO_TCP) {
		if ((ctx->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && is_closed(state))
			goto anew;
		if (ctx->tcp_flags & TCP_RST)
			set |= CONNECTION_RESET;
		if (ctx->tcp_flags & TCP_FIN)
			set |= from_client ? CONNECTION_FIN_CLIENT : CONNECTION_FIN_SERVER;
	} else if (state & CONNECTION_FAILED && from_client) {
		ctx->failed = true;
		goto anew;
	}
	if (!from_client)
		set |= CONNECTION_REPLIED;
	if (set & ~state) {
		__sync_fetch_and_or(&entry->state, set);
		if (other)
			__sync_fetch_and_or(&other->state, set);
		state |= set;
	}
	entry->seen = connection_clock();
	if (other)
		other->seen = entry->seen;
	/* Not written, so that no bit is lost that another CPU sets. */
	__sync_fetch_and_xor(&entry->state, (entry->state ^ connection_tick()) & TICK_MASK);
	*again = *entry;
	again->state = state;
	/* From the copy: what is deleted below may be another connection's entry in the next moment. */
	follow(ctx, again);
	if (!established && from_client && state & CONNECTION_REPLIED) {
		bpf_map_update_elem(&connections, &key, again, BPF_ANY);
		bpf_map_delete_elem(&new_connections, &key);
		established = true;
		other = NULL;
		if (pair)
			bpf_map_delete_elem(&new_connections, &other_key);
	}
	if (!other && pair) {
		turn_over(again, &key, upper);
		if (established)
			bpf_map_update_elem(&connections, &other_key, again, BPF_NOEXIST);
		else
			bpf_map_update_elem(&new_connections, &other_key, again, BPF_NOEXIST);
	}
	return true;
anew:
	bpf_map_delete_elem(&connections, &key);
	bpf_map_delete_elem(&new_connections, &key);
	if (pair) {
		bpf_map_delete_elem(&connections, &other_key);
		bpf_map_delete_elem(&new_connections, &other_key);
	}
	begin(ctx);
	return false;
}

/*
 * Whether policy lets a packet of a connection pass. One that begins another connection in the place of one that is over
 * is judged later.
 */
INLINE bool goes_on(struct context *ctx, struct connection *entry, const struct tuple *key)
{
	if (ctx->generation && entry->judged != ctx->generation &&
	    !((ctx->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && is_closed(entry->state)) &&
	    !judge_again(ctx, entry, key))
		return false;
	ctx->judgement |= JUDGED;
	return true;
}

/* Whether an entry is of the Pod that sent the packet, and not of one that had its address before. */
INLINE bool is_of_sender(const struct context *ctx, __u32 ifindex)
{
	return ctx->from_node || ifindex == ctx->source_ifindex;
}

/*
 * Finds the connection straight to a backend whose tuple is that of a connection through a Service, or was when it began.
 * `taken`: it is now, so that a new one gets another port.
 */
NOINLINE int track_direct(struct context *ctx, bool taken)
{
	struct connection *entry;
	struct tuple key;
	bool upper;

	if (!ctx)
		return 0;
	upper = tuple_of_packet(&key, ctx, VARIANT_DIRECT);
	entry = find_connection(&key);
	if (entry && upper == !!(entry->state & CONNECTION_CLIENT_UPPER) && is_of_sender(ctx, entry->client_ifindex)) {
		ctx->part = PART_CLIENT;
		ctx->kind = CONNECTION_FORWARD;
		ctx->peer_ifindex = entry->server_ifindex;
		ctx->variant = VARIANT_DIRECT;
		if (!goes_on(ctx, entry, &key))
			return 0;
		if (is_recording())
			note_packet(ctx, entry, &key);
		if (attend(ctx, entry, &key, bpf_map_lookup_elem(&connections, &key) != NULL))
			return 0;
	}
	begin(ctx);
	ctx->variant = taken ? VARIANT_DIRECT : 0;
	ctx->source_from = taken ? SOURCE_PORT : SOURCE_CLIENT;
	return 0;
}

/*
 * Deletes the entry of a connection that was with a Pod that had the sender's address before. Not for the outside, where
 * anybody can use any address.
 */
NOINLINE int forget(struct context *ctx)
{
	struct tuple key;

	if (!ctx)
		return 0;
	begin(ctx);
	if (ctx->from_outside)
		return 0;
	tuple_of_packet(&key, ctx, 0);
	bpf_map_delete_elem(&connections, &key);
	bpf_map_delete_elem(&new_connections, &key);
	return 0;
}

/* Finds the connection of a packet, whose `tracked` is set. */
INLINE void track(struct context *ctx)
{
	bool established = true, answered, upper;
	struct connection *entry;
	struct tuple key;
	__u32 state;

	upper = tuple_of_packet(&key, ctx, 0);
	entry = bpf_map_lookup_elem(&connections, &key);
	if (!entry) {
		established = false;
		entry = bpf_map_lookup_elem(&new_connections, &key);
		if (!entry) {
			if (has_flows(FLOW_DIRECT))
				track_direct(ctx, false);
			return;
		}
	}
	state = entry->state;
	ctx->kind = state & CONNECTION_KIND;
	if (upper == !!(state & CONNECTION_CLIENT_UPPER)) {
		if (ctx->kind == CONNECTION_REPLY) {
			/* That one is over: the client uses its port again. */
			if (is_closed(state) && (ctx->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
				forget(ctx);
			else
				track_direct(ctx, true);
			return;
		}
		ctx->part = PART_CLIENT;
		ctx->peer_ifindex = entry->server_ifindex;
		if (!is_of_sender(ctx, entry->client_ifindex)) {
			forget(ctx);
			return;
		}
	} else {
		ctx->part = PART_SERVER;
		ctx->peer_ifindex = entry->client_ifindex;
		if (!is_of_sender(ctx, entry->server_ifindex)) {
			forget(ctx);
			return;
		}
		if (ctx->kind == CONNECTION_FORWARD) /* nobody has a frontend's address */
			ctx->kind = CONNECTION_PLAIN;
	}
	if (!goes_on(ctx, entry, &key))
		return;
	if (is_recording())
		note_packet(ctx, entry, &key);
	/* An answer, or the client's first packet after one. */
	answered = ctx->part == PART_CLIENT ? !established && state & CONNECTION_REPLIED : !(state & CONNECTION_REPLIED);
	if (answered || (state ^ connection_tick()) & TICK_MASK || ctx->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST) ||
	    state & CONNECTION_FAILED || is_closed(state))
		attend(ctx, entry, &key, established);
	else
		follow(ctx, entry);
}

/*
 * A datagram of this node that belongs to no connection as it is: a process that listens at all addresses answers with the
 * one that the route to the client prefers (udp(7)), which is that in the Pod network. If the client asked the node's
 * other address, the answer gets it.
 */
NOINLINE int track_node_answer(const struct config *cfg, struct context *ctx)
{
	const struct address *node;
	struct connection *entry;
	struct tuple key;
	bool upper;

	if (!cfg || !ctx)
		return 0;
	node = ctx->version == 4 ? &cfg->node_address4 : &cfg->node_address6;
	upper = tuple_of(&key, node, &ctx->daddr, source_port_of(ctx), destination_port_of(ctx), ctx->tracked, 0);
	entry = find_connection(&key);
	if (!entry || upper == !!(entry->state & CONNECTION_CLIENT_UPPER))
		return 0;
	ctx->saddr = *node;
	ctx->translated = true;
	ctx->part = PART_SERVER;
	ctx->kind = entry->state & CONNECTION_KIND;
	ctx->peer_ifindex = entry->client_ifindex;
	if (!goes_on(ctx, entry, &key))
		return 0;
	if (is_recording())
		note_packet(ctx, entry, &key);
	attend(ctx, entry, &key, bpf_map_lookup_elem(&connections, &key) != NULL);
	return 0;
}

/* Whether two entries are of one connection: both become the same. */
INLINE bool is_same_pair(const struct connection *a, const struct connection *b)
{
	return (a->state & CONNECTION_KIND) == (b->state & CONNECTION_KIND) && a->source_port == b->source_port &&
	       a->destination_port == b->destination_port && same_address(&a->source, &b->source) &&
	       same_address(&a->destination, &b->destination);
}

/* How many ports a translated source is tried with. */
#define PORT_TRIES 32

/*
 * Finds a tuple between the context's source and destination that no other connection has, and writes the entry `reply`
 * under it. Returns whether there is one; the context has its source port then.
 */
INLINE bool reserve_reply(struct context *ctx, const struct config *cfg, struct connection *reply)
{
	__u32 first, count, offset;
	struct tuple key;
	bool any, chosen;

	first = cfg->first_port;
	count = cfg->last_port - first + 1;
	any = ctx->source_from == SOURCE_NODE || ctx->source_from == SOURCE_PORT;
	offset = bpf_get_prandom_u32();
#pragma clang loop unroll(disable)
	for (int i = 0; i < PORT_TRIES; i++) {
		struct connection *taken;
		bool upper;

		if (any && !count)
			break;
		chosen = any;
		if (any)
			ctx->l4.udp.source = htons((__u16)(first + (offset + i * 7) % count));
		any = true;
		upper = tuple_of_packet(&key, ctx, 0);
		taken = find_connection(&key);
		if (taken) {
			/*
			 * Unless it is this connection's own, whose other entry was evicted, or that of one that is over: of
			 * these rather none, since its server may still wait for what is left of it (TIME-WAIT).
			 */
			if (!is_same_pair(taken, reply) && (!is_closed(taken->state) || (chosen && i < PORT_TRIES / 2)))
				continue;
			bpf_map_delete_elem(&connections, &key);
		}
		reply->state = (reply->state & ~CONNECTION_CLIENT_UPPER) | (upper ? CONNECTION_CLIENT_UPPER : 0);
		bpf_map_update_elem(&new_connections, &key, reply, BPF_ANY);
		return true;
	}
	return false;
}

/* Deletes the connection of a packet that has not been rewritten. */
NOINLINE int forget_packet(struct __sk_buff *skb, struct context *ctx)
{
	struct connection original = {}, *entry;
	struct tuple key, other;

	if (!ctx || !read_original(skb, ctx, &original))
		return 0;
	tuple_of(&key, &original.source, &original.destination, original.source_port, original.destination_port,
		 ctx->tracked, ctx->variant);
	entry = find_connection(&key);
	if (!entry)
		return 0;
	if ((entry->state & CONNECTION_KIND) != CONNECTION_PLAIN) {
		other_tuple(&other, entry, &key);
		bpf_map_delete_elem(&connections, &other);
		bpf_map_delete_elem(&new_connections, &other);
	}
	bpf_map_delete_elem(&connections, &key);
	bpf_map_delete_elem(&new_connections, &key);
	return 0;
}

/* The client's packets come through another node's tunnel by now: its answers go there. */
NOINLINE int change_tunnel(struct context *ctx, const struct address *end)
{
	struct connection *entry;
	struct tuple key;

	if (!ctx || !end)
		return 0;
	tuple_of_packet(&key, ctx, 0);
	entry = find_connection(&key);
	if (entry && (entry->state & CONNECTION_KIND) == CONNECTION_PLAIN) {
		entry->source = *end;
		entry->state |= CONNECTION_TUNNEL;
	}
	return 0;
}

/*
 * The connection of a packet that this node's stack sends out of an uplink: one whose client is outside, and whose backend
 * is a process here. Any other the uplinks do not track.
 */
INLINE void track_host_backend(struct context *ctx)
{
	struct connection *entry;
	struct tuple key;
	bool upper;

	upper = tuple_of_packet(&key, ctx, 0);
	entry = find_connection(&key);
	if (!entry || (entry->state & CONNECTION_KIND) != CONNECTION_REPLY || !(entry->state & CONNECTION_HOST) ||
	    upper == !!(entry->state & CONNECTION_CLIENT_UPPER))
		return;
	ctx->part = PART_SERVER;
	ctx->kind = CONNECTION_REPLY;
	if (is_recording())
		note_packet(ctx, entry, &key);
	attend(ctx, entry, &key, bpf_map_lookup_elem(&connections, &key) != NULL);
}

/*
 * Makes the entries of a new connection, whose packet is about to leave. Returns whether it may.
 */
NOINLINE bool commit(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct connection entry = {};
	struct tuple key;
	__u32 host, audited;
	bool upper;

	if (!cfg || !ctx)
		return false;
	entry.seen = connection_clock();
	entry.client_ifindex = ctx->source_ifindex;
	entry.server_ifindex = ctx->peer_ifindex;
	entry.judged = ctx->generation;
	audited = audited_state(ctx);
	if (!ctx->translated && ctx->source_from == SOURCE_CLIENT) {
		upper = tuple_of_packet(&key, ctx, 0);
		if (!is_unspecified6(&ctx->via)) {
			entry.state = CONNECTION_TUNNEL;
			entry.source = ctx->via;
		}
		entry.state |= audited;
		entry.state |= upper ? CONNECTION_CLIENT_UPPER : 0;
		bpf_map_update_elem(&new_connections, &key, &entry, BPF_ANY);
		return true;
	}
	ctx->translated = true;
	if (!read_original(skb, ctx, &entry))
		return false;
	if (ctx->variant)
		note_flow(FLOW_DIRECT);
	host = audited | (ctx->host_backend ? CONNECTION_HOST : 0);
	entry.service = ctx->service;
	entry.state = CONNECTION_REPLY | host;
	/* An entry of a translated connection holds no tunnel. */
	if (!is_unspecified6(&ctx->via) || !reserve_reply(ctx, cfg, &entry)) {
		ctx->reason = REASON_no_port;
		return false;
	}
	upper = tuple_of(&key, &entry.source, &entry.destination, entry.source_port, entry.destination_port, ctx->tracked,
			 ctx->variant);
	entry.source = ctx->saddr;
	entry.destination = ctx->daddr;
	entry.source_port = ctx->l4.udp.source;
	entry.destination_port = ctx->l4.udp.dest;
	entry.state = CONNECTION_FORWARD | host | (upper ? CONNECTION_CLIENT_UPPER : 0);
	bpf_map_update_elem(&new_connections, &key, &entry, BPF_ANY);
	return true;
}
