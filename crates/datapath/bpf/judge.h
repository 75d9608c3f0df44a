/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage: policy. Whether a connection may begin, and go on.
 *
 * What a Pod of this node sends is judged by that Pod's set (egress), and what comes to one, by that one's (ingress): with the
 * real client, before its source is translated, and the real server, which a Service chose. Between two Pods of this
 * node both are asked here; else each end's node asks for its own.
 *
 * A connection is judged by its first packet. Its entry then has the generation of policy that let it pass; with
 * another one in force it is judged again, by the same two ends, whichever way the packet goes. An entry without the
 * generation in force is no permission: what does not pass is looked up for every packet, and makes no entry.
 *
 * What has no connection is judged packet by packet. ICMP errors about a connection pass with it.
 *
 * Not judged is what comes to a Pod from its own node, so that probes reach it, and what a Pod sends to itself.
 */
#pragma once
#include "parse.h"
#include "policy.h"

/* Whether a packet still has to be judged. */
INLINE bool is_unjudged(const struct context *ctx)
{
	return ctx->generation && !(ctx->judgement & JUDGED) && !ctx->related;
}

/* The question's protocol and ports, of a packet that begins a connection or has none. */
INLINE void ask_for_packet(struct question *question, const struct context *ctx)
{
	question->first = true;
	if (has_ports(ctx->tracked)) {
		question->protocol = ctx->tracked;
		question->port = ctx->l4.udp.dest;
		question->source_port = ctx->l4.udp.source;
	}
	question->transport = transport_of(ctx);
	question->port_unknown = !ctx->tracked && (ctx->protocol < 0 || has_ports(ctx->protocol));
}

/* The source that the packet itself has. Returns whether it can be read. */
INLINE bool real_client(struct __sk_buff *skb, const struct context *ctx, struct address *client)
{
	if (ctx->source_from != SOURCE_GATEWAY && ctx->source_from != SOURCE_NODE) {
		*client = ctx->saddr;
		return true;
	}
	return read_source(skb, ctx, client);
}

/* Whether the node's stack will translate the destination, for another proxy than this one: it comes back then. */
INLINE bool is_proxied(const struct address *to)
{
	struct route_key key = { .prefix_length = 128, .address = *to };
	struct route *route = bpf_map_lookup_elem(&routes, &key);

	return route && route->kind == ROUTE_PROXIED;
}

/*
 * Whether the Pod that sends the packet may do so; if not, the context has why. What the node's stack forwards with a Pod's
 * source is that Pod's.
 */
NOINLINE bool judge_egress(struct __sk_buff *skb, const struct config *cfg, struct context *ctx)
{
	struct question question = { .direction = EGRESS };
	struct endpoint *own, *to;

	if (!cfg || !ctx || !real_client(skb, ctx, &question.own))
		return false;
	own = bpf_map_lookup_elem(&endpoints, &question.own);
	if (!own || own->role == ROLE_NODE)
		return true;
	if (ctx->from_node)
		ctx->source_ifindex = own->ifindex;
	question.set = own->sets[ctx->generation & 1];
	if (question.set == SET_OPEN)
		return true;
	question.peer = ctx->daddr;
	if (!cfg->services && is_proxied(&question.peer))
		return true;
	to = bpf_map_lookup_elem(&endpoints, &question.peer);
	if (to && to->ifindex == own->ifindex) {
		if (!ctx->translated)
			return true;
		question.hairpin = true;
	}
	ask_for_packet(&question, ctx);
	return ask(ctx, &question);
}

/* Whether the packet may come to the Pod `to`; if not, the context has why. */
NOINLINE bool judge_ingress(struct __sk_buff *skb, struct context *ctx, const struct endpoint *to)
{
	struct question question = { .direction = INGRESS };

	if (!ctx || !to || !real_client(skb, ctx, &question.peer))
		return false;
	question.own = ctx->daddr;
	question.set = to->sets[ctx->generation & 1];
	if (question.set == SET_OPEN || (ctx->from_node && is_this_node(&question.peer)))
		return true;
	if (to->ifindex == ctx->source_ifindex) {
		if (!ctx->translated)
			return true;
		question.hairpin = true;
	}
	ask_for_packet(&question, ctx);
	return ask(ctx, &question);
}

/* Whether a packet may come to the Pod `to`, where it is about to be sent. */
INLINE bool may_enter(struct __sk_buff *skb, struct context *ctx, const struct endpoint *to)
{
	return !is_unjudged(ctx) || judge_ingress(skb, ctx, to);
}

/* Gives the address the value that is a connection's client, or its server; the port likewise. */
INLINE __u16 end_of(struct address *address, const struct connection *entry, const struct tuple *key, bool client)
{
	__u32 kind = entry->state & CONNECTION_KIND;
	bool upper = client == !!(entry->state & CONNECTION_CLIENT_UPPER);

	if (client ? kind == CONNECTION_REPLY : kind == CONNECTION_FORWARD) {
		*address = client ? entry->source : entry->destination;
		return client ? entry->source_port : entry->destination_port;
	}
	*address = upper ? key->upper : key->lower;
	return upper ? key->upper_port : key->lower_port;
}

/*
 * The set of the Pod at one end of a connection, of which the entry has the interface; SET_OPEN if no Pod of this node
 * is there. What came from the node has no interface.
 */
INLINE __u32 set_of_end(const struct context *ctx, const struct endpoint *endpoint, __u32 ifindex)
{
	if (!endpoint || endpoint->role == ROLE_NODE)
		return SET_OPEN;
	if (endpoint->ifindex != ifindex && (ifindex || endpoint->role != ROLE_POD))
		return SET_OPEN;
	return endpoint->sets[ctx->generation & 1];
}

/*
 * Judges a connection again, whose entry has another generation than that in force. `found` is its key. Returns whether it
 * goes on; if not, the context has why.
 */
NOINLINE bool judge_again(struct context *ctx, struct connection *entry, const struct tuple *found)
{
	struct question question = {};
	__u32 state, egress, ingress, audited = 0;
	struct endpoint *endpoint;
	bool passes = true, hairpin;
	__u16 client_port;

	if (!ctx || !entry || !found)
		return false;
	state = entry->state;
	hairpin = entry->client_ifindex && entry->client_ifindex == entry->server_ifindex;
	if (hairpin && (state & CONNECTION_KIND) == CONNECTION_PLAIN)
		goto judged;
	question.transport = found->protocol;
	if (has_ports(found->protocol))
		question.protocol = found->protocol;
	question.first = !entry->judged;
	question.hairpin = hairpin;

	client_port = end_of(&question.own, entry, found, true);
	if (question.protocol)
		question.source_port = client_port;
	endpoint = bpf_map_lookup_elem(&endpoints, &question.own);
	egress = set_of_end(ctx, endpoint, entry->client_ifindex);
	question.port = end_of(&question.peer, entry, found, false);
	endpoint = bpf_map_lookup_elem(&endpoints, &question.peer);
	ingress = set_of_end(ctx, endpoint, entry->server_ifindex);
	if (egress != SET_OPEN) {
		question.set = egress;
		question.direction = EGRESS;
		question.audited = state & CONNECTION_AUDITED_EGRESS;
		passes = (endpoint == NULL && is_proxied(&question.peer)) || ask(ctx, &question);
	}
	if (passes && ingress != SET_OPEN) {
		question.own = question.peer;
		end_of(&question.peer, entry, found, true);
		question.set = ingress;
		question.direction = INGRESS;
		question.audited = state & CONNECTION_AUDITED_INGRESS;
		passes = (!entry->client_ifindex && is_this_node(&question.peer)) || ask(ctx, &question);
	}
	if (!passes)
		return false;
	if (ctx->judgement & AUDITED_EGRESS)
		audited |= CONNECTION_AUDITED_EGRESS;
	if (ctx->judgement & AUDITED_INGRESS)
		audited |= CONNECTION_AUDITED_INGRESS;
	audited ^= state & (CONNECTION_AUDITED_EGRESS | CONNECTION_AUDITED_INGRESS);
	if (audited)
		__sync_fetch_and_xor(&entry->state, audited);
	ctx->judgement |= JUDGED_AGAIN;
judged:
	/*
	 * Should the entry be evicted and another connection's by now, that was judged, too, when it was made: at most by a
	 * generation that ended in this very moment.
	 */
	entry->judged = ctx->generation;
	return true;
}
