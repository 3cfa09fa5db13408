// Has the description of the fleet's messages checked by AsyncAPI's own parser: node asyncapi.mjs MODULES DOCUMENT.
// MODULES is a folder with @asyncapi/parser; ./dev lint puts it into target/asyncapi. Nothing is fetched for the check.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const [modules, document] = process.argv.slice(2).map((path) => resolve(path));
const { Parser, DiagnosticSeverity } = createRequire(`${modules}/`)("@asyncapi/parser");

const none = { schema: "http", canRead: true, read: () => Promise.reject(new Error("no file but this one is read")) };
const parser = new Parser({ __unstable: { resolver: { cache: false, resolvers: [none, { ...none, schema: "https" }] } } });
const { document: parsed, diagnostics } = await parser.parse(readFileSync(document, "utf8"), { source: document });

// Hints are advice, for example that a newer version of the specification exists.
const wrong = diagnostics.filter(({ severity }) => severity <= DiagnosticSeverity.Warning);
for (const { code, message, path, range } of wrong) {
  console.error(`${document}:${range.start.line + 1}: ${path.join(".")}: ${message} (${code})`);
}
if (wrong.length > 0 || parsed === undefined) process.exit(1);
console.log(`${document}: ${parsed.channels().length} channels, ${parsed.messages().length} messages`);
