// Runs modules in V8. Each line of the input is a module with its imports and calls, and each line of
// the output says what it did, in the words of run.rs.
"use strict";
const fs = require("fs");

let left = Buffer.alloc(0);
function line() {
  for (;;) {
    const end = left.indexOf(10);
    if (end >= 0) {
      const text = left.toString("utf8", 0, end);
      left = left.subarray(end + 1);
      return text;
    }
    const chunk = Buffer.alloc(1 << 16);
    const count = fs.readSync(0, chunk);
    if (count === 0) process.exit(0);
    left = Buffer.concat([left, chunk.subarray(0, count)]);
  }
}

const compile = (hex) => new WebAssembly.Module(Buffer.from(hex, "hex"));
const host = (number) => ({ host: number });
const isHost = (value) => Object.hasOwn(value, "host");
const view = new DataView(new ArrayBuffer(8));
const f32 = (bits) => (view.setUint32(0, bits), view.getFloat32(0));
const f64 = (bits) => (view.setBigUint64(0, BigInt(bits)), view.getFloat64(0));

// A value of the host for a result of a host function.
function made([kind, number]) {
  if (kind === "i64") return BigInt(number);
  if (kind === "extern") return host(number);
  return kind === "null" ? null : number;
}

function hostFunction(recipes) {
  return (...params) => {
    const results = recipes.map((recipe) => {
      return typeof recipe === "number" ? params[recipe] : made(recipe);
    });
    return results.length > 1 ? results : results[0];
  };
}

class Describer {
  constructor(types, helper, elements) {
    this.types = types;
    this.helper = helper;
    this.elements = elements;
  }

  describe(value, kind, budget) {
    if (budget.left === 0) return "deep";
    budget.left -= 1;
    switch (kind) {
      case "i32": return { i32: value };
      case "i64": return { i64: value.toString() };
      case "f32": view.setFloat32(0, value); return { f32: view.getUint32(0) };
      case "f64": view.setFloat64(0, value); return { f64: view.getBigUint64(0).toString() };
      // These come from the helper as bits.
      case "f32 bits": return { f32: value >>> 0 };
      case "f64 bits": return { f64: BigInt.asUintN(64, value).toString() };
      case "deep": return "deep";
      // The helper says whether it is null.
      case "exn": return value ? "null" : "deep";
    }
    if (value === null) return "null";
    switch (kind) {
      case "func": return { func: value.length };
      case "extern":
        if (typeof value === "object" && isHost(value)) return { extern: value.host };
        return { externalized: this.describe(value, "any", budget) };
      case "any": break;
      default: throw new Error(`unknown kind ${kind}`);
    }
    if (typeof value === "number") return { i31: value };
    if (isHost(value)) return { internalized: value.host };
    const { types, helper } = this;
    const own = types.filter(({ index }) => helper[`is ${index}`](value, 0));
    const type = own.reduce((best, type) => (best && best.depth >= type.depth ? best : type));
    const read = (what, at, kind) => this.describe(helper[what](value, at), kind, budget);
    if (type.fields) {
      return { struct: type.fields.map((kind, at) => read(`get ${type.index} ${at}`, 0, kind)) };
    }
    const length = helper[`len ${type.index}`](value, 0) >>> 0;
    const elements = [];
    for (let at = 0; at < Math.min(length, this.elements); at += 1) {
      elements.push(read(`at ${type.index}`, at, type.element));
    }
    return { array: [length, elements] };
  }
}

// FNV-1a over words.
function hash(buffer) {
  let hash = 0x811c9dc5;
  for (const word of new Uint32Array(buffer)) hash = Math.imul(hash ^ word, 0x01000193);
  return hash >>> 0;
}

function failed(error, describer, tags, budget) {
  if (error instanceof WebAssembly.RuntimeError) return { trapped: error.message };
  if (error instanceof RangeError) return { exhausted: error.message };
  if (error instanceof WebAssembly.Exception) {
    const found = tags.find(([tag]) => error.is(tag));
    if (!found) return { threw: [] };
    const left = { left: budget - 1 };
    return {
      threw: found[1].map((kind, at) => {
        const deep = kind === "deep" || kind === "exn";
        return describer.describe(deep ? 0 : error.getArg(found[0], at), kind, left);
      }),
    };
  }
  return { failed: String(error) };
}

function serve(request) {
  const { budget, elements } = request;
  let module;
  try {
    module = compile(request.module);
  } catch (error) {
    return { limit: String(error) };
  }
  const externals = {};
  for (const number of request.externals) {
    externals[number] = new WebAssembly.Global({ value: "externref" }, host(number));
  }
  const helper = new WebAssembly.Instance(compile(request.helper), { host: externals }).exports;
  const describer = new Describer(request.types, helper, elements);
  // Several imports can have the same name. V8 reads them in order.
  const imports = {};
  const queue = [];
  const get = () => queue.shift();
  for (const { module, name, results, item } of request.imports) {
    imports[module] ??= {};
    Object.defineProperty(imports[module], name, { get, configurable: true });
    queue.push(results ? hostFunction(results) : helper[item]);
  }
  let exports;
  try {
    exports = new WebAssembly.Instance(module, imports).exports;
  } catch (error) {
    return { refused: failed(error, describer, [], budget) };
  }
  const tags = request.tags.map(([name, kinds]) => [exports[name], kinds]);
  const seen = [];
  const see = (value, kind) => {
    if (["any", "func", "extern"].includes(kind) && value !== null) seen.push(value);
  };
  const isHidden = (kind) => kind === "deep" || kind === "exn";
  for (const { name, global } of request.state) {
    if (global && !isHidden(global)) see(exports[name].value, global);
  }
  const argument = ([what, value]) => {
    switch (what) {
      case "f32": return f32(value);
      case "f64": return f64(value);
      case "seen": return seen[value];
      default: return made([what, value]);
    }
  };
  const calls = [];
  for (const { name, args, results } of request.calls) {
    exports[request.fuel].value = request.full;
    let outcome;
    try {
      const result = exports[name](...args.map(argument));
      const values = results.length > 1 ? result : results.length === 1 ? [result] : [];
      const returned = values.map((value, at) => {
        return describer.describe(value, results[at], { left: budget });
      });
      values.forEach((value, at) => see(value, results[at]));
      outcome = { returned };
    } catch (error) {
      outcome = failed(error, describer, tags, budget);
    }
    calls.push({ outcome, fuel: exports[request.fuel].value });
    if (outcome.exhausted) return { calls };
  }
  const state = request.state.map(({ name, global, table }) => {
    const left = { left: budget };
    const item = exports[name];
    if (global) {
      return isHidden(global) ? "deep" : describer.describe(item.value, global, left);
    }
    if (table) {
      if (isHidden(table)) return "deep";
      const length = item.length;
      const all = [];
      for (let at = 0; at < length; at += 1) {
        const element = item.get(typeof length === "bigint" ? BigInt(at) : at);
        all.push(describer.describe(element, table, left));
      }
      return { table: all };
    }
    return { memory: [item.buffer.byteLength, hash(item.buffer)] };
  });
  return { calls, state };
}

for (;;) {
  const request = JSON.parse(line());
  let answer;
  try {
    answer = serve(request);
  } catch (error) {
    answer = { error: String(error.stack) };
  }
  fs.writeSync(1, JSON.stringify(answer) + "\n");
}
