// Where is the browser of the interop tests?

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
