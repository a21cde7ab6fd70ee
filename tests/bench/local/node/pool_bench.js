// SPDX-License-Identifier: Apache-2.0
//
// Pools in Node, measured in windows: node pool_bench.js SUBJECT CAPACITY WORKERS. Each line of the
// input is a number of seconds; the answer is a line {"seconds", "ops"}, the pairs of acquire and
// release by all workers. SUBJECT is seed, generic-pool or tarn; only the first can have several
// workers.
'use strict';

const {Worker, isMainThread, parentPort, workerData} = require('node:worker_threads');
const {performance} = require('node:perf_hooks');

const FREE = 0;
const BUSY = 1;
const CAPACITY = 1;
const HEAD = 2;
const TAIL = 3;
const NOTIFY = 4;
const SLOTS = 5;
const BATCH = 256;

// The seed's algorithm: a search from a shared hint, and a compare-and-swap on the slot.
class SeedPool {
  constructor(buffer) {
    this.words = new Int32Array(buffer);
    this.count = Atomics.load(this.words, CAPACITY);
  }

  static buffer(capacity) {
    const buffer = new SharedArrayBuffer(4 * (SLOTS + capacity));
    new Int32Array(buffer)[CAPACITY] = capacity;
    return buffer;
  }

  acquire() {
    const {words, count} = this;
    let slot = Atomics.load(words, HEAD);
    for (let tries = 0; tries < count; ++tries) {
      if (Atomics.load(words, SLOTS + slot) === FREE &&
          Atomics.compareExchange(words, SLOTS + slot, FREE, BUSY) === FREE) {
        Atomics.store(words, HEAD, slot + 1 === count ? 0 : slot + 1);
        return slot;
      }
      if (++slot === count) slot = 0;
    }
    return -1;
  }

  release(slot) {
    const {words} = this;
    if (Atomics.compareExchange(words, SLOTS + slot, BUSY, FREE) !== BUSY) {
      throw new Error('released twice');
    }
    Atomics.store(words, TAIL, slot);
    Atomics.add(words, NOTIFY, 1);
  }
}

function runSeed(pool, seconds) {
  const begin = performance.now();
  let ops = 0;
  while (performance.now() - begin < seconds * 1e3) {
    for (let i = 0; i < BATCH;) {
      const slot = pool.acquire();
      if (slot < 0) continue;
      pool.release(slot);
      ++i;
    }
    ops += BATCH;
  }
  return {ops, seconds: (performance.now() - begin) / 1e3};
}

async function runAsync(acquire, release, seconds) {
  const begin = performance.now();
  let ops = 0;
  while (performance.now() - begin < seconds * 1e3) {
    for (let i = 0; i < BATCH; ++i) await release(await acquire());
    ops += BATCH;
  }
  return {ops, seconds: (performance.now() - begin) / 1e3};
}

// Each worker is a thread of its own, so that what it runs is compiled for nothing else.
function seedRunner(capacity, count) {
  const buffer = SeedPool.buffer(capacity);
  const workers = [];
  for (let i = 0; i < count; ++i) workers.push(new Worker(__filename, {workerData: buffer}));
  return async (seconds) => {
    const answers = workers.map((worker) => new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.postMessage(seconds);
    }));
    let ops = 0;
    let longest = 0;
    for (const answer of await Promise.all(answers)) {
      ops += answer.ops;
      longest = Math.max(longest, answer.seconds);
    }
    return {ops, seconds: longest};
  };
}

function genericRunner(capacity) {
  const pool = require('generic-pool').createPool(
      {create: async () => ({}), destroy: async () => {}}, {max: capacity});
  return (seconds) => runAsync(() => pool.acquire(), (one) => pool.release(one), seconds);
}

function tarnRunner(capacity) {
  const {Pool} = require('tarn');
  const pool = new Pool({create: async () => ({}), destroy: () => {}, min: 0, max: capacity});
  return (seconds) => runAsync(() => pool.acquire().promise, (one) => pool.release(one), seconds);
}

async function main(subject, capacity, workers) {
  const runners = {seed: seedRunner, 'generic-pool': genericRunner, tarn: tarnRunner};
  const run = runners[subject](capacity, workers);
  await run(0.3); // until it is compiled
  console.log('ready');
  for await (const line of require('node:readline').createInterface({input: process.stdin})) {
    console.log(JSON.stringify(await run(Number(line))));
  }
  process.exit(0);
}

if (isMainThread) {
  main(process.argv[2], Number(process.argv[3]), Number(process.argv[4]));
} else {
  const pool = new SeedPool(workerData);
  parentPort.on('message', (seconds) => parentPort.postMessage(runSeed(pool, seconds)));
}
