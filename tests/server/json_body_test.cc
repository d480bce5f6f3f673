// SPDX-License-Identifier: Apache-2.0
#include "server/json_body.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <new>
#include <string>

#include "server/api_error.h"
#include "tests/support/data_limit.h"

namespace vkb {
namespace {

// Ends the process with 0 when a body of 64 MB is read as far as `bytes` more memory allow, and the
// end is that there is no more.
[[noreturn]] void read_within(std::uint64_t bytes) {
  const std::string body = "{\"a\": \"" + std::string(std::size_t{64} << 20, 'x') + "\"}";
  allow_data(bytes);
  try {
    read_fields(body, {});
  } catch (const std::bad_alloc& error) {
    ::_exit(to_api_error(error).status() == 500 ? 0 : 2);
  } catch (const std::exception&) {
    ::_exit(3);
  }
  ::_exit(4);
}

// What the server lacks is not what the client did wrong.
TEST(JsonBody, AWantOfMemoryIsOurs) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  for (const std::uint64_t megabytes : {1, 100, 150}) {
    EXPECT_EXIT(read_within(megabytes << 20), ::testing::ExitedWithCode(0), "") << megabytes;
  }
}

}  // namespace
}  // namespace vkb
