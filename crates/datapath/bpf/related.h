/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that belong to a connection without having its ports: ICMP errors about it, which quote one of its packets, and
 * fragments other than the first.
 */
#pragma once
#include "connection.h"
#include "rewrite.h"
#include "scratch.h"

INLINE __u8 tracked_protocol(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ? protocol : 0;
}

/* The quoted datagram's own checksum, as far as both have one. */
INLINE void rewrite_quoted_udp(struct udphdr *now, const struct udphdr *before, __u8 protocol, __u64 addresses)
{
	if (protocol != IPPROTO_UDP || !before->check)
		return;
	now->check = checksum(addresses + (__u16)~before->check + (__u16)~before->source + (__u16)~before->dest +
			      now->source + now->dest);
	if (!now->check)
		now->check = 0xffff;
}

/* Gives the packet that an error quotes the addresses and ports of `scratch->quoted`, in the error's own bytes. */
INLINE bool rewrite_quote(struct __sk_buff *skb, const struct context *error, struct scratch *scratch)
{
	__u32 offset = error->l4_offset + sizeof(struct icmphdr);
	union quote *before = &scratch->before, *now = &scratch->now;
	const struct context *to = &scratch->quoted;
	__u64 addresses;
	__s64 change;

	if (error->version == 4) {
		if (bpf_skb_load_bytes(skb, offset, &before->v4, sizeof(before->v4)))
			return false;
		now->v4 = before->v4;
		now->v4.ip.saddr = to->saddr.word[3];
		now->v4.ip.daddr = to->daddr.word[3];
		addresses = difference(&before->v4.ip.saddr, &now->v4.ip.saddr, 2);
		now->v4.ip.check = checksum((__u16)~before->v4.ip.check + addresses);
		now->v4.l4.source = to->l4.udp.source;
		now->v4.l4.dest = to->l4.udp.dest;
		rewrite_quoted_udp(&now->v4.l4, &before->v4.l4, to->tracked, addresses);
		change = bpf_csum_diff(before, sizeof(before->v4), now, sizeof(now->v4), 0);
		if (change < 0 || bpf_skb_store_bytes(skb, offset, &now->v4, sizeof(now->v4), 0))
			return false;
	} else {
		if (bpf_skb_load_bytes(skb, offset, &before->v6, sizeof(before->v6)))
			return false;
		now->v6 = before->v6;
		copy(now->v6.ip.saddr, &to->saddr, sizeof(to->saddr));
		copy(now->v6.ip.daddr, &to->daddr, sizeof(to->daddr));
		now->v6.l4.source = to->l4.udp.source;
		now->v6.l4.dest = to->l4.udp.dest;
		addresses = difference(before->v6.ip.saddr, now->v6.ip.saddr, 8);
		rewrite_quoted_udp(&now->v6.l4, &before->v6.l4, to->tracked, addresses);
		change = bpf_csum_diff(before, sizeof(before->v6), now, sizeof(now->v6), 0);
		if (change < 0 || bpf_skb_store_bytes(skb, offset, &now->v6, sizeof(now->v6), 0))
			return false;
	}
	return !bpf_l4_csum_replace(skb, error->l4_offset + 2, 0, change, 0);
}

/* A backend refused a datagram: the connection's next one goes to another. */
NOINLINE int backend_failed(const struct connection *reply, const struct tuple *own)
{
	struct connection *forward;
	struct tuple other;

	if (!reply || !own)
		return 0;
	other_tuple(&other, reply, own);
	forward = find_connection(&other);
	if (forward)
		__sync_fetch_and_or(&forward->state, CONNECTION_FAILED);
	return 0;
}

INLINE bool is_port_unreachable(const struct context *ctx)
{
	return ctx->version == 4 ? ctx->l4.icmp.type == 3 && ctx->l4.icmp.code == 3 :
				   ctx->l4.icmp.type == 1 && ctx->l4.icmp.code == 4;
}

/*
 * An ICMP error: the quoted packet, and the error's own addresses, become what the one to whom it goes knows. The sender
 * of the error stays who it is, unless it is an end of the connection.
 */
NOINLINE int track_error(struct __sk_buff *skb, struct context *ctx)
{
	struct connection *entry;
	struct context *quoted;
	struct scratch *memory;
	bool from_client;
	struct tuple key;
	__u32 kind;

	memory = scratch_memory();
	if (!ctx || !memory)
		return 0;
	quoted = &memory->quoted;
	*quoted = *ctx;
	if (!parse_quote(skb, quoted) || !quoted->has_l4)
		return 0;
	/* Only one whose transport header stands right behind the IP header can be translated. */
	if (quoted->l4_offset != ctx->l4_offset + sizeof(struct icmphdr) +
					 (ctx->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))
		return 0;
	quoted->tracked = tracked_protocol(quoted->protocol);
	/* An error is for who sent what it quotes. */
	if (!quoted->tracked || !same_address(&ctx->daddr, &quoted->saddr))
		return 0;
	from_client = tuple_of_packet(&key, quoted, 0);
	entry = find_connection(&key);
	if (!entry)
		return 0;
	kind = entry->state & CONNECTION_KIND;
	from_client = from_client == !!(entry->state & CONNECTION_CLIENT_UPPER);
	ctx->related = true;
	/* It goes back to who sent the quoted packet. */
	ctx->part = from_client ? PART_SERVER : PART_CLIENT;
	ctx->kind = kind;
	if (kind == CONNECTION_PLAIN) {
		if (from_client && entry->state & CONNECTION_TUNNEL)
			ctx->via = entry->source;
		return 0;
	}
	if (kind == CONNECTION_REPLY && from_client && quoted->tracked == IPPROTO_UDP && is_port_unreachable(ctx) &&
	    same_address(&ctx->saddr, &quoted->daddr))
		backend_failed(entry, &key);
	/* Else it is neither a packet of the client to the backend, nor one of the frontend to the client. */
	if ((kind == CONNECTION_REPLY) != from_client)
		return 0;
	/* Its sender is an end of the connection, or somebody on the path. */
	if (same_address(&ctx->saddr, &quoted->daddr))
		ctx->saddr = from_client ? entry->destination : entry->source;
	ctx->daddr = from_client ? entry->source : entry->destination;
	quoted->saddr = from_client ? entry->source : entry->destination;
	quoted->daddr = from_client ? entry->destination : entry->source;
	quoted->l4.udp.source = from_client ? entry->source_port : entry->destination_port;
	quoted->l4.udp.dest = from_client ? entry->destination_port : entry->source_port;
	ctx->translated = rewrite_quote(skb, ctx, memory);
	return 0;
}

/* Where a fragment's packet has its identification. */
INLINE bool fragment_id(struct __sk_buff *skb, const struct context *ctx, __u32 *id)
{
	__u16 short_id = 0;

	if (ctx->version == 4) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN + 4, &short_id, sizeof(short_id)))
			return false;
		*id = short_id;
		return true;
	}
	/* The fragment header is the last one before the transport's; of a later fragment it is the last that is read. */
	return !bpf_skb_load_bytes(skb, ctx->l4_offset + (ctx->protocol == PROTOCOL_FRAGMENT ? 4 : -4), id, sizeof(*id));
}

/* A fragment: the first leaves the ports for the others. */
NOINLINE int track_fragment(struct __sk_buff *skb, struct context *ctx)
{
	struct fragment_key key = {};
	struct fragment *found, ports = {};

	if (!ctx || !fragment_id(skb, ctx, &key.id))
		return 0;
	key.source = ctx->saddr;
	key.destination = ctx->daddr;
	key.protocol = ctx->nexthdr;
	if (ctx->protocol != PROTOCOL_FRAGMENT) {
		if (!ctx->tracked)
			return 0;
		ports.source_port = source_port_of(ctx);
		ports.destination_port = destination_port_of(ctx);
		ports.protocol = ctx->tracked;
		bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
		return 0;
	}
	found = bpf_map_lookup_elem(&fragments, &key);
	if (!found)
		return 0;
	ctx->tracked = found->protocol;
	ctx->l4.udp.source = found->source_port;
	ctx->l4.udp.dest = found->destination_port;
	if (ctx->tracked == IPPROTO_ICMP)
		ctx->l4.icmp.un.echo.id = found->source_port;
	return 0;
}

/* Says of a packet whether and as what it is tracked, before its connection is looked for. */
INLINE void classify(struct __sk_buff *skb, struct context *ctx)
{
	if (ctx->has_l4) {
		if (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP || ctx->protocol == IPPROTO_SCTP)
			ctx->tracked = ctx->protocol;
		else if (is_echo(ctx))
			ctx->tracked = IPPROTO_ICMP;
	}
	if (ctx->fragment)
		track_fragment(skb, ctx);
}
