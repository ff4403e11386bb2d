// Where is the browser of the interop tests, and how is it launched?

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

export const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** The path of the browser: $CHROMIUM, or the first of NAMES in $PATH. `undefined` if there is none. */
export function browser() {
  const folders = process.env.PATH.split(delimiter);
  const paths = [
    process.env.CHROMIUM,
    ...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))),
  ];
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Options for the `launch` of playwright, with further arguments of the browser. */
export function launchOptions(...further) {
  return {
    executablePath: browser(),
    // Without these, Chromium contacts its vendor's servers, and does not start as root.
    args: [
      '--no-sandbox',
      '--no-proxy-server',
      '--no-first-run',
      '--disable-gpu',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...further,
    ],
  };
}
