// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "storage/filter.h"
#include "storage/row_set.h"
#include "storage/sqlite.h"

namespace vkb {

// Rows, or all rows of the collection but those: a complement is cheap until it is spelled out.
struct Selection {
  RowSet rows;
  bool complement = false;

  bool contains(std::int64_t row) const noexcept { return rows.contains(row) != complement; }
};

// The records of a collection that `filter` matches, as the connection's transaction sees them.
// Metadata conditions read their index. Document conditions read documents: only the candidates'
// when conditions beside them, or the document index, leave few. Throws invalid_argument for a
// comparison that no record could take part in (an ordering of texts).
Selection select_rows(Database& db, std::int64_t collection_id, const Filter& filter);
// The selected rows, ascending, without the first `offset`, at most `limit`. A complement is found
// by reading the collection's rows in their order, as far as needed.
std::vector<std::int64_t> list_rows(Database& db, std::int64_t collection_id,
                                    const Selection& selection, std::uint64_t offset,
                                    std::uint64_t limit);

}  // namespace vkb
