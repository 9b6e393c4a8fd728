import { defineConfig } from 'carillon/server';
import { welcome } from './examples/welcome/module.ts';

/** What `carillon serve` runs in this directory. Put your own modules in place of `welcome`. */
export default defineConfig({
  modules: [welcome],
});
