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

_Static_assert(REASON_COUNT <= REASONS_MAX, "raise REASONS_MAX in layout.h");
