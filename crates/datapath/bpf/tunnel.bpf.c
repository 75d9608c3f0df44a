/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stands in for the VXLAN device where a single packet is run (BPF_PROG_TEST_RUN has no such device): gives the packet
 * the metadata of a tunnel and goes on with the program of that hook. What a receiver reads as the remote end is the
 * key's local end. No network has this program.
 */
#include "kernel.h"

static long (*bpf_tail_call)(void *ctx, void *programs, __u32 index) = (void *)12;

struct tunnel {
	struct bpf_tunnel_key key;
	__u32 flags;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct tunnel);
} tunnel SEC(".maps");

struct {
	MAP_UINT(type, 3); /* program array */
	MAP_UINT(max_entries, 1);
	MAP_UINT(key_size, 4);
	MAP_UINT(value_size, 4);
} next SEC(".maps");

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("classifier") int with_tunnel(struct __sk_buff *skb)
{
	__u32 index = 0;
	struct tunnel *t = bpf_map_lookup_elem(&tunnel, &index);

	if (!t || bpf_skb_set_tunnel_key(skb, &t->key, sizeof(t->key), t->flags))
		return -1;
	bpf_tail_call(skb, &next, 0);
	return -2;
}
