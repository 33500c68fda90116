// Says which of the features V8 has: `node v8.mjs FOLDER`, where FOLDER has the modules of this
// folder as `.wasm` files. The test of the command writes them.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const folder = process.argv[2];
console.log(`V8 ${process.versions.v8}`);
for (const file of readdirSync(folder).sort()) {
  if (!file.endsWith(".wasm")) continue;
  let answer;
  try {
    const builtins = { builtins: ["js-string"] };
    const module = new WebAssembly.Module(readFileSync(join(folder, file)), builtins);
    const result = new WebAssembly.Instance(module, {}).exports.test();
    answer = result === 1 ? "yes" : `wrong: ${result}`;
  } catch (error) {
    answer = `no: ${error.message}`;
  }
  console.log(`${file} ${answer}`);
}
