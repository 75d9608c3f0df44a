/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage: load balancing. Whether a new connection is for a Service, and which backend it gets.
 *
 * The choice depends on the connection's addresses and ports and on the set of backends alone, so that every node makes the
 * same: up to RENDEZVOUS_MAX backends by rendezvous hashing, where a backend that goes takes only its own connections
 * with it; beyond that by a Maglev table.
 */
#pragma once
#include "connection.h"

/* The finalizer of MurmurHash3. src/services/hash.rs is the same. */
INLINE __u32 mix(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}

INLINE __u32 mix_address(__u32 hash, const struct address *address)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++)
		hash = mix(hash ^ address->word[i]) + 0x9e3779b9;
	return hash;
}

/* The slot of one backend of a list, by a hash; negative if there is none. */
NOINLINE int choose_slot(const struct list *list, __u32 hash)
{
	__u32 best = 0, most = 0;

	if (!list || !list->count)
		return -1;
	if (list->size) {
		__u32 at = hash % list->size, block = list->table + at / CHOICES_BLOCK;
		struct choices *choices_block = bpf_map_lookup_elem(&choices, &block);

		if (!choices_block)
			return -1;
		return list->first + choices_block->slots[at % CHOICES_BLOCK];
	}
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < RENDEZVOUS_MAX; i++) {
		__u32 slot = list->first + i, score;
		struct backend *backend;

		if (i >= list->count)
			break;
		backend = bpf_map_lookup_elem(&backends, &slot);
		if (!backend)
			break;
		score = mix(hash ^ backend->seed);
		if (!i || score > most) {
			most = score;
			best = slot;
		}
	}
	return best;
}

/* What is sought in a list that is longer than a program's own loops may be. */
struct search {
	struct address address;
	__u32 first;
	__u16 port;
	__u8 pad[2];
	__u32 found;
};

static long compare_backend(__u32 index, struct search *search)
{
	__u32 slot = search->first + index;
	struct backend *backend = bpf_map_lookup_elem(&backends, &slot);

	if (!backend)
		return 1;
	search->found = backend->port == search->port && same_address(&backend->address, &search->address);
	return search->found;
}

/* A list has no more than that, by which every search is bounded. */
#define LIST_MAX 65536

/*
 * The backend that a client keeps, if it is in the list. Returns whether the context has it.
 */
NOINLINE bool affine_backend(struct context *ctx, const struct list *list, __u32 number, __u32 seconds)
{
	struct affinity_key key = {};
	struct search search = {};
	struct affinity *kept;
	__u32 now = connection_clock();

	if (!ctx || !list)
		return false;
	key.client = ctx->saddr;
	key.service = number;
	kept = bpf_map_lookup_elem(&affinities, &key);
	/* Both moments are rounded down: it may be up to one unit less. */
	if (!kept || (now != kept->seen && ((__u64)(now - kept->seen - 1) << 30) / 1000000000ULL >= seconds))
		return false;
	search.address = kept->address;
	search.port = kept->port;
	search.first = list->first;
	bpf_loop(list->count < LIST_MAX ? list->count : LIST_MAX, compare_backend, &search, 0);
	if (!search.found)
		return false;
	kept->seen = now;
	ctx->daddr = search.address;
	ctx->l4.udp.dest = search.port;
	return true;
}

NOINLINE int keep_affinity(const struct context *ctx, __u32 number)
{
	struct affinity_key key = {};
	struct affinity kept = {};

	if (!ctx)
		return 0;
	key.client = ctx->saddr;
	key.service = number;
	kept.address = ctx->daddr;
	kept.port = ctx->l4.udp.dest;
	kept.seen = connection_clock();
	return bpf_map_update_elem(&affinities, &key, &kept, BPF_ANY);
}

/* The entry of `services` of a scope for the context's destination port. */
INLINE struct service *service_of_scope(const struct context *ctx, __u8 scope)
{
	struct service_key key = { .port = ctx->l4.udp.dest, .protocol = ctx->tracked, .scope = scope };

	if (scope == SCOPE_ADDRESS)
		key.address = ctx->daddr;
	else if (ctx->version == 4)
		mapped(&key.address, 0);
	return bpf_map_lookup_elem(&services, &key);
}

/* Whether an address is a Service's, on whatever port. */
INLINE bool is_service_address(const struct context *ctx)
{
	struct service_key key = { .address = ctx->daddr };
	struct service *service = bpf_map_lookup_elem(&services, &key);

	return service && service->flags & SERVICE_ADDRESS;
}

/* What a new connection is to Services. */
#define NO_SERVICE 0 /* it is for none */
#define CHOSEN 1 /* the context has its backend */
#define REFUSED 2 /* its sender is to be told */
#define DENIED 3 /* it is dropped */

INLINE void count_service(__u32 number, bool refused)
{
	struct service_counter *counter = bpf_map_lookup_elem(&service_counts, &number);

	if (!counter)
		return;
	if (refused)
		__sync_fetch_and_add(&counter->refused, 1);
	else
		__sync_fetch_and_add(&counter->connections, 1);
}

INLINE bool is_in_ranges(const struct context *ctx, __u32 ranges)
{
	struct range_key key = { .prefix_length = 160, .ranges = ranges, .address = ctx->saddr };

	return bpf_map_lookup_elem(&source_ranges, &key) != NULL;
}

/* The address has the family's zero in the entries of NodePorts: equal on all nodes. */
INLINE __u32 connection_hash(const struct context *ctx, __u8 scope, __u32 affinity)
{
	__u32 hash = mix_address(ctx->tracked, &ctx->saddr);

	/* The backend that this is most likely to give refused a datagram. */
	if (ctx->failed)
		return bpf_get_prandom_u32();
	/* No port, and for each period anew: else a client would get the same backend for ever. */
	if (affinity)
		return mix(hash ^ (__u32)(bpf_ktime_get_tai_ns() / 1000000000ULL / affinity));
	if (scope == SCOPE_ADDRESS)
		hash = mix_address(hash, &ctx->daddr);
	return mix(hash ^ ctx->l4.udp.source ^ (__u32)ctx->l4.udp.dest << 16);
}

/* Whether there is anything at the destination port of any of the node's addresses: most packets need no more look-ups. */
INLINE bool is_served(const struct context *ctx)
{
	__u32 port = ntohs(ctx->l4.udp.dest), word = port / 64;
	__u64 *bits;

	if (ctx->tracked == IPPROTO_UDP)
		word += 65536 / 64;
	else if (ctx->tracked == IPPROTO_SCTP)
		word += 2 * 65536 / 64;
	bits = bpf_map_lookup_elem(&served_ports, &word);
	return bits && *bits >> port % 64 & 1;
}

/* A NodePort or hostPort at an address of a node. */
INLINE struct service *node_service(const struct config *cfg, const struct context *ctx, __u8 *scope)
{
	const struct address *gateway = ctx->version == 4 ? &cfg->gateway4 : &cfg->gateway6;
	struct service *service;
	__u32 *address, flags;

	if (!is_served(ctx))
		return NULL;
	if (ctx->from_node && same_address(&ctx->daddr, gateway)) {
		/* The node's own processes, whose own addresses nftables translates to this one. */
		flags = ADDRESS_OWN | ADDRESS_NODE_PORTS;
	} else {
		struct address to = ctx->daddr;

		address = bpf_map_lookup_elem(&addresses, &to);
		flags = address ? *address : 0;
		if (!address && (ctx->from_outside || !bpf_map_lookup_elem(&nodes, &to)))
			return NULL;
		if (!address)
			flags = ADDRESS_NODE_PORTS;
	}
	*scope = SCOPE_HOST_PORT;
	service = flags & ADDRESS_OWN ? service_of_scope(ctx, SCOPE_HOST_PORT) : NULL;
	if (service || !(flags & ADDRESS_NODE_PORTS))
		return service;
	*scope = SCOPE_NODE_PORT;
	service = service_of_scope(ctx, SCOPE_NODE_PORT);
	/* Only the other node knows its own backends. */
	return service && service->flags & SERVICE_LOCAL && !(flags & ADDRESS_OWN) ? NULL : service;
}

/* What the source has to become so that the chosen backend's answers come here. */
NOINLINE int choose_source(struct context *ctx)
{
	struct route_key key = { .prefix_length = 128 };
	struct endpoint *endpoint;
	struct route *route;

	if (!ctx)
		return 0;
	key.address = ctx->daddr;
	endpoint = bpf_map_lookup_elem(&endpoints, &key.address);
	if (endpoint && endpoint->role != ROLE_NODE) {
		if (endpoint->ifindex == ctx->source_ifindex)
			ctx->source_from = SOURCE_GATEWAY;
		return 0;
	}
	if (is_this_node(&key.address)) {
		if (ctx->from_node)
			ctx->source_from = SOURCE_GATEWAY;
		ctx->host_backend = ctx->from_outside;
		return 0;
	}
	route = bpf_map_lookup_elem(&routes, &key);
	if (!route || (route->kind != ROUTE_TUNNEL && route->kind != ROUTE_LOCAL)) {
		ctx->source_from = SOURCE_NODE;
	} else if (ctx->from_outside) {
		/* Other nodes take the address of a node, or of its Pods, from that node alone. */
		key.address = ctx->saddr;
		if (bpf_map_lookup_elem(&nodes, &key.address) || bpf_map_lookup_elem(&routes, &key))
			ctx->source_from = SOURCE_NODE;
	} else {
		/* For other nodes, the address of such a Pod is another's. */
		key.address = ctx->saddr;
		endpoint = bpf_map_lookup_elem(&endpoints, &key.address);
		if (endpoint && endpoint->role == ROLE_OUTSIDE)
			ctx->source_from = SOURCE_GATEWAY;
	}
	return 0;
}

/* Gives the context the backend of a Service that its new connection is for. */
INLINE int balance_service(const struct config *cfg, struct context *ctx, const struct service *service, __u8 scope)
{
	struct list list = {};
	struct backend *backend;
	__u32 slot, affinity, number;
	int chosen;

	number = service->number;
	if (service->ranges && !is_in_ranges(ctx, service->ranges)) {
		ctx->reason = REASON_service_source;
		count_service(number, true);
		return DENIED;
	}
	affinity = service->affinity;
	list = ctx->from_outside ? service->outside : service->inside;
	if (!list.count) {
		bool refuse = service->flags & SERVICE_REFUSE;

		ctx->reason = refuse ? REASON_no_backend : REASON_no_local_backend;
		count_service(number, true);
		return refuse ? REFUSED : DENIED;
	}
	if (!affinity || ctx->failed || !affine_backend(ctx, &list, number, affinity)) {
		chosen = choose_slot(&list, connection_hash(ctx, scope, affinity));
		slot = chosen;
		backend = bpf_map_lookup_elem(&backends, &slot);
		if (chosen < 0 || !backend || !backend->port) {
			ctx->reason = REASON_no_backend;
			return DENIED;
		}
		ctx->daddr = backend->address;
		ctx->l4.udp.dest = backend->port;
		if (affinity)
			keep_affinity(ctx, number);
	}
	count_service(number, false);
	ctx->service = number;
	ctx->translated = true;
	choose_source(ctx);
	if (ctx->source_from == SOURCE_GATEWAY)
		ctx->saddr = ctx->version == 4 ? cfg->gateway4 : cfg->gateway6;
	else if (ctx->source_from == SOURCE_NODE)
		ctx->saddr = ctx->version == 4 ? cfg->node_address4 : cfg->node_address6;
	if (is_unspecified6(&ctx->saddr)) {
		ctx->reason = REASON_outside_unreachable;
		return DENIED;
	}
	return CHOSEN;
}

/*
 * Finds the Service that a new connection is for, and its backend. Only for protocols with ports.
 */
NOINLINE int balance(const struct config *cfg, struct context *ctx)
{
	struct service *service;
	__u8 scope = SCOPE_ADDRESS;

	if (!cfg || !ctx)
		return DENIED;
	service = service_of_scope(ctx, SCOPE_ADDRESS);
	if (!service) {
		struct address to = ctx->daddr;
		struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &to);

		if (endpoint && endpoint->role == ROLE_POD)
			return NO_SERVICE;
		service = node_service(cfg, ctx, &scope);
		if (!service) {
			/* The other ports of a node's own address are that node's. */
			if (!is_service_address(ctx) || is_this_node(&to) || bpf_map_lookup_elem(&nodes, &to))
				return NO_SERVICE;
			ctx->reason = REASON_service_port;
			return REFUSED;
		}
	}
	return balance_service(cfg, ctx, service, scope);
}

/*
 * The same for what comes from another node to an address of this one: a hostPort, which leads to a Pod of this node. Of a
 * NodePort the client's own node chooses the backend.
 */
NOINLINE int balance_host_port(const struct config *cfg, struct context *ctx)
{
	struct service *service;

	if (!cfg || !ctx)
		return DENIED;
	service = service_of_scope(ctx, SCOPE_HOST_PORT);
	return service ? balance_service(cfg, ctx, service, SCOPE_HOST_PORT) : NO_SERVICE;
}
