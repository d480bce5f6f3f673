// SPDX-License-Identifier: Apache-2.0
#include "engine/kernels.h"

#include <array>
#include <cstdlib>

namespace vkb {
namespace {

struct Available {
  std::array<const Kernels*, 3> sets{&kPlainKernels};
  std::size_t count = 1;
};

Available detect() noexcept {
  Available available;
#if defined(__x86_64__)
  // The compiler's CPU model counts a feature only when the operating system saves its registers
  // too (XCR0), so no separate check is needed.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    available.sets[available.count++] = &kAvx2Kernels;
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vnni") &&
      __builtin_cpu_supports("avx512vpopcntdq")) {
    available.sets[available.count++] = &kAvx512Kernels;
  }
#elif defined(__aarch64__)
  available.sets[available.count++] = &kNeonKernels;
#endif
  return available;
}

}  // namespace

std::span<const Kernels* const> available_kernels() noexcept {
  static const Available available = detect();
  return {available.sets.data(), available.count};
}

const Kernels& choose_kernels(std::span<const Kernels* const> sets,
                              std::string_view name) noexcept {
  for (const Kernels* set : sets) {
    if (set->name == name) return *set;
  }
  return *sets.back();
}

const Kernels& kernels() noexcept {
  static const Kernels& chosen = []() -> const Kernels& {
    const char* name = std::getenv("VKB_KERNELS");
    return choose_kernels(available_kernels(), name != nullptr ? name : "");
  }();
  return chosen;
}

}  // namespace vkb
