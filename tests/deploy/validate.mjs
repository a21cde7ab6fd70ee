// SPDX-License-Identifier: Apache-2.0
//
// Checks Kubernetes objects offline, in two ways: by the API's own schemas (types, required fields,
// enumerations, quantities), and by the compiler, to which an object literal with a field that its
// type does not know is an error (mistyped names, which schemas let pass).
// usage: node validate.mjs FILE.json    a JSON array of objects; run in the folder of node_modules
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';

const packages = { 'monitoring.coreos.com': '@kubernetes-models/prometheus-operator' };

function moduleOf(object) {
  const group = object.apiVersion.includes('/') ? object.apiVersion.split('/')[0] : '';
  return `${packages[group] ?? 'kubernetes-models'}/${object.apiVersion}/${object.kind}`;
}

const objects = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
let faults = 0;
let source = '';
for (const [index, object] of objects.entries()) {
  const name = `${object.kind} ${object.metadata?.name}`;
  try {
    const models = await import(moduleOf(object));
    new models[object.kind](object).validate();
  } catch (error) {
    faults++;
    console.log(`${name}: ${error.message}`);
    continue;
  }
  source += `import type { I${object.kind} as Kind${index} } from '${moduleOf(object)}';\n` +
    `export const object${index}: Kind${index} = ${JSON.stringify(object, null, 1)};\n`;
}
const file = `objects-${process.pid}.ts`;
fs.writeFileSync(file, source);
try {
  execFileSync('node_modules/.bin/tsc', ['--noEmit', '--strict', '--skipLibCheck', '--target',
    'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext', file],
    { encoding: 'utf8' });
} catch (error) {
  faults++;
  console.log(error.stdout);
} finally {
  fs.rmSync(file);
}
process.exit(faults ? 1 : 0);
