/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Access to a frame's bytes, and checksums of them. */
#pragma once
#include "headers.h"

/*
 * Read anew each time, and by one instruction with the offset in it: to the verifier neither a copy in a 32-bit
 * register is a packet pointer, nor a register with the member's address the context.
 */
#define READ_SKB(skb, member)                                                                   \
	({                                                                                      \
		void *value;                                                                    \
		__asm__ volatile("%0 = *(u32 *)(%1 + %2)"                                       \
				 : "=r"(value)                                                  \
				 : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, member))); \
		value;                                                                          \
	})

INLINE void *frame_start(struct __sk_buff *skb)
{
	return READ_SKB(skb, data);
}

INLINE void *frame_end(struct __sk_buff *skb)
{
	return READ_SKB(skb, data_end);
}

/* The frame's start with `size` bytes readable, or NULL if it is shorter. Makes old pointers invalid. */
INLINE void *frame(struct __sk_buff *skb, __u32 size)
{
	void *data = frame_start(skb);

	if (data + size <= frame_end(skb))
		return data;
	if (bpf_skb_pull_data(skb, size))
		return NULL;
	data = frame_start(skb);
	return data + size <= frame_end(skb) ? data : NULL;
}

/* The ones-complement sum of up to `words` words from `offset` to the frame's end, not folded. */
INLINE __u64 sum_words(struct __sk_buff *skb, __u32 offset, __u32 words)
{
	void *data = frame_start(skb), *end = frame_end(skb);
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < words; i++) {
		__u32 *word = data + offset + i * 4;

		if ((void *)(word + 1) > end)
			break;
		sum += *word;
	}
	return sum;
}

/* The checksum field for a sum. */
INLINE __u16 checksum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}
