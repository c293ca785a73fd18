// Times an .onnx file in node's WebAssembly: node wasm-node.mjs REQUEST, the request and the answer as in latency.py.
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";
import { Tokenizer } from "@huggingface/tokenizers";
import { measure } from "./timing.mjs";

const { spec, folder, cell, texts, started } = JSON.parse(process.argv[2]);
const json = (path) => JSON.parse(readFileSync(path, "utf-8"));
const status = (field) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf-8"))?.[1] ?? 0);

const baseline = status("VmRSS");
const inputs = { tokenizer: json(`${folder}/tokenizer.json`), settings: json(`${folder}/tokenizer_config.json`), texts: json(texts) };
const found = await measure(ort, Tokenizer, { model: readFileSync(spec), cell, started, ...inputs });
const memory = { baseline, loaded: baseline, end: status("VmRSS"), peak: status("VmHWM") };
console.log(`measured: ${JSON.stringify({ ...found, memory })}`);
process.exit(0);
