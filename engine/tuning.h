// SPDX-License-Identifier: Apache-2.0
//
// Constants that were set by measuring, each with the measurement.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vkb {

// Graph search: how many of the best codes are compared by f32, for the k nearest. search_bench,
// 100,000 x 768 real embeddings, cosine, M 16, ef 128, recall@10 by rows compared: 10 .9891,
// 11 .9946, 12 .9950, 14 and more .9951, and at ef 256: .9922, .9979, .9984, .9985. Each costs half
// a microsecond when it comes from memory: 30 were 7 % of a query. More than that data needs, for
// data with less even components.
constexpr std::size_t graph_rerank(std::size_t k) noexcept { return k + k / 2 + 2; }

// The same of four-bit codes. 545,177 rows, of the 250 nearest the 10 nearest are among so many by
// codes: 12 .983, 14 .997, 17 1.000; by two bits 17 .972, 20 .986, 24 .995; of data all to one side
// (the mean .9 long), by four bits: 17 .969, 20 .986, 24 .995. ef 256, k 1, recall by so many
// compared: 2 .975, 5 .982.
constexpr std::size_t graph_rerank_int4(std::size_t k) noexcept { return k < 4 ? k + 4 : 2 * k; }

// Segments with one-bit codes and rows of at least so many components are ranked by four-bit codes.
// With fewer, an int8 code is six cache lines or less, and four bits tell too little.
inline constexpr std::size_t kInt4MinDim = 384;

// With fewer components one byte for each tells close neighbours apart too badly: all candidates of
// a walk are compared by f32, and flat search uses nothing else. 300 vectors (1, i): top 10 of
// codes alone agree with the exact ones to 0.72.
inline constexpr std::size_t kCodesMinDim = 128;

// A walk by one-bit codes keeps a quarter more than ef, to find what a walk by int8 codes finds.
// recall@10, 545,177 rows, ef 96 128 192: int8 .9373 .9523 .9700, one-bit without it .9127 .9425
// .9640, with it .9375 .9525 .9742.
inline constexpr std::size_t kBitWalkExtra = 4;

// Rows of a graph are stored in groups that link to each other. 545,177 rows, ef 128, in
// microseconds by rows in a group 1 8 16 64 (in turn, twice): 177 131 126 141; 171 - 132 141.
// Breadth-first from the entry point is the 1.
inline constexpr std::size_t kGraphGroup = 16;

// Segments with fewer rows are walked by int8 codes: they fit into the caches well enough.
inline constexpr std::size_t kBitCodesMinRows = 20'000;

// Flat search over codes: the same, of all selected rows (recall@10 1.000 on that data, filtered
// or not).
inline constexpr std::size_t kFlatRerankFactor = 2;
inline constexpr std::size_t kFlatRerankExtra = 10;

// The same over one-bit codes: how many of them go on to four-bit or int8 codes.
inline constexpr std::size_t kFlatBitFactor = 20;
inline constexpr std::size_t kFlatBitExtra = 200;

// Rows that are compared in one go by codes, the next of them asked for from memory meanwhile: as
// many as the AVX-512 kernel takes at once.
inline constexpr std::size_t kRankBatch = 4;
// How many rows ahead of the one being compared vectors are asked for. search_bench, ef 128,
// microseconds a query by rows 0 1 2 3 4: 100,000 rows 185 177 174 172 178; 545,177 rows 348 334
// 325 330 345.
inline constexpr std::size_t kVectorPrefetchAhead = 2;

// Walks of one call that take turns, step by step, so that each one's memory has the others' steps
// to answer. 545,177 rows, ef 128, a batch of 64: 1.10 to 1.13 times the queries of single calls,
// 1.06 one after the other.
inline constexpr std::size_t kWalksAtOnce = 4;

// A walk over a graph that is not in memory: lists of links that are read ahead. First answer of a
// fresh process, 545,177 rows, page cache dropped, milliseconds by lists 0 1 4 8 16: 45 48 40
// 39 41.
inline constexpr std::size_t kListsAhead = 8;
// Flat search of what is not in memory: rows whose codes or vectors are read in one go.
inline constexpr std::uint32_t kScanAhead = 2048;

// Flat search: rows compared in one go; a word of a bitmap, so that a dense one fills it at once.
inline constexpr std::size_t kFlatBatch = 64;

// Building a graph: once so many rows are there, a projection is fitted to them and walks go by
// one-bit codes: as many as make a segment that is walked by them.
inline constexpr std::uint64_t kBuildBitRows = kBitCodesMinRows;
// Such a walk keeps a quarter more than ef_construction, and neighbours are chosen among all it
// keeps. recall@10, 545,177 rows, ef_construction 200, ef 64 128 256: int8 .9126 .9671 .9894,
// one-bit, choosing among the best 200 of 250 .9058 .9615 .9881, among 250 .9117 .9649 .9893, among
// 320 .9098 .9678 .9896; 9,730 vectors a second with 250, 7,641 with 320.
inline constexpr std::uint32_t kBuildWalkExtra = 4;

// Segments with fewer rows stay flat: comparing with every code takes less than walking a graph
// gains.
inline constexpr std::size_t kGraphMinRows = 4096;

// Log entries that make the background thread seal: the log is searched exactly, row by row.
inline constexpr std::size_t kSealRows = 2048;

// Records whose documents are not indexed that make the background thread index them: a document
// filter reads them one by one, at about a microsecond each.
inline constexpr std::uint64_t kIndexRows = 2048;

// Entries outside the blocks of the metadata index, or removals, that make the background thread
// merge them: a filter reads those that match one by one, at about a microsecond each.
inline constexpr std::uint64_t kMergePostings = 8192;
// It merges until it has written so many blocks, of some 16 kB each, before it lets a writer in.
inline constexpr std::uint64_t kMergeBlocks = 256;

// The background thread merges segments of similar size when there are so many,
inline constexpr std::size_t kMergeMinSegments = 4;
// and rewrites a segment when more than one in so many of its rows are dead.
inline constexpr std::uint64_t kMergeDeadShare = 3;

// A load rebuilds an existing graph together with the new rows when they are at least one in so
// many of its rows.
inline constexpr std::uint64_t kRebuildShare = 4;

// The ids of a segment's records are looked up one by one, at some five microseconds, when the
// segment has less than one in so many of the collection's records, else read with all others.
inline constexpr std::uint64_t kIdScanShare = 4;

// Pages of the log, of 8 kB each, at which a load checkpoints. An import of 545,177 records wrote
// 15.0 GB with batches of 1,000 and the usual 4,000 pages, 11.8 GB with batches of 4,000 and this.
inline constexpr int kLoadCheckpointPages = 16'000;

// Compiled filters that a collection keeps, at one bit a row each: a megabyte of them for half a
// million rows.
inline constexpr std::size_t kCachedFilters = 16;
// Bytes of a filter that is kept: some hundred operands. A request may hold forty megabytes of
// them.
inline constexpr std::size_t kLargestCachedFilter = 16'384;

// Filtered walks: how many lists of rows that are not selected are asked for ahead, and from how
// many places in the segment they start.
inline constexpr std::size_t kBridgesAhead = 4;
inline constexpr std::uint32_t kSelectedStarts = 32;

// Filtered queries compare with every match when at most one row in so many matches, else walk the
// graph. 545,177 rows, ef 192, recall@10 and p50 in microseconds: a filter that takes a tenth of
// them, rows much alike, .934 and 553 by walking, 1.000 and 900 by comparing with all; one that
// takes a half .993 and 515, 1.000 and 2,600.
inline constexpr std::size_t kExactShare = 8;
// A step of such a walk stops looking for more rows when it has as many as so many lists hold.
// recall@10 of the two filters by lists 1 2 3: .929 .934 .935; .988 .993 .993.
inline constexpr std::size_t kBridgedLists = 2;

// check() asks for so many rows of a graph by their own vectors, and looks where their links lead.
inline constexpr std::uint32_t kCheckedRows = 200;
// Links of a sound graph lead to rows that are nearer than others, whatever m, ef_construction and
// vectors are. Of those of the sample, that were no farther than a random row: 5,000 to 100,000
// vectors of 8, 32 and 768 dimensions, embeddings, uniform, in clusters, many equal, cosine and l2,
// m 2 to 16, ef_construction 2 to 200: .971 to 1.000. With the lists of other rows: .44 to .63. Of
// inner products .48 to 1.000.
inline constexpr double kLeastNearLinks = 0.75;
// Judged when the graph has so many rows for each place in a list: with fewer, many are near.
inline constexpr std::uint64_t kCheckedListShare = 8;

}  // namespace vkb
