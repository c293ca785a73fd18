// Sentences to vectors with onnxruntime-web (WebAssembly) and @huggingface/tokenizers, the same code as in a page:
// node onnxruntime_web.mjs FOLDER NAME [EXPECTED]
import { existsSync, readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";
import { Tokenizer } from "@huggingface/tokenizers";

const [folder, name, file] = process.argv.slice(2);
if (!name) {
  console.error("usage: node onnxruntime_web.mjs FOLDER NAME [EXPECTED]");
  process.exit(2);
}
const json = (path) => JSON.parse(readFileSync(path, "utf-8"));

ort.env.wasm.numThreads = 1;
const settings = json(`${folder}/tokenizer_config.json`);
const tokenizer = new Tokenizer(json(`${folder}/tokenizer.json`), settings);
const path = `${name}_data`, weights = `${folder}/onnx/${path}`; // WebAssembly cannot open a second file by itself
const externalData = existsSync(weights) ? [{ path, data: readFileSync(weights) }] : [];
const session = await ort.InferenceSession.create(readFileSync(`${folder}/onnx/${name}`), { externalData });

// The last id is the closing special token, if there is one; a bag of tokens has no limit.
const limit = settings.model_max_length;
const cut = (ids) => (ids.length > limit ? [...ids.slice(0, limit - 1), ids.at(-1)] : ids);

async function embed(text) {
  const ids = cut(tokenizer.encode(text).ids);
  const tensor = (value) => new ort.Tensor("int64", BigInt64Array.from(ids, value), [1, ids.length]);
  const feed = { input_ids: tensor(BigInt), attention_mask: tensor(() => 1n), token_type_ids: tensor(() => 0n) };
  return (await session.run(feed)).sentence_embedding.data;
}

const expected = json(file ?? `${folder}/onnx/expected.json`);
let worst = 1;
for (const { text, vector } of expected.texts.filter(({ text }) => text)) {
  const found = await embed(text);
  worst = Math.min(worst, vector.reduce((sum, value, i) => sum + value * found[i], 0));
}
console.log(`worst cosine ${worst.toFixed(7)} of ${expected.texts.length} texts`);
process.exit(!(worst >= expected.artifacts[name].worst_cosine) ? 1 : 0);
