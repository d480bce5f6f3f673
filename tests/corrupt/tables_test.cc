// SPDX-License-Identifier: Apache-2.0
//
// Rows of the database that do not fit each other, as a bug or a hand would leave them: named, and
// mended where they are made from others (R8, R9).
#include "tests/corrupt/corrupt_store.h"

namespace vkb {
namespace {

TEST_F(Corrupt, AVectorOfTheWrongSizeInTheLog) {
  sql("UPDATE vector_log SET vector=x'00112233' WHERE seq=(SELECT max(seq) FROM vector_log)");
  const std::vector<std::string> errors = ask_everything();
  ASSERT_FALSE(errors.empty());
  for (const std::string& error : errors) EXPECT_NE(error.find("vector_log"), std::string::npos);
  EXPECT_TRUE(mentions(problems(false), "vector_log"));
  EXPECT_TRUE(mentions(problems(false), "the vector of record 'r100'"));
}

TEST_F(Corrupt, ARecordWithoutAVectorAndAVectorWithoutARecord) {
  sql("DELETE FROM vector_log WHERE seq=(SELECT min(seq) FROM vector_log WHERE vector NOT NULL);"
      "DELETE FROM record WHERE id='r200'");
  for (const std::string& error : ask_everything(true)) {
    EXPECT_NE(error.find("record"), std::string::npos) << error;
  }
  const std::vector<Problem> found = problems(false);
  EXPECT_TRUE(mentions(found, "' has a record but no vector"));
  EXPECT_TRUE(mentions(found, "id 'r200' has a vector but no record"));
  EXPECT_TRUE(mentions(found, "counts "));
  // Half a record is given up, if that may be, and handed out.
  Store store = Store::open(path());
  EXPECT_TRUE(mentions(store.repair().problems, "has a record but no vector"));
  std::vector<Record> lost;
  EXPECT_TRUE(store
                  .repair({},
                          [&](const Collection&, std::span<const Record> records) {
                            lost.insert(lost.end(), records.begin(), records.end());
                          })
                  .problems.empty());
  ASSERT_EQ(lost.size(), 2U);
  EXPECT_EQ(lost[0].id, "r200");
  EXPECT_EQ(lost[0].embedding, expected().at("r200").embedding);
  EXPECT_EQ(lost[1].document, expected().at(lost[1].id).document);
  Expected left = expected();
  for (const Record& record : lost) left.erase(record.id);
  EXPECT_EQ(differences(left, store.collection("vectors")), "");
}

// Damage where nothing is kept harms no answer, but every backup reads it.
TEST_F(Corrupt, FreePagesAreWrittenAnewToo) {
  sql("CREATE TABLE filler(x); INSERT INTO filler SELECT zeroblob(7000) FROM record LIMIT 100;"
      "DROP TABLE filler");
  std::string bytes = read_whole_file(database());
  bytes[bytes.size() - 8192 * 20 + 100] ^= 1;
  write_whole_file(database(), bytes);
  EXPECT_TRUE(ask_everything().empty());
  const std::string backup = directory_.file("backup");
  VKB_EXPECT_ERROR(Store::open(path()).backup(backup), ErrorCode::corruption, "run `vkb check`");
  expect_repair("nothing is kept in it, but no backup can be made");
  Store::open(path()).backup(backup);
}

TEST_F(Corrupt, MetadataThatIsNotJson) {
  sql("UPDATE record SET metadata='{broken' WHERE id='r300'");
  const std::vector<std::string> errors = ask_everything();
  ASSERT_FALSE(errors.empty());
  for (const std::string& error : errors) {
    EXPECT_NE(error.find("record 'r300'"), std::string::npos) << error;
  }
  EXPECT_TRUE(mentions(problems(), "record 'r300'"));
}

TEST_F(Corrupt, TheMetadataIndexIsRebuilt) {
  const std::string differs = "does not agree with the records";
  sql("DELETE FROM posting_block WHERE block_id % 2 = 0");
  ask_everything(true);
  expect_repair(differs);
  sql("INSERT OR IGNORE INTO posting SELECT key_id, first_value, 1 FROM posting_block");
  expect_repair(differs);
  sql("INSERT INTO posting_removed SELECT key_id, first_value, 1 FROM posting_block");
  expect_repair(differs);
  for (const char* column : {"rows", "entries"}) {
    sql(std::string("UPDATE posting_block SET ") + column + "=zeroblob(length(" + column +
        ")) WHERE " + column + " NOT NULL");
    ask_everything();
    expect_repair("metadata index, block");
  }
  sql("DELETE FROM posting_block");
  expect_repair(differs);
}

TEST_F(Corrupt, TheDocumentIndexIsRebuilt) {
  sql("UPDATE document_trigram_1_data SET block=zeroblob(length(block)) WHERE id>10");
  ask_everything(true);
  expect_repair("document index of collection vectors");
  sql("DELETE FROM document_trigram_1_data WHERE id=10");
  EXPECT_FALSE(ask_everything().empty());
  expect_repair("document index of collection vectors");
  sql("INSERT INTO document_trigram_1(document_trigram_1, rowid, document)"
      " VALUES('delete', 418, 'document 417')");
  ask_everything(true);  // a row that the index does not name is not found
  expect_repair("document index of collection vectors");
}

TEST_F(Corrupt, CountsAndStrayTombstonesAreMended) {
  sql("UPDATE collection SET record_count=record_count+5");
  expect_repair("counts ");
  sql("INSERT INTO tombstone SELECT segment_id, row_count+9, 1 FROM segment");
  EXPECT_FALSE(ask_everything().empty());
  expect_repair("tombstone for slot");
}

TEST_F(Corrupt, ATombstoneTooManyIsNamed) {
  sql("INSERT OR IGNORE INTO tombstone SELECT segment_id, 5, 1 FROM segment");
  ask_everything(true);
  EXPECT_TRUE(mentions(problems(false), "has a record but no vector"));
}

}  // namespace
}  // namespace vkb
