// Times an .onnx file in node's WebAssembly: node wasm-node.mjs REQUEST, the request and the answer as in latency.py.
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import * as ort from "onnxruntime-web";
import { Tokenizer } from "@huggingface/tokenizers";
import { measure } from "./timing.mjs";

const { spec, folder, cell, texts, started } = JSON.parse(process.argv[2]);
const json = (path) => JSON.parse(readFileSync(path, "utf-8"));
const status = (field) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf-8"))?.[1] ?? 0);

const baseline = status("VmRSS");
const inputs = { tokenizer: json(`${folder}/tokenizer.json`), settings: json(`${folder}/tokenizer_config.json`), texts: json(texts) };
const beside = `${spec}_data`;
const data = existsSync(beside) ? { path: basename(beside), data: readFileSync(beside) } : undefined;
const found = await measure(ort, Tokenizer, { model: readFileSync(spec), data, cell, started, ...inputs }).catch((error) => ({ error: String(error) }));
const memory = { baseline, loaded: baseline, end: status("VmRSS"), peak: status("VmHWM") };
console.log(`measured: ${JSON.stringify({ ...found, memory })}`);
process.exit(0);
