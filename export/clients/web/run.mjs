// Opens index.html in headless Chromium, served from localhost alone: node run.mjs FOLDER DTYPE EXPECTED
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const [folder, dtype, expected] = process.argv.slice(2);
if (!expected) {
  console.error("usage: node run.mjs FOLDER DTYPE EXPECTED");
  process.exit(2);
}
const modules = join(dirname(fileURLToPath(import.meta.resolve("playwright-core"))), "..");
const places = {
  "/index.html": join(dirname(fileURLToPath(import.meta.url)), "index.html"),
  "/transformers.min.js": join(modules, "@huggingface/transformers/dist/transformers.min.js"),
  "/expected.json": resolve(expected),
};
const types = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const server = createServer((request, response) => {
  const path = decodeURI(new URL(request.url, "http://localhost").pathname);
  const file = places[path] ?? path.replace(/^\/model\//, `${resolve(folder)}/`).replace(/^\/ort\//, `${modules}/onnxruntime-web/dist/`);
  if (!existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
  response.writeHead(200, { "Content-Type": types[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
}).listen(0, "127.0.0.1");

const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: quiet });
const page = await browser.newPage();
// A request to anywhere else is refused, so that the page fails if it needs one.
await page.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
page.on("pageerror", (error) => console.error(String(error)));
await page.goto(`http://127.0.0.1:${server.address().port}/index.html?model=model&dtype=${dtype}&expected=expected.json`);
await page.waitForFunction(() => document.title.startsWith("worst"), null, { timeout: 600_000 });
console.log(`${await page.title()}; Chromium ${browser.version()}`);
await browser.close();
server.close();
