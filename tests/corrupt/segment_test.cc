// SPDX-License-Identifier: Apache-2.0
//
// Damaged segments: every answer is right or an Error that names what is damaged, check() finds it,
// and repair() rebuilds what can be rebuilt from the vectors (R8, R9).
#include "tests/corrupt/corrupt_store.h"

namespace vkb {
namespace {

template <typename T>
void put(std::span<std::byte> bytes, std::size_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

TEST_F(Corrupt, NothingIsWrongBeforehand) {
  EXPECT_TRUE(ask_everything().empty());
  EXPECT_TRUE(problems().empty());
}

TEST_F(Corrupt, EveryByteOfAHeaderCounts) {
  const std::string& file = pristine_->flat_file;
  const std::string bytes = read_whole_file(segment(file));
  const std::vector<float> query(kDim, 0.5F);
  for (std::size_t at = 0; at < kSegmentHeaderBytes; at += at < 400 || at >= 4080 ? 1 : 97) {
    SCOPED_TRACE(at);
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    write_whole_file(segment(file), damaged);
    const Store store = Store::open(path(), {.read_only = true});
    const Collection collection = store.collection("vectors");
    const std::optional<Error> error = error_of([&] { collection.query(query); });
    ASSERT_TRUE(error);
    EXPECT_EQ(to_string(error->code()), to_string(ErrorCode::corruption));
    EXPECT_NE(std::string(error->what()).find(file), std::string::npos) << error->what();
    EXPECT_EQ(collection.count(), expected().size());
    if (at % 16 == 0) {
      EXPECT_TRUE(mentions(store.check(false).problems, file));
    }
  }
}

TEST_F(Corrupt, SegmentsCutShortOrGone) {
  for (const std::string& file : {pristine_->flat_file, pristine_->graph_file}) {
    const std::uint64_t size = std::filesystem::file_size(segment(file));
    for (const std::uint64_t cut : {std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{4096},
                                    size / 2, size - 4096, size - 1}) {
      SCOPED_TRACE(file + " " + std::to_string(cut));
      restore();
      std::filesystem::resize_file(segment(file), cut);
      const std::vector<std::string> errors = ask_everything();
      ASSERT_FALSE(errors.empty());
      for (const std::string& error : errors) EXPECT_NE(error.find(file), std::string::npos);
      EXPECT_TRUE(mentions(problems(false), file));
    }
    restore();
    std::filesystem::remove(segment(file));
    const std::vector<std::string> errors = ask_everything();
    ASSERT_FALSE(errors.empty());
    for (const std::string& error : errors) EXPECT_NE(error.find(file), std::string::npos);
    EXPECT_TRUE(mentions(problems(false), file));
  }
}

TEST_F(Corrupt, AnotherSegmentUnderItsName) {
  std::filesystem::copy_file(segment(pristine_->graph_file), segment(pristine_->flat_file),
                             std::filesystem::copy_options::overwrite_existing);
  for (const std::string& error : ask_everything()) {
    EXPECT_NE(error.find(pristine_->flat_file), std::string::npos) << error;
  }
  EXPECT_TRUE(mentions(problems(false), pristine_->flat_file));
}

// R9: caches are rebuilt from the vectors.
TEST_F(Corrupt, DamagedCachesAreFoundAndRebuilt) {
  for (const SectionKind kind :
       {SectionKind::codes_int8, SectionKind::norms, SectionKind::sorted_row_ids,
        SectionKind::sorted_slots, SectionKind::links0, SectionKind::upper_slots,
        SectionKind::upper_links, SectionKind::record_ids, SectionKind::page_checksums}) {
    SCOPED_TRACE(to_string(kind));
    restore();
    change_section(pristine_->graph_file, kind, false, [](std::span<std::byte> bytes) {
      TestRandom random(3);
      for (int i = 0; i < 50; ++i) bytes[random.below(bytes.size())] ^= std::byte{0xA5};
    });
    ask_everything();
    expect_repair("section " + std::string(to_string(kind)));
  }
  restore();
  change_section(pristine_->flat_file, SectionKind::sorted_slots, false,
                 [](std::span<std::byte> bytes) { put<std::uint32_t>(bytes, 3, 0xFFFFFFFF); });
  ask_everything();
  expect_repair("section sorted_slots");
}

// Wrong from the beginning, with checksums that fit: what a bug would write.
TEST_F(Corrupt, NumbersOutOfRangeAreNoticedWhenFollowed) {
  constexpr std::uint32_t kFar = 0x7FFFFFFF;
  const auto everywhere = [](std::span<std::byte> bytes) {
    for (std::size_t i = 0; i < bytes.size() / sizeof kFar; i += 3) put(bytes, i, kFar);
  };
  for (const SectionKind kind :
       {SectionKind::links0, SectionKind::upper_slots, SectionKind::upper_links}) {
    SCOPED_TRACE(to_string(kind));
    restore();
    change_section(pristine_->graph_file, kind, true, everywhere);
    const std::vector<std::string> errors = ask_everything();
    ASSERT_FALSE(errors.empty());
    for (const std::string& error : errors) {
      EXPECT_NE(error.find(pristine_->graph_file), std::string::npos) << error;
      EXPECT_NE(error.find(to_string(kind)), std::string::npos) << error;
    }
    expect_repair(pristine_->graph_file);
  }
  for (const SectionKind kind : {SectionKind::codes_int8, SectionKind::norms,
                                 SectionKind::sorted_row_ids, SectionKind::sorted_slots}) {
    SCOPED_TRACE(to_string(kind));
    restore();
    change_section(pristine_->graph_file, kind, true, everywhere);
    ask_everything(true);
    expect_repair(pristine_->graph_file);
  }
}

// R9: a segment's record ids are a cache of the records'. Lengths that none can have (R8) leave the
// asking to SQLite.
TEST_F(Corrupt, WrongRecordIdsAreFoundAndRebuilt) {
  change_section(pristine_->graph_file, SectionKind::record_ids, true,
                 [](std::span<std::byte> bytes) {
                   for (std::size_t i = 0; i < bytes.size(); i += 64) bytes[i] = std::byte{64};
                 });
  EXPECT_TRUE(ask_everything().empty());
  restore();
  change_section(pristine_->graph_file, SectionKind::record_ids, true,
                 [](std::span<std::byte> bytes) { bytes[1] ^= std::byte{1}; });
  expect_repair("1 record ids that differ");
}

// Vectors are the truth: nothing can mend them, and nothing launders them. All others are kept, and
// what is left of those that are lost is handed out before they go.
TEST_F(Corrupt, DamagedVectorsAreNamedAndGivenUpOnDemand) {
  change_section(pristine_->graph_file, SectionKind::vectors, false,
                 [](std::span<std::byte> bytes) { bytes[64 * 40 + 3] ^= std::byte{0x10}; });
  const std::vector<std::string> errors = ask_everything();
  ASSERT_FALSE(errors.empty());
  for (const std::string& error : errors) {
    EXPECT_NE(error.find(pristine_->graph_file), std::string::npos) << error;
  }
  EXPECT_TRUE(mentions(problems(), "section vectors"));
  EXPECT_TRUE(mentions(problems(), "its vector, in segment " + pristine_->graph_file));
  Store store = Store::open(path());
  Collection collection = store.collection("vectors");
  EXPECT_TRUE(mentions(store.repair().problems, "section vectors"));
  VKB_EXPECT_ERROR(collection.compact(), ErrorCode::corruption, pristine_->graph_file);
  EXPECT_EQ(collection.count(), expected().size());

  // When they cannot be handed out they stay.
  VKB_EXPECT_ERROR(store.repair({},
                                [](const Collection&, std::span<const Record>) {
                                  throw Error(ErrorCode::io_error, "nowhere to put them");
                                }),
                   ErrorCode::io_error, "nowhere");
  EXPECT_EQ(collection.count(), expected().size());

  Expected left = expected();
  std::size_t lost = 0;
  const CheckResult after =
      store.repair({}, [&](const Collection& of, std::span<const Record> records) {
        EXPECT_EQ(of.uuid(), collection.uuid());
        lost += records.size();
        for (const Record& record : records) {
          const Record& was = expected().at(record.id);
          EXPECT_EQ(record.document, was.document);
          EXPECT_EQ(record.metadata, was.metadata);
          left.erase(record.id);
        }
      });
  for (const Problem& problem : after.problems) ADD_FAILURE() << problem.message;
  EXPECT_GE(lost, 1U);
  EXPECT_LE(lost, kSegmentPageBytes / 64);
  EXPECT_EQ(differences(left, collection), "");
  const std::vector<float> query(kDim, 0.5F);
  EXPECT_EQ(wrong_answer(Space::l2, query, 10, left, collection.query(query), false), "");
}

// R9: a segment that cannot be asked which slot a row has is left all the same, each lost record
// handed out once.
TEST_F(Corrupt, DamagedVectorsAreGivenUpWhereTheirSlotsAreDamagedToo) {
  using Kinds = std::vector<SectionKind>;
  for (const std::string& file : {pristine_->graph_file, pristine_->flat_file}) {
    for (const Kinds& also :
         {Kinds{SectionKind::sorted_slots}, Kinds{SectionKind::sorted_row_ids},
          Kinds{SectionKind::sorted_slots, SectionKind::sorted_row_ids},
          Kinds{SectionKind::row_ids}}) {
      SCOPED_TRACE(file + " " + std::string(to_string(also.front())));
      restore();
      change_section(file, SectionKind::vectors, false,
                     [](std::span<std::byte> bytes) { bytes[64 * 40 + 3] ^= std::byte{0x10}; });
      for (const SectionKind kind : also) {
        change_section(file, kind, false, [](std::span<std::byte> bytes) {
          for (std::size_t i = 0; i < bytes.size(); i += 512) bytes[i] ^= std::byte{0x77};
        });
      }
      // The other segment, which has to be asked for the slots of rows as well.
      const std::string& other =
          file == pristine_->graph_file ? pristine_->flat_file : pristine_->graph_file;
      change_section(other, SectionKind::sorted_row_ids, false,
                     [](std::span<std::byte> bytes) { bytes[9] ^= std::byte{1}; });
      Store store = Store::open(path());
      Expected left = expected();
      std::size_t lost = 0;
      const auto take = [&](const Collection&, std::span<const Record> records) {
        lost += records.size();
        for (const Record& record : records) {
          EXPECT_EQ(record.document, expected().at(record.id).document);
          left.erase(record.id);
        }
      };
      const CheckResult after = store.repair({}, take);
      for (const Problem& problem : after.problems) ADD_FAILURE() << problem.message;
      EXPECT_GE(lost, 1U);
      EXPECT_LE(lost, kSegmentPageBytes / 64);
      EXPECT_EQ(left.size() + lost, expected().size());
      EXPECT_EQ(differences(left, store.collection("vectors")), "");
      store.repair({}, take);
      EXPECT_EQ(left.size() + lost, expected().size());
      ASSERT_FALSE(HasFailure());
    }
  }
}

// Which row a slot is of stands in three sections.
TEST_F(Corrupt, DamagedRowIdsAreRebuilt) {
  for (const std::string& file : {pristine_->graph_file, pristine_->flat_file}) {
    restore();
    change_section(file, SectionKind::row_ids, false, [](std::span<std::byte> bytes) {
      for (std::size_t i = 0; i < 100; ++i) put<std::uint64_t>(bytes, i, 1'000'000);
    });
    ask_everything();
    expect_repair("section row_ids");
  }
}

// With these gone too nobody knows: that is said, and nothing is thrown that is not an Error.
TEST_F(Corrupt, RowIdsThatNothingTellsAreNamed) {
  for (const SectionKind also : {SectionKind::sorted_slots, SectionKind::sorted_row_ids}) {
    restore();
    const auto damage = [](std::span<std::byte> bytes) {
      for (std::size_t i = 0; i < bytes.size(); i += 64) bytes[i] ^= std::byte{0x77};
    };
    change_section(pristine_->graph_file, SectionKind::row_ids, false, damage);
    change_section(pristine_->graph_file, also, false, damage);
    for (const std::string& error : ask_everything()) {
      EXPECT_NE(error.find(pristine_->graph_file), std::string::npos) << error;
    }
    change_section(pristine_->graph_file, SectionKind::vectors, false,
                   [](std::span<std::byte> bytes) { bytes[64 * 40 + 3] ^= std::byte{0x10}; });
    EXPECT_TRUE(mentions(problems(), pristine_->graph_file));
    EXPECT_TRUE(mentions(problems(), "restore a backup"));
    Store store = Store::open(path());
    std::size_t lost = 0;
    const CheckResult after = store.repair(
        {}, [&](const Collection&, std::span<const Record> records) { lost += records.size(); });
    EXPECT_TRUE(mentions(after.problems, pristine_->graph_file));
    EXPECT_EQ(lost, 0u);
    EXPECT_EQ(store.collection("vectors").count(), expected().size());
  }
  // The same where only some of the slots are missing from what is left.
  restore();
  change_section(pristine_->graph_file, SectionKind::row_ids, false,
                 [](std::span<std::byte> bytes) { bytes[5] ^= std::byte{1}; });
  change_section(pristine_->graph_file, SectionKind::sorted_slots, true,
                 [](std::span<std::byte> bytes) { put<std::uint32_t>(bytes, 3, 0xFFFFFFFF); });
  change_section(pristine_->graph_file, SectionKind::row_ids, false,
                 [](std::span<std::byte> bytes) { bytes[5] ^= std::byte{1}; });
  Store store = Store::open(path());
  EXPECT_NO_THROW(store.repair());
  EXPECT_EQ(store.collection("vectors").count(), expected().size());
}

// R9: what is sound of the three is enough, where it names all rows.
TEST_F(Corrupt, RowIdsAreToldByWhatIsSoundOfAllThree) {
  const TempDirectory directory;
  const std::vector<Record> records = test_records(3000, kDim);
  std::string path;
  {
    Store store = Store::open(directory.file("pages"));
    Collection collection = store.create_collection("vectors", {.space = Space::l2});
    VectorSource source(records, 3000);
    collection.load(source);
    const CollectionInfo::Segment segment = collection.info().segments.at(0);
    ASSERT_FALSE(segment.has_graph);  // so that slots are in row order
    path = store.directory() + "/segments/" + segment.file;
  }
  std::string bytes = read_whole_file(path);
  const auto damage_page = [&](SectionKind kind, std::size_t page) {
    vkb::change_section(bytes, kind, [page](std::span<std::byte> section) {
      section[page * kSegmentPageBytes] ^= std::byte{0x77};
    });
  };
  damage_page(SectionKind::vectors, 0);
  damage_page(SectionKind::row_ids, 1);
  damage_page(SectionKind::sorted_row_ids, 2);
  damage_page(SectionKind::sorted_slots, 2);
  write_whole_file(path, bytes);
  Store store = Store::open(directory.file("pages"));
  Expected left = expected_of(records);
  const CheckResult after = store.repair({}, [&](const Collection&, std::span<const Record> lost) {
    for (const Record& record : lost) left.erase(record.id);
  });
  for (const Problem& problem : after.problems) ADD_FAILURE() << problem.message;
  EXPECT_EQ(left.size(), records.size() - kSegmentPageBytes / 64);
  EXPECT_EQ(differences(left, store.collection("vectors")), "");
}

// All of a segment, when it does not even open: what is left of its records is handed out, all
// others stay, and the file is kept.
TEST_F(Corrupt, ASegmentThatDoesNotOpenIsGivenUpOnDemand) {
  for (const std::string& file : {pristine_->graph_file, pristine_->flat_file}) {
    for (const std::string_view damage : {"cut", "longer", "gone", "other", "version"}) {
      SCOPED_TRACE(file + " " + std::string(damage));
      restore();
      const std::string bytes = read_whole_file(segment(file));
      if (damage == "cut") std::filesystem::resize_file(segment(file), bytes.size() - 1);
      if (damage == "longer") write_whole_file(segment(file), bytes + "x");
      if (damage == "gone") std::filesystem::remove(segment(file));
      if (damage == "version") {
        std::string changed = bytes;
        changed[offsetof(SegmentHeader, format_version) + 1] ^= '\x80';
        write_whole_file(segment(file), changed);
      }
      if (damage == "other") {
        const std::string& other =
            file == pristine_->graph_file ? pristine_->flat_file : pristine_->graph_file;
        write_whole_file(segment(file), read_whole_file(segment(other)));
      }
      for (const std::string& error : ask_everything()) {
        EXPECT_NE(error.find(file), std::string::npos) << error;
      }
      Store store = Store::open(path());
      EXPECT_TRUE(mentions(store.repair().problems, file));
      Expected left = expected();
      const CheckResult after =
          store.repair({}, [&](const Collection&, std::span<const Record> records) {
            for (const Record& record : records) {
              EXPECT_EQ(record.document, expected().at(record.id).document);
              left.erase(record.id);
            }
          });
      for (const Problem& problem : after.problems) ADD_FAILURE() << problem.message;
      EXPECT_GT(left.size(), 40U);
      EXPECT_LT(left.size(), expected().size());
      EXPECT_EQ(differences(left, store.collection("vectors")), "");
      EXPECT_EQ(std::filesystem::exists(path() + "/reports/" + file + ".damaged"),
                damage != "gone");
      ASSERT_FALSE(HasFailure());
    }
  }
}

// A damaged store can still be written where the damage allows it, and says so where not.
TEST_F(Corrupt, WritingNamesTheDamageToo) {
  std::filesystem::resize_file(segment(pristine_->graph_file), 5000);
  Store store = Store::open(path());
  Collection collection = store.collection("vectors");
  VKB_EXPECT_ERROR(collection.add(test_records(1, kDim, 9, "new")), ErrorCode::corruption,
                   pristine_->graph_file);
  VKB_EXPECT_ERROR(collection.compact(), ErrorCode::corruption, pristine_->graph_file);
  EXPECT_EQ(collection.count(), expected().size());
  Collection other = store.create_collection("other");
  other.add(test_records(3, 4));
  EXPECT_EQ(other.count(), 3u);
}

}  // namespace
}  // namespace vkb
