// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace vkb {

struct HttpRequest {
  std::string url;                   // http:// or https://
  std::string body;                  // JSON
  std::vector<std::string> headers;  // "Name: value", besides Content-Type
  std::chrono::milliseconds timeout{120'000};
};

struct HttpResponse {
  long status = 0;
  std::string body;
};

// Posts a request and returns whatever the server answers, at most 1 GiB. Redirects are not
// followed, and the addresses of this machine are never asked through a proxy. Throws
// Error{io_error} when there is no answer, naming the address and the reason, Error{unsupported}
// when libcurl is not installed. Safe from several threads.
HttpResponse http_post(const HttpRequest& request);

}  // namespace vkb
