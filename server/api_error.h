// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

namespace vkb {

// A refusal as Chroma's API words it: the HTTP status, and the name that its clients turn into an
// exception class ("InvalidArgumentError", "NotFoundError", "InternalError", "ChromaError").
class ApiError : public std::runtime_error {
 public:
  ApiError(int status, const std::string& message);
  ApiError(int status, std::string name, const std::string& message)
      : std::runtime_error(message), status_(status), name_(std::move(name)) {}
  int status() const noexcept { return status_; }
  const std::string& name() const noexcept { return name_; }

 private:
  int status_;
  std::string name_;
};

// The refusal that an exception stands for: vkb::Error by its code, ApiError itself, anything else
// 500.
ApiError to_api_error(const std::exception& exception);

// {"error":…,"message":…}; bytes that are not UTF-8 become U+FFFD.
std::string to_json(const ApiError& error);

}  // namespace vkb
