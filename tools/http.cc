// SPDX-License-Identifier: Apache-2.0
#include "tools/http.h"

#include <curl/curl.h>
#include <dlfcn.h>

#include <memory>
#include <string_view>

#include "storage/error.h"
#include "tools/terminal.h"

namespace vkb {
namespace {

constexpr long kConnectTimeoutMs = 5000;
constexpr std::size_t kLargestResponse = std::size_t{1} << 30;

// The functions of libcurl used here. It is loaded when first needed: linked in, with the thirty
// libraries it needs itself, it would cost every start of the program about 3 ms.
class Curl {
 public:
  static const Curl& get() {
    static const Curl curl;  // an exception here lets the next call try again
    return curl;
  }
  decltype(&curl_easy_init) easy_init = nullptr;
  decltype(&curl_easy_setopt) easy_setopt = nullptr;
  decltype(&curl_easy_perform) easy_perform = nullptr;
  decltype(&curl_easy_getinfo) easy_getinfo = nullptr;
  decltype(&curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&curl_easy_strerror) easy_strerror = nullptr;
  decltype(&curl_slist_append) slist_append = nullptr;
  decltype(&curl_slist_free_all) slist_free_all = nullptr;

 private:
  Curl() {
    void* library = nullptr;  // never closed: OpenSSL does not survive being unloaded
    for (const char* name : {"libcurl.so.4", "libcurl-gnutls.so.4"}) {
      if ((library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) != nullptr) break;
    }
    if (library == nullptr) {
      throw Error(ErrorCode::unsupported,
                  "embedding text needs libcurl.so.4, which is not installed here (Debian: apt "
                  "install libcurl4); or give the vector itself with --vector");
    }
    load(library, "curl_easy_init", easy_init);
    load(library, "curl_easy_setopt", easy_setopt);
    load(library, "curl_easy_perform", easy_perform);
    load(library, "curl_easy_getinfo", easy_getinfo);
    load(library, "curl_easy_cleanup", easy_cleanup);
    load(library, "curl_easy_strerror", easy_strerror);
    load(library, "curl_slist_append", slist_append);
    load(library, "curl_slist_free_all", slist_free_all);
    decltype(&curl_global_init) global_init = nullptr;
    load(library, "curl_global_init", global_init);
    if (global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
      throw Error(ErrorCode::unsupported, "libcurl cannot be initialised");
    }
  }
  template <typename Function>
  static void load(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) {
      throw Error(ErrorCode::unsupported, std::string("libcurl has no ") + name);
    }
  }
};

std::size_t append_body(char* data, std::size_t size, std::size_t count, void* body) {
  auto& text = *static_cast<std::string*>(body);
  if (text.size() + size * count > kLargestResponse) return 0;  // libcurl: CURLE_WRITE_ERROR
  text.append(data, size * count);
  return size * count;
}

int stop_when_asked(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return stop_requested() ? 1 : 0;
}

bool is_this_machine(std::string_view url) {
  const std::size_t scheme = url.find("://");
  std::string_view host = scheme == std::string_view::npos ? url : url.substr(scheme + 3);
  host = host.substr(0, host.find('/'));
  const std::size_t user = host.rfind('@');
  if (user != std::string_view::npos) host.remove_prefix(user + 1);
  return host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]");
}

}  // namespace

HttpResponse http_post(const HttpRequest& request) {
  const Curl& curl = Curl::get();
  const std::unique_ptr<CURL, decltype(curl.easy_cleanup)> handle(curl.easy_init(),
                                                                  curl.easy_cleanup);
  if (!handle) throw Error(ErrorCode::io_error, request.url + ": libcurl cannot start a request");
  std::unique_ptr<curl_slist, decltype(curl.slist_free_all)> headers(nullptr, curl.slist_free_all);
  const auto add_header = [&](const char* line) {
    curl_slist* list = curl.slist_append(headers.get(), line);
    if (list == nullptr) throw std::bad_alloc();
    static_cast<void>(headers.release());
    headers.reset(list);
  };
  add_header("Content-Type: application/json");
  add_header("Expect:");  // no waiting for "100 Continue"
  for (const std::string& header : request.headers) add_header(header.c_str());

  HttpResponse response;
  const auto set = [&](CURLoption option, auto value) {
    if (curl.easy_setopt(handle.get(), option, value) != CURLE_OK) {
      throw Error(ErrorCode::unsupported, "libcurl refuses option " + std::to_string(option));
    }
  };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_POSTFIELDS, request.body.data());
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_WRITEFUNCTION, append_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&response.body));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, stop_when_asked);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  if (is_this_machine(request.url)) set(CURLOPT_PROXY, "");

  const CURLcode result = curl.easy_perform(handle.get());
  if (result != CURLE_OK) {
    throw Error(ErrorCode::io_error, request.url + ": " + curl.easy_strerror(result));
  }
  curl.easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &response.status);
  return response;
}

}  // namespace vkb
