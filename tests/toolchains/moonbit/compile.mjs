// Compiles a program of one file for wasm-gc with MoonBit's compiler of npm. What it needs of the
// core library is compiled too, from the sources that the npm package of MoonBit's editor has.
//
//     node compile.mjs NODE_MODULES PROGRAM.mbt OUT.wasm EXPORT...
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, resolve } from "node:path";

const [modules, program, out, ...exportedFunctions] = process.argv.slice(2);

// The packages that programs may use. Those that they need are added.
const roots = ["moonbitlang/core/prelude", "moonbitlang/core/env"];

// The compiler is a web worker, which gets calls as messages. These are such a worker's surroundings.
let receive, reply;
globalThis.addEventListener = (_, listener) => { receive = listener; };
globalThis.postMessage = (message) => reply(message.value);
createRequire(import.meta.url)(resolve(modules, "@moonbit/moonc-worker/moonc-worker.js"));

function call(name, params) {
  return new Promise((resolve) => {
    reply = resolve;
    const argumentList = [{ type: "RAW", value: params }];
    receive({ origin: "", data: { id: "0", type: "APPLY", path: [name], argumentList } });
  });
}

const common = { target: "wasm-gc", noOpt: false };

async function buildPackage(params) {
  const result = await call("buildPackage", {
    ...common, errorFormat: "human", enableValueTracing: false, indirectImportMiFiles: [], ...params,
  });
  // The compiler has written why.
  if (!result.core) process.exit(1);
  return result;
}

// The editor has files as texts in base 64: `name = d("…")`, and then `i["path"] = name`.
const editor = readFileSync(resolve(modules, "@moonbit/moonpad-monaco/dist/moonpad-monaco.js"), "utf8");
const texts = new Map();
for (const [, name, text] of editor.matchAll(/([\w$]+) = \w+\("([A-Za-z0-9+/=]*)"\)/g)) {
  texts.set(name, text);
}
const files = new Map();
for (const [, path, name] of editor.matchAll(/^\w+\["(\/lib\/core\/[^"]*)"\] = ([\w$]+);/gm)) {
  files.set(`moonbit-core:${path}`, Buffer.from(texts.get(name) ?? "", "base64").toString());
}
const core = JSON.parse(files.get("moonbit-core:/lib/core/_build/packages.json"));
const packages = new Map(core.packages.map((item) => [`${core.name}/${item.rel}`, item]));

// The source without its tests, which need more packages. `///|` begins each item of a file.
function withoutTests(source) {
  return source.split(/^\/\/\/\|$/m).filter((item) => !/^(async )?test\b/m.test(item)).join("///|");
}

// Compiles a package of the core library, after those that it needs. It may use types of packages
// that it does not import, so all those that were compiled are given to it, with names of their own.
const compiled = new Map();
async function compile(path) {
  if (compiled.has(path)) return;
  const { "root-path": folder, files: sources, deps } = packages.get(path);
  for (const dep of deps) await compile(dep.path);
  const mine = Object.entries(sources).filter(([, { backend, optlevel }]) =>
    backend.includes("WasmGC") && optlevel.includes("Release"));
  const result = await buildPackage({
    pkg: path, isMain: false, stdMiFiles: [],
    pkgSources: [`${path}:${folder}`],
    mbtFiles: mine.map(([file]) => [file, withoutTests(files.get(file))]),
    miFiles: [...compiled].map(([other, { mi }]) => {
      const { artifact, rel } = packages.get(other);
      const alias = deps.find((dep) => dep.path === other)?.alias;
      return [`${artifact}:${alias ?? `${rel.replaceAll("/", "_")}_`}`, mi];
    }),
  });
  compiled.set(path, result);
}
for (const root of roots) await compile(root);

const main = "program";
const folder = `${main}:program:/`;
const built = await buildPackage({
  pkg: main, isMain: true, miFiles: [],
  pkgSources: [folder],
  mbtFiles: [[`/${basename(program)}`, readFileSync(program, "utf8")]],
  stdMiFiles: [...compiled].map(([path, { mi }]) => {
    const { rel } = packages.get(path);
    return [`/lib/core/${rel}:${rel}`, mi];
  }),
});
const { result } = await call("linkCore", {
  ...common, main, exportedFunctions, outputFormat: "wasm",
  coreFiles: [...[...compiled.values()].map((item) => item.core), built.core],
  pkgSources: [`${core.name}:${core.source_dir}`, folder],
  testMode: false, debug: false, sourceMap: false, sources: {}, stopOnMain: false,
});
writeFileSync(out, result);
