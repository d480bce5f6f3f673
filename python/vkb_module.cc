// SPDX-License-Identifier: Apache-2.0
//
// The extension module vkb._vkb: ChromaService for Python. Arguments and answers are plain objects;
// what users see is written in Python, in src/vkb. The GIL is released while the engine works.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "python/vkb_convert.h"
#include "server/api_error.h"
#include "server/chroma_service.h"

namespace nb = nanobind;

namespace vkb {
namespace {

using Limit = std::optional<std::uint32_t>;

// Calls `work` without the GIL.
template <typename Work>
auto unlocked(Work&& work) {
  const nb::gil_scoped_release release;
  return work();
}

// A store that is open in this process.
// Thread safety: all methods; close() lets calls that have begun finish.
class Service {
 public:
  Service(const nb::bytes& path, bool allow_reset, bool read_only, std::uint64_t memory_limit) {
    const std::string directory(path.c_str(), path.size());
    service_ = unlocked([&] {
      Store store = Store::open(directory, {.read_only = read_only, .memory_limit = memory_limit});
      return std::make_shared<ChromaService>(
          std::move(store),
          ChromaService::Options{.allow_reset = allow_reset, .read_only = read_only});
    });
  }
  ~Service() { close(); }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Idempotent. The store is closed when the calls that run have ended.
  void close() {
    unlocked([this] {
      std::shared_ptr<ChromaService> last;
      const std::lock_guard lock(mutex_);
      last.swap(service_);
      return 0;
    });
  }

  // Runs `work` on the service without the GIL.
  template <typename Work>
  auto with(Work&& work) {
    return unlocked([&] {
      std::shared_ptr<ChromaService> service;
      {
        const std::lock_guard lock(mutex_);
        service = service_;
      }
      if (service == nullptr) throw std::runtime_error("this client is closed; open another one");
      return work(*service);
    });
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<ChromaService> service_;
};

// Turns refusals into the exceptions of vkb.errors.
void translate(const std::exception_ptr& thrown, void*) {
  const auto set_error = [](const std::exception& exception) {
    const ApiError error = to_api_error(exception);
    const std::string_view text = error.what();
    const nb::object message = nb::steal(
        PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
    const nb::object value = nb::module_::import_("vkb.errors")
                                 .attr("from_answer")(error.status(), error.name(), message);
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(value.ptr())), value.ptr());
  };
  try {
    std::rethrow_exception(thrown);
  } catch (const ApiError& error) {
    set_error(error);
  } catch (const Error& error) {
    set_error(error);
  }
}

CollectionPlace place_of(const std::string& tenant, const std::string& database,
                         const std::string& id) {
  return {.in = {.tenant = tenant, .database = database}, .id = id};
}

RecordSelection selection_of(nb::handle ids, std::optional<std::string> where,
                             std::optional<std::string> where_document) {
  return {.ids = to_optional_texts(ids, "ids"),
          .where_json = std::move(where),
          .where_document_json = std::move(where_document)};
}

nb::tuple from_database(const DatabaseModel& model) {
  return nb::make_tuple(model.id, model.name, model.tenant);
}

nb::list from_models(const std::vector<CollectionModel>& models) {
  nb::list result;
  for (const CollectionModel& model : models) result.append(from_model(model));
  return result;
}

void bind_admin(nb::class_<Service>& service) {
  service.def("reset",
              [](Service& self) { self.with([](ChromaService& s) { return s.reset(), 0; }); });
  service.def("create_tenant", [](Service& self, const std::string& name) {
    self.with([&](ChromaService& s) { return s.create_tenant(name), 0; });
  });
  service.def("check_tenant", [](Service& self, const std::string& name) {
    self.with([&](ChromaService& s) { return s.check_tenant(name), 0; });
  });
  service.def("create_database",
              [](Service& self, const std::string& tenant, const std::string& name) {
                self.with([&](ChromaService& s) { return s.create_database({tenant, name}), 0; });
              });
  service.def("get_database",
              [](Service& self, const std::string& tenant, const std::string& name) {
                return from_database(self.with([&](ChromaService& s) {
                  return s.get_database({tenant, name});
                }));
              });
  service.def("delete_database",
              [](Service& self, const std::string& tenant, const std::string& name) {
                self.with([&](ChromaService& s) { return s.delete_database({tenant, name}), 0; });
              });
  service.def(
      "list_databases",
      [](Service& self, const std::string& tenant, Limit limit, std::uint32_t offset) {
        nb::list result;
        for (const DatabaseModel& model :
             self.with([&](ChromaService& s) { return s.list_databases(tenant, limit, offset); })) {
          result.append(from_database(model));
        }
        return result;
      },
      nb::arg("tenant"), nb::arg("limit").none(), nb::arg("offset"));
}

void bind_collections(nb::class_<Service>& service) {
  service.def(
      "create_collection",
      [](Service& self, const std::string& tenant, const std::string& database,
         const std::string& name, nb::handle metadata, std::optional<std::string> configuration,
         std::optional<std::string> schema, bool get_or_create) {
        const CreateCollection request{.name = name,
                                       .metadata = to_optional_metadata(metadata),
                                       .configuration_json = std::move(configuration),
                                       .schema_json = std::move(schema),
                                       .get_or_create = get_or_create};
        return from_model(self.with([&](ChromaService& s) {
          return s.create_collection({tenant, database}, request);
        }));
      },
      nb::arg("tenant"), nb::arg("database"), nb::arg("name"), nb::arg("metadata").none(),
      nb::arg("configuration").none(), nb::arg("schema").none(), nb::arg("get_or_create"));
  service.def("get_collection", [](Service& self, const std::string& tenant,
                                   const std::string& database, const std::string& name) {
    return from_model(self.with([&](ChromaService& s) {
      return s.get_collection({tenant, database}, name);
    }));
  });
  service.def("get_collection_by_id", [](Service& self, const std::string& tenant,
                                         const std::string& database, const std::string& id) {
    return from_model(self.with(
        [&](ChromaService& s) { return s.get_collection_by_id(place_of(tenant, database, id)); }));
  });
  service.def(
      "list_collections",
      [](Service& self, const std::string& tenant, const std::string& database, Limit limit,
         std::uint32_t offset) {
        return from_models(self.with([&](ChromaService& s) {
          return s.list_collections({tenant, database}, limit, offset);
        }));
      },
      nb::arg("tenant"), nb::arg("database"), nb::arg("limit").none(), nb::arg("offset"));
  service.def("count_collections", [](Service& self, const std::string& tenant,
                                      const std::string& database) {
    return self.with([&](ChromaService& s) { return s.count_collections({tenant, database}); });
  });
  service.def(
      "modify_collection",
      [](Service& self, const std::string& tenant, const std::string& database,
         const std::string& id, std::optional<std::string> name, nb::handle metadata,
         std::optional<std::string> configuration) {
        const ModifyCollection request{.name = std::move(name),
                                       .metadata = to_optional_metadata(metadata),
                                       .configuration_json = std::move(configuration)};
        self.with([&](ChromaService& s) {
          return s.modify_collection(place_of(tenant, database, id), request), 0;
        });
      },
      nb::arg("tenant"), nb::arg("database"), nb::arg("id"), nb::arg("name").none(),
      nb::arg("metadata").none(), nb::arg("configuration").none());
  service.def("delete_collection", [](Service& self, const std::string& tenant,
                                      const std::string& database, const std::string& name) {
    self.with([&](ChromaService& s) { return s.delete_collection({tenant, database}, name), 0; });
  });
  service.def("fork_collection",
              [](Service& self, const std::string& tenant, const std::string& database,
                 const std::string& id, const std::string& new_name) {
                return from_model(self.with([&](ChromaService& s) {
                  return s.fork_collection(place_of(tenant, database, id), new_name);
                }));
              });
  service.def("indexing_status", [](Service& self, const std::string& tenant,
                                    const std::string& database, const std::string& id) {
    const IndexingStatus status = self.with(
        [&](ChromaService& s) { return s.indexing_status(place_of(tenant, database, id)); });
    return nb::make_tuple(status.total, status.indexed);
  });
}

// add, update and upsert.
void bind_write(nb::class_<Service>& service, const char* name,
                void (ChromaService::*write)(const CollectionPlace&, RecordBatch)) {
  service.def(
      name,
      [write](Service& self, const std::string& tenant, const std::string& database,
              const std::string& id, nb::handle ids, nb::handle embeddings, nb::handle documents,
              nb::handle uris, nb::handle metadatas) {
        RecordBatch batch = to_batch(ids, embeddings, documents, uris, metadatas);
        self.with([&](ChromaService& s) {
          return (s.*write)(place_of(tenant, database, id), std::move(batch)), 0;
        });
      },
      nb::arg("tenant"), nb::arg("database"), nb::arg("id"), nb::arg("ids"),
      nb::arg("embeddings").none(), nb::arg("documents").none(), nb::arg("uris").none(),
      nb::arg("metadatas").none());
}

void bind_records(nb::class_<Service>& service) {
  bind_write(service, "add", &ChromaService::add);
  bind_write(service, "update", &ChromaService::update);
  bind_write(service, "upsert", &ChromaService::upsert);
  service.def(
      "remove",
      [](Service& self, const std::string& tenant, const std::string& database,
         const std::string& id, nb::handle ids, std::optional<std::string> where,
         std::optional<std::string> where_document, Limit limit) {
        const RecordSelection selection =
            selection_of(ids, std::move(where), std::move(where_document));
        return self.with([&](ChromaService& s) {
          return s.remove(place_of(tenant, database, id), selection, limit);
        });
      },
      nb::arg("tenant"), nb::arg("database"), nb::arg("id"), nb::arg("ids").none(),
      nb::arg("where").none(), nb::arg("where_document").none(), nb::arg("limit").none());
  service.def("count", [](Service& self, const std::string& tenant, const std::string& database,
                          const std::string& id) {
    return self.with([&](ChromaService& s) { return s.count(place_of(tenant, database, id)); });
  });
  service.def(
      "get",
      [](Service& self, const std::string& tenant, const std::string& database,
         const std::string& id, nb::handle ids, std::optional<std::string> where,
         std::optional<std::string> where_document, Limit limit, std::uint32_t offset,
         nb::handle include_names) {
        const RecordSelection selection =
            selection_of(ids, std::move(where), std::move(where_document));
        const Include include = to_include(include_names);
        return from_records(self.with([&](ChromaService& s) {
          return s.get(place_of(tenant, database, id), selection, limit, offset, include);
        }),
                            include);
      },
      nb::arg("tenant"), nb::arg("database"), nb::arg("id"), nb::arg("ids").none(),
      nb::arg("where").none(), nb::arg("where_document").none(), nb::arg("limit").none(),
      nb::arg("offset"), nb::arg("include"));
  service.def(
      "query",
      [](Service& self, const std::string& tenant, const std::string& database,
         const std::string& id, nb::handle ids, std::optional<std::string> where,
         std::optional<std::string> where_document, nb::handle embeddings, std::uint32_t n_results,
         nb::handle include_names) {
        const RecordSelection selection =
            selection_of(ids, std::move(where), std::move(where_document));
        const Include include = to_include(include_names);
        const std::vector<std::vector<float>> queries = to_queries(embeddings);
        return from_hits(self.with([&](ChromaService& s) {
          return s.query(place_of(tenant, database, id), selection, queries, n_results, include);
        }),
                         include);
      },
      nb::arg("tenant"), nb::arg("database"), nb::arg("id"), nb::arg("ids").none(),
      nb::arg("where").none(), nb::arg("where_document").none(), nb::arg("embeddings"),
      nb::arg("n_results"), nb::arg("include"));
  service.def("search", [](Service& self, const std::string& tenant, const std::string& database,
                           const std::string& id, const std::string& request) {
    return self.with(
        [&](ChromaService& s) { return s.search(place_of(tenant, database, id), request); });
  });
}

}  // namespace

NB_MODULE(_vkb, module) {
  // A client may live until the interpreter ends: that is no leak worth a warning.
  nb::set_leak_warnings(false);
  nb::register_exception_translator(translate);
  module.attr("version") = VKB_VERSION;
  nb::class_<Service> service(module, "Service", nb::is_weak_referenceable());
  service.def(nb::init<const nb::bytes&, bool, bool, std::uint64_t>(), nb::arg("path"),
              nb::arg("allow_reset"), nb::arg("read_only"), nb::arg("memory_limit"));
  service.def("close", &Service::close);
  bind_admin(service);
  bind_collections(service);
  bind_records(service);
}

}  // namespace vkb
