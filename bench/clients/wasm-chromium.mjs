// Times an .onnx file in headless Chromium, served from localhost alone: node wasm-chromium.mjs REQUEST, as in latency.py.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const { spec, folder, cell, texts, started } = JSON.parse(process.argv[2]);
const here = dirname(fileURLToPath(import.meta.url));
const modules = join(dirname(fileURLToPath(import.meta.resolve("playwright-core"))), "..");
const places = {
  "/model.onnx": spec, "/model.onnx_data": `${spec}_data`, "/texts.json": texts,
  "/tokenizer.json": join(folder, "tokenizer.json"), "/tokenizer_config.json": join(folder, "tokenizer_config.json"),
  "/timing.mjs": join(here, "timing.mjs"), "/tokenizers.mjs": join(modules, "@huggingface/tokenizers/dist/tokenizers.min.mjs"),
};
const types = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };
// Threads of WebAssembly share memory, which pages get only when they are isolated.
const isolated = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
const server = createServer((request, response) => {
  const path = decodeURI(new URL(request.url, "http://localhost").pathname);
  if (path === "/") return response.writeHead(200, { "Content-Type": "text/html", ...isolated }).end("<!doctype html><title>timing</title>");
  const file = places[path] ?? path.replace(/^\/ort\//, `${modules}/onnxruntime-web/dist/`);
  if (!existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
  response.writeHead(200, { "Content-Type": types[extname(file)] ?? "application/octet-stream", ...isolated });
  createReadStream(file).pipe(response);
}).listen(0, "127.0.0.1");

const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: quiet });
const page = await browser.newPage();
await page.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
await page.goto(`http://127.0.0.1:${server.address().port}/`);
const beside = existsSync(`${spec}_data`) ? basename(`${spec}_data`) : "";
const found = await page.evaluate(async ({ cell, started, beside }) => {
  const ort = await import("/ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = "/ort/";
  const { Tokenizer } = await import("/tokenizers.mjs");
  const { measure } = await import("/timing.mjs");
  const json = async (path) => (await fetch(path)).json();
  const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const model = await bytes("/model.onnx"), data = beside ? { path: beside, data: await bytes("/model.onnx_data") } : undefined;
  const inputs = { tokenizer: await json("/tokenizer.json"), settings: await json("/tokenizer_config.json"), texts: await json("/texts.json") };
  return measure(ort, Tokenizer, { model, data, cell, started, ...inputs });
}, { cell, started, beside }).catch((error) => ({ error: String(error) }));
// A browser is many processes that share pages: no figure of memory would be comparable.
console.log(`measured: ${JSON.stringify({ ...found, browser: browser.version(), memory: { baseline: 0, loaded: 0, end: 0, peak: 0 } })}`);
await browser.close();
server.close();
