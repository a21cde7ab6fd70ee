// SPDX-License-Identifier: Apache-2.0
//
// Checks dashboards against the types Grafana publishes (npm @grafana/schema): the dashboard, each
// panel, its options and the settings of its fields. tsc names every field that is unknown, missing
// or of the wrong type. usage, where node_modules is: typecheck.mjs FOLDER DASHBOARD.json...
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const [folder, ...files] = process.argv.slice(2);
const raw = "@grafana/schema/dist/types/raw";
const kinds = ["stat", "timeseries", "heatmap", "table"];

const text = [
  `import type * as D from '${raw}/dashboard/x/types.gen';`,
  ...kinds.map((kind) =>
    `import type * as ${kind} from '${raw}/composable/${kind}/panelcfg/x/types.gen';`),
  // Enums are plain strings in JSON.
  `type Plain<T> = T extends string ? \`\${T}\` : T extends (infer U)[] ? Plain<U>[]
     : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;`,
  // The type of a Prometheus target is not part of the package.
  `interface Target { refId: string; expr: string; legendFormat?: string; instant?: boolean;
     range?: boolean; format?: 'time_series' | 'table' | 'heatmap';
     datasource: { type: 'prometheus'; uid: string } }`,
];
let count = 0;
const declare = (type, value) =>
  text.push(`export const v${count++}: ${type} = ${JSON.stringify(value, null, 1)};`);

for (const file of files) {
  const dashboard = JSON.parse(fs.readFileSync(file, "utf8"));
  declare("Plain<Partial<D.Dashboard>>", dashboard);
  for (const panel of dashboard.panels) {
    if (!kinds.includes(panel.type)) throw new Error(`${file}: no types for '${panel.type}'`);
    declare("Plain<Partial<D.Panel>>", panel);
    const all = `${panel.type}.Options`;
    const options = panel.type === "table" ? `Partial<${all}>` : all;
    declare(`Plain<${options}>`, panel.options);
    const custom = panel.type === "stat" ? "Record<string, never>"
      : `Partial<${panel.type}.FieldConfig>`;
    declare(`Plain<${custom}>`, panel.fieldConfig.defaults.custom);
    for (const target of panel.targets) declare("Target", target);
  }
}
const source = path.join(folder, "dashboards.ts");
fs.writeFileSync(source, text.join("\n"));
try {
  execFileSync("node_modules/.bin/tsc",
    ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "node",
      source],
    { stdio: "inherit" });
} catch {
  process.exit(1);
}
console.log(`${files.length} dashboards, ${count} values: types are right`);
