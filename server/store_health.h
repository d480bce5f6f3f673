// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>

namespace vkb {

// Whether a store's collections can be opened: that their segments are there, as long as they were
// written, with sound headers. It looks for a second at most, at the oldest collections first;
// `vkb check` looks at everything. Thread safety: damage().
class StoreHealth {
 public:
  // Looks at the store in `directory`. Throws nothing: what keeps it from looking is damage.
  explicit StoreHealth(std::string directory);

  // The first damage found, as a text for operators; "" when there is none. Damage once found is
  // looked for anew with every call, so that a repaired store is sound without a restart.
  std::string damage();

 private:
  std::string look() const;

  const std::string directory_;
  std::mutex mutex_;
  std::string damage_;  // guarded by it
};

}  // namespace vkb
