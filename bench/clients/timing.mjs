// One cell of a benchmark in WebAssembly, in node and in a page alike: what compact_labse/measure/latency.py does in Python.

const KEPT = 200;

function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => {
    const place = share * (sorted.length - 1), low = Math.floor(place);
    return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  };
  const raw = values.filter((_, i) => i % Math.ceil(values.length / KEPT) === 0);
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), calls: values.length, raw };
}

async function repeat(call, seconds, fewest) {
  const warm = performance.now() + 200 * seconds;
  do await call(); while (performance.now() < warm);
  const found = [], until = performance.now() + 1000 * seconds;
  while (found.length < fewest || performance.now() < until) {
    const before = performance.now();
    await call();
    found.push(performance.now() - before);
  }
  return found;
}

export async function measure(ort, Tokenizer, { model, data, tokenizer: rules, settings, cell, texts, started }) {
  ort.env.wasm.numThreads = cell.threads;
  const tokenizer = new Tokenizer(rules, settings);
  // Tables may lie in a file of their own beside the model, which knows its name.
  const session = await ort.InferenceSession.create(model, data ? { externalData: [data] } : {});
  const limit = settings.model_max_length ?? Infinity;
  const tokenize = (text) => {
    const { ids } = tokenizer.encode(text);
    return ids.length > limit ? [...ids.slice(0, limit - 1), ids.at(-1)] : ids;
  };
  const forward = async (rows) => {
    const width = Math.max(...rows.map((row) => row.length)), shape = [rows.length, width];
    const ids = new BigInt64Array(rows.length * width), mask = new BigInt64Array(ids.length);
    rows.forEach((row, i) => row.forEach((id, j) => { ids[i * width + j] = BigInt(id); mask[i * width + j] = 1n; }));
    const tensor = (values) => new ort.Tensor("int64", values, shape);
    const feed = { input_ids: tensor(ids), attention_mask: tensor(mask), token_type_ids: tensor(new BigInt64Array(ids.length)) };
    return (await session.run(feed, ["sentence_embedding"])).sentence_embedding.data;
  };
  await forward([tokenize(texts[0])]);
  const cold_start_ms = Date.now() - 1000 * started;
  if (cell.mode === "fixed") {
    if (cell.tokens > limit) return { error: `not measured: the model takes at most ${limit} tokens, not ${cell.tokens}` };
    const long = tokenize(texts.join(" ").slice(0, 40 * cell.tokens * cell.batch));
    const rows = Array.from({ length: cell.batch }, (_, row) =>
      Array.from({ length: cell.tokens }, (_, i) => long[(row * cell.tokens + i) % long.length]));
    const tokenize_ms = summary(await repeat(() => texts.slice(0, cell.batch).map(tokenize), cell.seconds / 4, 5));
    return { tokenize_ms, model_ms: summary(await repeat(() => forward(rows), cell.seconds, 5)), cold_start_ms };
  }
  const chosen = texts.slice(0, cell.count);
  let tokenizing = 0, computing = 0;
  const pass = async () => {
    for (const text of chosen) {
      const before = performance.now(), ids = tokenize(text), between = performance.now();
      await forward([ids]);
      tokenizing += between - before;
      computing += performance.now() - between;
    }
  };
  await forward([tokenize(chosen[0])]);
  const before = performance.now(), passes = [];
  while (!passes.length || performance.now() - before < 1000 * cell.seconds) {
    const begun = performance.now();
    await pass();
    passes.push(performance.now() - begun);
  }
  const total = passes.reduce((a, b) => a + b);
  return {
    sentences: chosen.length, pass_ms: summary(passes), sentences_per_s: (1000 * chosen.length * passes.length) / total,
    tokenize_share: tokenizing / total, model_share: computing / total, cold_start_ms,
  };
}
