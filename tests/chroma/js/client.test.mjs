// SPDX-License-Identifier: Apache-2.0
// The unmodified npm client over every method. CHROMA_PORT is the server's, CHROMA_ENGINE is "vkb" or
// "chroma" (the real server, on which the same tests hold).
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  AdminClient,
  ChromaClient,
  ChromaClientError,
  ChromaConnectionError,
  ChromaNotFoundError,
  ChromaServerError,
  ChromaUniqueError,
  ChromaValueError,
  K,
  Knn,
  registerEmbeddingFunction,
  Search,
} from "chromadb";

const place = { host: "127.0.0.1", port: Number(process.env.CHROMA_PORT), ssl: false };
const real = process.env.CHROMA_ENGINE === "chroma";
const client = new ChromaClient(place);
const admin = new AdminClient(place);
const IDS = ["dog", "bird", "fish"];
const VECTORS = [[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0]];
const DOCUMENTS = ["A dog barks.", "Ein Vögelchen singt 鳥", "100% fish_and\nchips"];
const METADATAS = [
  { kind: "mammal", legs: 4, weight: 9.5, tame: true, tags: ["loud", "brown"] },
  { kind: "bird", legs: 2, weight: 0.25, tame: false, sizes: [1, 2, 3] },
  { kind: "fish", legs: 0, weight: 2.5, tame: false },
];
const URIS = ["file:///dog", "file:///bird", "https://fish.example/ü"];

class WordLengths {
  name = "vkb-test-lengths";
  async generate(texts) {
    return texts.map((text) => [text.length, text.split(" ").length]);
  }
  getConfig() {
    return { version: 1 };
  }
  static buildFromConfig() {
    return new WordLengths();
  }
}
registerEmbeddingFunction("vkb-test-lengths", WordLengths);

const create = (name, rest = {}) =>
  client.createCollection({ name, embeddingFunction: null, ...rest });

async function animals() {
  const made = await create("animals");
  await made.add({
    ids: IDS, embeddings: VECTORS, documents: DOCUMENTS, metadatas: METADATAS, uris: URIS,
  });
  return made;
}

beforeEach(() => client.reset());

test("these are all methods of the client", () => {
  const methods = (kind) =>
    Object.getOwnPropertyNames(kind.prototype).filter(
      (name) =>
        name[0] !== "_" && typeof Object.getOwnPropertyDescriptor(kind.prototype, name).value ===
        "function" && name !== "constructor",
    ).sort();
  assert.deepEqual(methods(ChromaClient), [
    "collection", "countCollections", "createCollection", "deleteCollection", "getCollection",
    "getCollectionByCrn", "getCollectionById", "getCollections", "getMaxBatchSize",
    "getOrCreateCollection", "getPreflightChecks", "getUserIdentity", "heartbeat",
    "listCollections", "reset", "supportsBase64Encoding", "version",
  ]);
  assert.deepEqual(methods(AdminClient), [
    "createDatabase", "createTenant", "deleteDatabase", "getDatabase", "getTenant",
    "listDatabases",
  ]);
});

test("the server about itself", async () => {
  assert.ok((await client.heartbeat()) > 1e18);
  assert.match(await client.version(), /^\d+\.\d+\.\d+$/);
  assert.equal(await client.getMaxBatchSize(), 5461);
  assert.equal(await client.supportsBase64Encoding(), true);
  assert.equal((await client.getPreflightChecks()).max_batch_size, 5461);
  const identity = await client.getUserIdentity();
  assert.equal(identity.tenant, "default_tenant");
  assert.deepEqual(identity.databases, ["default_database"]);
});

test("a server that is not there", async () => {
  await assert.rejects(new ChromaClient({ ...place, port: 1 }).heartbeat(), ChromaConnectionError);
});

test("tenants and databases", async () => {
  await admin.createTenant({ name: "tenant_1" });
  assert.ok(await admin.getTenant({ name: "tenant_1" }));
  await assert.rejects(admin.getTenant({ name: "nope" }), ChromaNotFoundError);
  await assert.rejects(admin.createTenant({ name: "tenant_1" }), ChromaUniqueError);
  for (const name of ["zebra", "apple"]) await admin.createDatabase({ name, tenant: "tenant_1" });
  const listed = await admin.listDatabases({ tenant: "tenant_1" });
  assert.deepEqual(listed.map((each) => each.name), ["apple", "zebra"]);
  const page = await admin.listDatabases({ tenant: "tenant_1", limit: 1, offset: 1 });
  assert.deepEqual(page.map((each) => each.name), ["zebra"]);
  const found = await admin.getDatabase({ name: "apple", tenant: "tenant_1" });
  assert.equal(found.tenant, "tenant_1");
  const there = new ChromaClient({ ...place, tenant: "tenant_1", database: "apple" });
  await there.createCollection({ name: "things", embeddingFunction: null });
  assert.equal(await there.countCollections(), 1);
  assert.equal(await client.countCollections(), 0);
  await admin.deleteDatabase({ name: "apple", tenant: "tenant_1" });
  await assert.rejects(admin.getDatabase({ name: "apple", tenant: "tenant_1" }), ChromaNotFoundError);
});

test("creating, getting, listing and deleting collections", async () => {
  const made = await create("things", { metadata: { a: 1, b: "é", c: 1.5, d: true } });
  const found = await client.getCollection({ name: "things" });
  assert.equal(found.id, made.id);
  assert.deepEqual(found.metadata, { a: 1, b: "é", c: 1.5, d: true });
  assert.equal((await client.getCollectionById(made.id)).name, "things");
  await assert.rejects(create("things"), ChromaUniqueError);
  const same = await client.getOrCreateCollection({ name: "things", embeddingFunction: null });
  assert.equal(same.id, made.id);
  const other = await client.getOrCreateCollection({ name: "others", embeddingFunction: null });
  const listed = await client.listCollections();
  assert.deepEqual(listed.map((c) => c.id), [made.id, other.id].sort());
  assert.equal((await client.listCollections({ limit: 1, offset: 1 })).length, 1);
  assert.equal(await client.countCollections(), 2);
  const both = await client.getCollections(["things", "others"]);
  assert.deepEqual(both.map((c) => c.name), ["things", "others"]);
  await client.deleteCollection({ name: "things" });
  await assert.rejects(client.getCollection({ name: "things" }), ChromaNotFoundError);
  await assert.rejects(client.deleteCollection({ name: "things" }), ChromaNotFoundError);
  await assert.rejects(made.count(), ChromaNotFoundError);
});

test("a collection by its resource name", async () => {
  const made = await create("things");
  const asked = client.getCollectionByCrn("default_tenant:default_database:things");
  if (real) return assert.rejects(asked); // its thread panics
  assert.equal((await asked).id, made.id);
});

test("names that are refused", async () => {
  for (const name of ["ab", "a b c", "-abc", "1.2.3.4", "x..y"]) {
    await assert.rejects(create(name), ChromaClientError, name);
  }
});

test("a handle by UUID needs no look-up", async () => {
  const made = await animals();
  assert.equal(await client.collection(made.id).count(), 3);
});

test("configuration, schema and embedding function are kept", async () => {
  const made = await client.createCollection({
    name: "things",
    configuration: { hnsw: { space: "cosine", ef_search: 33 } },
    embeddingFunction: new WordLengths(),
  });
  assert.equal(made.configuration.hnsw.space, "cosine");
  await made.add({ ids: ["a", "b"], documents: ["one two three", "x"] });
  const again = await client.getCollection({ name: "things" });
  assert.equal(again.configuration.hnsw.ef_search, 33);
  assert.equal(again.embeddingFunction.name, "vkb-test-lengths");
  const hits = await again.query({ queryTexts: ["four five sixes"], nResults: 1 });
  assert.deepEqual(hits.ids, [["a"]]);
  assert.ok(again.schema);
});

test("modifying a collection", async () => {
  const made = await create("things", { metadata: { a: 1 } });
  await made.modify({ name: "renamed", metadata: { b: 2 } });
  await made.modify({ configuration: { hnsw: { ef_search: 77 } } });
  const again = await client.getCollection({ name: "renamed" });
  assert.equal(again.id, made.id);
  assert.deepEqual(again.metadata, { b: 2 });
  assert.equal(again.configuration.hnsw.ef_search, 77);
  await create("other");
  await assert.rejects(made.modify({ name: "other" }), real ? ChromaServerError : ChromaUniqueError);
});

test("get, count and peek", async () => {
  const made = await animals();
  const all = await made.get({ include: ["embeddings", "documents", "metadatas", "uris"] });
  assert.deepEqual(all.ids, IDS);
  assert.deepEqual(all.documents, DOCUMENTS);
  assert.deepEqual(all.metadatas, METADATAS);
  assert.deepEqual(all.uris, URIS);
  assert.deepEqual(all.embeddings.map((v) => v.map((x) => Math.round(x * 10) / 10)), VECTORS);
  assert.deepEqual([...all.include].sort(), ["documents", "embeddings", "metadatas", "uris"]);
  assert.deepEqual(all.rows()[1].document, DOCUMENTS[1]);
  assert.equal(await made.count(), 3);
  assert.equal(await made.count({ readLevel: "index_and_wal" }), 3);
  assert.deepEqual((await made.peek({ limit: 2 })).ids, IDS.slice(0, 2));
  assert.deepEqual((await made.get({ ids: ["fish", "nope", "dog"] })).ids, ["dog", "fish"]);
  assert.deepEqual((await made.get({ limit: 1, offset: 1 })).ids, ["bird"]);
});

test("the grammar of where and whereDocument", async () => {
  const made = await animals();
  const ids = async (where) => (await made.get({ where })).ids;
  assert.deepEqual(await ids({ kind: "bird" }), ["bird"]);
  assert.deepEqual(await ids({ kind: { $ne: "bird" } }), ["dog", "fish"]);
  assert.deepEqual(await ids({ legs: { $gt: 0 } }), ["dog", "bird"]);
  assert.deepEqual(await ids({ weight: { $lte: 2.5 } }), ["bird", "fish"]);
  assert.deepEqual(await ids({ tame: true }), ["dog"]);
  assert.deepEqual(await ids({ kind: { $in: ["fish", "dog"] } }), ["fish"]);
  assert.deepEqual(await ids({ legs: { $nin: [0, 4] } }), ["bird"]);
  assert.deepEqual(await ids({ tags: { $contains: "loud" } }), ["dog"]);
  assert.deepEqual(await ids({ sizes: { $not_contains: 2 } }), ["dog", "fish"]);
  assert.deepEqual(await ids({ $and: [{ legs: { $gte: 2 } }, { tame: false }] }), ["bird"]);
  assert.deepEqual(await ids({ $or: [{ legs: 0 }, { kind: "mammal" }] }), ["dog", "fish"]);
  const documents = async (whereDocument) => (await made.get({ whereDocument })).ids;
  assert.deepEqual(await documents({ $contains: "Vögel" }), ["bird"]);
  assert.deepEqual(await documents({ $contains: "%" }), ["fish"]);
  assert.deepEqual(await documents({ $not_contains: "dog" }), ["bird", "fish"]);
  assert.deepEqual(await documents({ $regex: "^A|chips$" }), ["dog", "fish"]);
  assert.deepEqual(await documents({ $not_regex: "鳥" }), ["dog", "fish"]);
  const both = { $and: [{ $contains: "i" }, { $not_contains: "fish" }] };
  assert.deepEqual(await documents(both), ["bird"]);
});

test("query", async () => {
  const made = await animals();
  const hits = await made.query({
    queryEmbeddings: [[1, 0, 0], [0, 2, 0]],
    nResults: 2,
    include: ["distances", "documents", "metadatas", "embeddings", "uris"],
  });
  assert.deepEqual(hits.ids, [["dog", "fish"], ["bird", "fish"]]);
  assert.deepEqual(hits.distances[0].map((d) => Math.round(d * 1e4) / 1e4), [0, 0.8]);
  assert.deepEqual(hits.documents[0], [DOCUMENTS[0], DOCUMENTS[2]]);
  assert.deepEqual(hits.uris[1], [URIS[1], URIS[2]]);
  assert.equal(hits.rows()[0][0].metadata.kind, "mammal");
  const near = { queryEmbeddings: [[1, 0, 0]] };
  assert.deepEqual((await made.query({ ...near, where: { tame: false } })).ids, [["fish", "bird"]]);
  assert.deepEqual((await made.query({ ...near, ids: ["bird"] })).ids, [["bird"]]);
  const withText = { ...near, whereDocument: { $contains: "singt" } };
  assert.deepEqual((await made.query(withText)).ids, [["bird"]]);
});

test("add, update, upsert and delete", async () => {
  const made = await animals();
  await made.add({ ids: ["dog"], embeddings: [[9, 9, 9]], documents: ["ignored"] });
  await made.update({ ids: ["dog", "nope"], metadatas: [{ legs: 3 }, { a: 1 }] });
  await made.upsert({
    ids: ["bird", "cat"], embeddings: [[0, 0, 1], [0, 0, 2]], documents: ["new bird", "cat"],
  });
  const all = await made.get({ include: ["documents", "metadatas", "embeddings"] });
  assert.deepEqual(all.ids, [...IDS, "cat"]);
  assert.deepEqual(all.documents, [DOCUMENTS[0], "new bird", DOCUMENTS[2], "cat"]);
  assert.deepEqual(all.metadatas[0], { ...METADATAS[0], legs: 3 });
  assert.deepEqual(all.metadatas[1], METADATAS[1]);
  assert.deepEqual(all.embeddings[0], VECTORS[0]);
  assert.deepEqual(all.embeddings[1], [0, 0, 1]);
  assert.equal((await made.delete({ ids: ["cat"] })).deleted, 1);
  assert.equal((await made.delete({ where: { tame: false }, limit: 1 })).deleted, 1);
  assert.equal((await made.delete({ whereDocument: { $contains: "fish" } })).deleted, 1);
  assert.deepEqual((await made.get()).ids, ["dog"]);
});

test("what is refused", async () => {
  const made = await animals();
  const refused = (call, kind, text) =>
    assert.rejects(call, (error) => error instanceof kind && text.test(error.message));
  const one = { ids: ["x"], embeddings: [[1, 2]] };
  await refused(made.add(one), ChromaClientError, /dimension of 3, got 2/);
  await refused(made.query({ queryEmbeddings: [[1]] }), ChromaClientError, /dimension of 3, got 1/);
  await refused(made.get({ whereDocument: { $regex: "(" } }), ChromaClientError, /Regex syntax/);
  await refused(made.add({ ids: ["a", "a"], embeddings: [[1], [2]] }), ChromaValueError, /duplicate/);
  await refused(made.get({ where: { a: { $zz: 1 } } }), ChromaValueError, /operator/);
  await refused(made.add({ ids: [], embeddings: [] }), ChromaValueError, /empty/);
  const unknown = made.query({ queryEmbeddings: [[1, 0, 0]], ids: ["nope"] });
  await refused(unknown, ChromaServerError, /./);
  assert.equal(await made.count(), 3);
});

test("the largest batch, and any text as id", async () => {
  const made = await create("large");
  const ids = Array.from({ length: 5461 }, (_, n) => `id ${n} é鳥😀/?#`);
  await made.add({ ids, embeddings: ids.map((_, n) => [n, 1, 0.5, 0.25]) });
  assert.equal(await made.count(), 5461);
  assert.deepEqual((await made.query({ queryEmbeddings: [[4000, 1, 0, 0]], nResults: 1 })).ids, [
    [ids[4000]],
  ]);
  const more = { ids: [...ids, "one more"], embeddings: [...ids, 1].map(() => [1, 2, 3, 4]) };
  await assert.rejects(made.add(more), ChromaValueError);
});

test("what only a distributed Chroma, and vkb, can do", async () => {
  const made = await animals();
  const search = new Search().rank(Knn({ query: [1, 0, 0], limit: 3 })).limit(2)
    .select(K.DOCUMENT, K.SCORE);
  if (real) {
    await assert.rejects(made.search(search), ChromaServerError);
    await assert.rejects(made.getIndexingStatus(), ChromaServerError);
    await assert.rejects(made.fork({ name: "copy" }), ChromaServerError);
    return;
  }
  const found = await made.search(search);
  assert.deepEqual(found.ids, [["dog", "fish"]]);
  assert.deepEqual(found.documents, [[DOCUMENTS[0], DOCUMENTS[2]]]);
  const status = await made.getIndexingStatus();
  assert.equal(status.total_ops ?? status.totalOps, 3);
  const copy = await made.fork({ name: "copy" });
  await copy.delete({ ids: ["dog"] });
  assert.equal(await made.count(), 3);
  assert.equal(await copy.count(), 2);
});

test("the number of forks is not told", async () => {
  await assert.rejects((await create("things")).forkCount(), ChromaServerError);
});
