// Does the official client work in a page of headless Chromium?
//
// usage: node page.mjs MODULE URL ARGUMENTS
//
// Runs the steps of MODULE in a page of the server at URL, with ARGUMENTS, a JSON object. Prints what the
// steps say, a line each, and then their report as JSON. `node page.mjs --version` fails if a package or
// the browser is missing. $CHROMIUM is the path of the browser; the default is in $PATH.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { browser, launchOptions, NAMES } from "../../../../ws-client/tests/peers/browser.mjs";

const peers = createRequire(new URL("../../../../ws-client/tests/peers/package.json", import.meta.url));
const { chromium } = peers("playwright-core");
const file = (path) => fileURLToPath(new URL(path, import.meta.url));
// The ESM bundle of 4.8.1 has another name in the place of `_placeholder`, so it sends no binary.
const client = file("node_modules/socket.io-client/dist/socket.io.min.js");

if (!browser()) throw new Error(`none of ${NAMES} is in $PATH`);
if (process.argv[2] === "--version") process.exit(0);

const [module, url, given] = process.argv.slice(2);
// To Chromium, a page whose files come from here is not in the network of its server.
const checks = "LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets";
const running = await chromium.launch(launchOptions(`--disable-features=${checks}`));
try {
  const page = await running.newPage();
  page.on("pageerror", (error) => console.error(String(error)));
  // The server has no page: its files come from here, with its origin.
  await page.route(`${url}/page/**`, (route) => {
    const name = new URL(route.request().url()).pathname.slice("/page/".length);
    if (name === "") return route.fulfill({ contentType: "text/html", body: "<!doctype html>" });
    return route.fulfill({ path: file(name), contentType: "text/javascript" });
  });
  await page.exposeFunction("say", (text) => console.log(text));
  await page.exposeFunction("step", (text) => console.error(text));
  await page.goto(`${url}/page/`);
  await page.addScriptTag({ path: client });
  const report = await page.evaluate(
    async ([module, url, given]) => {
      const { run } = await import(`/page/${module}`);
      const { io, say, step } = window;
      return run({ io, url, say, step, ...given });
    },
    [module, url, JSON.parse(given)],
  );
  console.log(JSON.stringify(report));
} finally {
  await running.close();
}
