// SPDX-License-Identifier: Apache-2.0
#include <vkb/vkb.h>

#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  vkb::Store store = vkb::Store::open(argv[1]);
  vkb::Collection notes = store.get_or_create_collection("notes", {.space = vkb::Space::l2});
  const std::vector<vkb::Record> records = {
      {.id = "a", .embedding = std::vector<float>{1, 0, 0}, .document = "first"},
      {.id = "b", .embedding = std::vector<float>{0, 1, 0}, .document = "second"}};
  notes.upsert(records);
  for (const vkb::Hit& hit : notes.query(std::vector<float>{0, 0.9F, 0}, {.k = 1})) {
    std::cout << hit.record.id << ' ' << hit.record.document.value_or("") << '\n';
  }
}
