// SPDX-License-Identifier: Apache-2.0
// Chroma's own JavaScript client (npm install chromadb) on `vkb serve --path kb`:
//
//     node docs/examples/with_chroma.mjs localhost 8000
import { ChromaClient } from "chromadb";

const [host = "localhost", port = "8000"] = process.argv.slice(2);
const client = new ChromaClient({ host, port: Number(port), ssl: false });

// Vectors are given here. With an embeddingFunction, documents and queryTexts do.
const animals = await client.getOrCreateCollection({
  name: "animals_javascript",
  embeddingFunction: null,
});
await animals.upsert({
  ids: ["dog", "bird", "fish"],
  embeddings: [[1, 0], [0, 1], [0.6, 0.8]],
  documents: ["A dog barks.", "A bird sings.", "A fish swims."],
  metadatas: [{ legs: 4 }, { legs: 2 }, { legs: 0 }],
});
console.log("nearest:", (await animals.query({ queryEmbeddings: [[1, 0.1]], nResults: 2 })).ids[0]);
console.log("with legs:", (await animals.get({ where: { legs: { $gt: 0 } } })).documents);
console.log("swims:", (await animals.get({ whereDocument: { $contains: "swims" } })).ids);
