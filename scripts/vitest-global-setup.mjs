// Engines start worker threads from dist/, so dist/ must say what src/ says before any test runs. Type errors are the
// business of `npm run check`; a test run reports them and goes on.
import { build } from './build.mjs';

export default async function setup() {
  const { warnings } = await build({ ifStale: true, evenWithTypeErrors: true });
  if (warnings !== '') console.warn(`The sources have type errors; the tests run all the same.\n${warnings}\n`);
}
