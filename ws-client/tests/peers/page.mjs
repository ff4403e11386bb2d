// Does a page in a browser work with a server?
//
// usage: node page.mjs ROWS
//
// Opens the `page` of ROWS in headless Chromium, which runs the rows (see page.html). Prints
// the result of the page. $CHROMIUM is the path of the browser; the default is in $PATH.

import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';

import { chromium } from 'playwright-core';

import { browser, launchOptions, NAMES } from './browser.mjs';

const executablePath = browser();
if (!executablePath) {
  console.error(`no ${NAMES[0]} in $PATH`);
  process.exit(1);
}
if (process.argv[2] === '--version') {
  const { version } = createRequire(import.meta.url)('playwright-core/package.json');
  const [said] = execFileSync(executablePath, ['--version'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).match(/^\S+ [\d.]+/);
  console.log(`${said} by playwright-core ${version} on node ${process.versions.node}`);
} else {
  const rows = JSON.parse(process.argv[2]);
  // The certificate of the server is self-signed.
  const running = await chromium.launch(launchOptions('--ignore-certificate-errors'));
  try {
    const page = await running.newPage();
    page.on('console', (message) => console.error(message.text()));
    page.on('pageerror', (error) => console.error(String(error)));
    await page.goto(rows.page);
    const said = await page.evaluate((rows) => run(rows), rows);
    console.log(JSON.stringify(said));
  } finally {
    await running.close();
  }
}
