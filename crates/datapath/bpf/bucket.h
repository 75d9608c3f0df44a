/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A token bucket in one number: when the next one would be due if they all came evenly. */
#pragma once
#include "kernel.h"

#define SECOND 1000000000ULL

/*
 * Whether one more may pass, and takes it: `burst` at once, and one every `interval`. CPUs that do so at the same moment
 * may take one for two.
 */
INLINE bool take(__u64 *due, __u64 now, __u64 interval, __u32 burst)
{
	__u64 next = *due > now ? *due : now;

	if (next - now > interval * (burst - 1))
		return false;
	*due = next + interval;
	return true;
}
