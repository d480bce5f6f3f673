// SPDX-License-Identifier: Apache-2.0
#include "tools/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace vkb {
namespace {

TEST(Terminal, OneLineIsShortAndHarmless) {
  EXPECT_EQ(one_line("", 10), "");
  EXPECT_EQ(one_line(" \n\t ", 10), "");
  EXPECT_EQ(one_line("\n  first  \nsecond", 10), "first…");
  EXPECT_EQ(one_line("only\n", 10), "only");
  EXPECT_EQ(one_line("a\x1b[31mred\x07", 10), "a [31mred");
  EXPECT_EQ(one_line("äöüß", 3), "äöü…");
  EXPECT_EQ(one_line("äöü", 3), "äöü");
}

TEST(Terminal, PasswordsAreNeverSaid) {
  EXPECT_EQ(safe_message("redis://user:secret@host:1/0: refused"), "redis://***@host:1/0: refused");
  EXPECT_EQ(safe_message("redis://:se@c/ret@host 'rediss://u:p@h'"),
            "redis://***@host 'rediss://***@h'");
  EXPECT_EQ(safe_message("http://127.0.0.1:80 no a@b"), "http://127.0.0.1:80 no a@b");
  EXPECT_EQ(safe_message("two\nlines\n"), "two lines");
}

TEST(Terminal, NumbersForPeople) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1234), "1.23 kB");
  EXPECT_EQ(human_bytes(3600000000), "3.60 GB");
}

TEST(Terminal, ProgressSaysRateAndTimeLeft) {
  EXPECT_EQ(progress_line("load", "records", 0, 0, 0, 0), "load 0 records");
  EXPECT_EQ(progress_line("load", "records", 1200, 5000, 0, 4),
            "load 1,200/5,000 records (24 %), 300 records/s, 13 s left");
  EXPECT_EQ(progress_line("check", "", 5, 0, 0, 1), "check 5, 5.0/s");
  // Resumed at 1,000: the rate is that of this run.
  EXPECT_EQ(progress_line("load", "records", 2000, 302000, 1000, 1),
            "load 2,000/302,000 records (1 %), 1000 records/s, 5 min left");
}

TEST(Output, AFullDiskIsAnError) {
  const int fd = open("/dev/full", O_WRONLY);
  ASSERT_GE(fd, 0);
  Output out(fd, "stdout");
  out.write("text");
  try {
    out.flush();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error);
    EXPECT_NE(std::string(error.what()).find("stdout"), std::string::npos);
  }
  close(fd);
}

TEST(Output, AClosedPipeIsNoMessage) {
  signal(SIGPIPE, SIG_IGN);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  Output out(ends[1], "stdout");
  EXPECT_THROW(out.write(std::string(1 << 17, 'x')), OutputClosed);
  close(ends[1]);
}

}  // namespace
}  // namespace vkb
