// Sentences to vectors with @huggingface/transformers: node transformers_js.mjs FOLDER DTYPE [EXPECTED]
// DTYPE names the file: fp32 model.onnx, fp16 model_fp16.onnx, int8 model_int8.onnx, q8 model_quantized.onnx, q4 model_q4.onnx
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { env, pipeline } from "@huggingface/transformers";

const [folder, dtype, file] = process.argv.slice(2);
if (!dtype) {
  console.error("usage: node transformers_js.mjs FOLDER DTYPE [EXPECTED]");
  process.exit(2);
}
const json = (path) => JSON.parse(readFileSync(path, "utf-8"));

env.allowRemoteModels = false;
env.localModelPath = dirname(resolve(folder));
const embedder = await pipeline("feature-extraction", basename(resolve(folder)), { dtype });

// A bag of tokens has no 1_Pooling: it is a mean.
const settings = `${folder}/1_Pooling/config.json`;
const cls = existsSync(settings) && json(settings).pooling_mode_cls_token;
const embed = async (texts) => (await embedder(texts, { pooling: cls ? "cls" : "mean", normalize: true })).tolist();

const expected = json(file ?? `${folder}/onnx/expected.json`);
let worst = 1;
for (const { text, vector } of expected.texts.filter(({ text }) => text)) {
  const [found] = await embed([text]);
  worst = Math.min(worst, found.reduce((sum, value, i) => sum + value * vector[i], 0));
}
console.log(`worst cosine ${worst.toFixed(7)} of ${expected.texts.length} texts`);
const suffix = { fp32: "", q8: "_quantized" }[dtype] ?? `_${dtype}`;
process.exit(!(worst >= expected.artifacts[`model${suffix}.onnx`].worst_cosine) ? 1 : 0);
