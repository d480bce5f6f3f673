// SPDX-License-Identifier: Apache-2.0
#include "server/api_error.h"

#include <new>
#include <nlohmann/json.hpp>

#include "storage/error.h"

namespace vkb {
namespace {

std::string name_of(int status) {
  switch (status) {
    case 400:
      return "InvalidArgumentError";
    case 404:
      return "NotFoundError";
    case 500:
      return "InternalError";
    default:
      return "ChromaError";
  }
}

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return 400;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::already_exists:
      return 409;
    case ErrorCode::busy:
      return 503;
    case ErrorCode::unsupported:
      return 501;
    case ErrorCode::corruption:
    case ErrorCode::io_error:
      return 500;
  }
  return 500;
}

}  // namespace

ApiError::ApiError(int status, const std::string& message)
    : ApiError(status, name_of(status), message) {}

ApiError to_api_error(const std::exception& exception) {
  if (const auto* refusal = dynamic_cast<const ApiError*>(&exception)) return *refusal;
  if (const auto* error = dynamic_cast<const Error*>(&exception)) {
    return ApiError(status_of(error->code()), error->what());
  }
  if (dynamic_cast<const std::bad_alloc*>(&exception) != nullptr) {
    return ApiError(500, "out of memory");
  }
  return ApiError(500, exception.what());
}

std::string to_json(const ApiError& error) {
  const nlohmann::json body = {{"error", error.name()}, {"message", error.what()}};
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace vkb
