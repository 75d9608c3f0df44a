/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keys of connections: of packets, and of the two entries of a translated connection. */
#pragma once
#include "parse.h"

/* The key of a connection. Returns whether the source is `upper` in it. */
INLINE bool tuple_of(struct tuple *key, const struct address *source, const struct address *destination,
		     __u16 source_port, __u16 destination_port, __u8 protocol, __u8 variant)
{
	bool upper = false, decided = false;

#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		if (!decided && source->word[i] != destination->word[i]) {
			upper = source->word[i] > destination->word[i];
			decided = true;
		}
	}
	if (!decided)
		upper = source_port > destination_port;
	if (upper) {
		key->lower = *destination;
		key->upper = *source;
		key->lower_port = destination_port;
		key->upper_port = source_port;
	} else {
		key->lower = *source;
		key->upper = *destination;
		key->lower_port = source_port;
		key->upper_port = destination_port;
	}
	key->protocol = protocol;
	key->variant = variant;
	key->pad[0] = key->pad[1] = 0;
	return upper;
}

INLINE bool is_echo(const struct context *ctx)
{
	__u8 type = ctx->l4.icmp.type;

	return (ctx->protocol == IPPROTO_ICMP && (type == ICMP_ECHO || type == ICMP_ECHOREPLY)) ||
	       (ctx->protocol == IPPROTO_ICMPV6 && (type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY));
}

INLINE __u16 source_port_of(const struct context *ctx)
{
	return ctx->tracked == IPPROTO_ICMP ? ctx->l4.icmp.un.echo.id : ctx->l4.udp.source;
}

INLINE __u16 destination_port_of(const struct context *ctx)
{
	return ctx->tracked == IPPROTO_ICMP ? ctx->l4.icmp.un.echo.id : ctx->l4.udp.dest;
}

/* The key of a packet's connection, in the directions that the context has now. */
INLINE bool tuple_of_packet(struct tuple *key, const struct context *ctx, __u8 variant)
{
	return tuple_of(key, &ctx->saddr, &ctx->daddr, source_port_of(ctx), destination_port_of(ctx), ctx->tracked,
			variant);
}

INLINE bool is_closed(__u32 state)
{
	__u32 both = CONNECTION_FIN_CLIENT | CONNECTION_FIN_SERVER;

	return state & CONNECTION_RESET || (state & both) == both;
}

/* The key of the other entry of a translated connection. Returns whether the client is `upper` in it. */
INLINE bool other_tuple(struct tuple *key, const struct connection *entry, const struct tuple *own)
{
	bool client_upper = entry->state & CONNECTION_CLIENT_UPPER;
	const struct address *server = client_upper ? &own->lower : &own->upper;
	__u16 port = client_upper ? own->lower_port : own->upper_port;
	__u8 variant = 0;

	/* The client asked for the backend itself. */
	if ((entry->state & CONNECTION_KIND) == CONNECTION_REPLY && same_address(server, &entry->destination) &&
	    port == entry->destination_port)
		variant = VARIANT_DIRECT;
	return tuple_of(key, &entry->source, &entry->destination, entry->source_port, entry->destination_port,
			own->protocol, variant);
}

/* Reads the addresses and ports that the packet itself has. */
INLINE bool read_original(struct __sk_buff *skb, const struct context *ctx, struct connection *to)
{
	__u16 ports[2] = { ctx->l4.udp.source, ctx->l4.udp.dest };

	if (ctx->version == 4) {
		__be32 addresses[2];

		if (bpf_skb_load_bytes(skb, ETH_HLEN + 12, addresses, sizeof(addresses)))
			return false;
		mapped(&to->source, addresses[0]);
		mapped(&to->destination, addresses[1]);
	} else {
		if (bpf_skb_load_bytes(skb, ETH_HLEN + 8, &to->source, sizeof(to->source)) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + 24, &to->destination, sizeof(to->destination)))
			return false;
	}
	if (ctx->tracked == IPPROTO_ICMP)
		ports[0] = ports[1] = ctx->l4.icmp.un.echo.id;
	else if (ctx->has_l4 && bpf_skb_load_bytes(skb, ctx->l4_offset, ports, sizeof(ports)))
		return false;
	to->source_port = ports[0];
	to->destination_port = ports[1];
	return true;
}
