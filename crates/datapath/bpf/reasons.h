/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The reasons of reasons.def as numbers. */
#pragma once
#include "layout.h"

enum reason {
#define REASON(name, fate, help) REASON_##name,
#include "reasons.def"
#undef REASON
	REASON_COUNT,
};

#define FATE_FORWARD 0
#define FATE_DROP 1
#define FATE_IGNORE 2

/* Whether whoever looks for a fault has to know of a packet that ends so. */
INLINE bool is_drop(__u32 reason)
{
	switch (reason) {
#define REASON(name, fate, help)  \
	case REASON_##name:       \
		return FATE_##fate == FATE_DROP;
#include "reasons.def"
#undef REASON
	}
	return false;
}

_Static_assert(REASON_COUNT <= REASONS_MAX, "raise REASONS_MAX in layout.h");
