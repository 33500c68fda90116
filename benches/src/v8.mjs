// Runs WebAssembly for `v8.rs`: a line of JSON for each request and for each answer.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

let module;
const instances = [];

// As in `ticks.rs`: the time of each tick, in ms. Their memory is that of a typed array, outside of V8's heap.
const ROOM = 1 << 25;
// After a gap of so many ms the processor time is read.
const LONG = 0.02;
let times;
let count = 0;
// For each long gap the tick at its end, the time at it, and the processor time of the thread in ms.
let read = [];

function processorTime() {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function tick() {
  const now = performance.now();
  if (count == 0) {
    times ??= new Float64Array(ROOM);
    read.push(0, now, processorTime());
  } else if (now - times[count - 1] >= LONG) {
    read.push(count, now, processorTime());
  }
  times[count++] = now;
}

const host = {
  tick,
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
  // Writes the ticks of the last run as numbers of 8 bytes: the times, and then what was read.
  ticks: ({ path }) => {
    if (count > ROOM) throw new Error(`there is room for ${ROOM} ticks, not for ${count}`);
    const all = new Float64Array(count + read.length);
    all.set(times.subarray(0, count));
    all.set(read, count);
    writeFileSync(path, all);
  },
  start: () => instances.push(new WebAssembly.Instance(module, { host }).exports) - 1,
  stop: ({ instance }) => {
    instances[instance] = undefined;
  },
  run: ({ instance, name, arg }) => {
    const func = instances[instance][name];
    count = 0;
    read = [];
    const [cpu, wall] = [process.threadCpuUsage(), process.hrtime.bigint()];
    const answer = func(arg);
    const ns = Number(process.hrtime.bigint() - wall);
    const { user, system } = process.threadCpuUsage(cpu);
    return { answer: String(answer), ns, us: user + system, ticks: count };
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
