// Runs WebAssembly for `v8.rs`: a line of JSON for each request and for each answer.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

let module;
const instances = [];

const host = {
  nop: () => {},
  add: (a, b) => (a + b) | 0,
  same: (x) => x,
  value: (n) => ({ n }),
  number: (x) => x?.n ?? -1,
};

const actions = {
  version: () => process.versions.v8,
  validate: ({ bytes }) => WebAssembly.validate(new Uint8Array(bytes)),
  hasClock: () => typeof process.threadCpuUsage === "function",
  compile: ({ path }) => {
    module = new WebAssembly.Module(readFileSync(path));
  },
  start: () => instances.push(new WebAssembly.Instance(module, { host }).exports) - 1,
  stop: ({ instance }) => {
    instances[instance] = undefined;
  },
  run: ({ instance, name, arg }) => {
    const func = instances[instance][name];
    const [cpu, wall] = [process.threadCpuUsage(), process.hrtime.bigint()];
    const answer = func(arg);
    const ns = Number(process.hrtime.bigint() - wall);
    const { user, system } = process.threadCpuUsage(cpu);
    return { answer: String(answer), ns, us: user + system };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { ok: actions[request.action](request) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
