// SPDX-License-Identifier: Apache-2.0
//
// What a filter means, said a second time over plain values: no index, no SQL, no RE2.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "storage/filter.h"
#include "storage/records.h"
#include "storage/row_set.h"

namespace vkb {

// Those of `rows`, by row_id, that match. Regular expressions: those of oracle_patterns() only.
RowSet oracle_rows(const std::map<std::int64_t, RecordRow>& rows, const Filter& filter);

// Regular expressions, each with its meaning by hand.
const std::map<std::string, bool (*)(const std::string&)>& oracle_patterns();

// The filter for a message of a test.
std::string description(const Filter& filter);

}  // namespace vkb
