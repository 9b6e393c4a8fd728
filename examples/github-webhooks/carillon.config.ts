import { defineConfig } from 'carillon/server';
import { archive, code, interest, reviews, tracker } from './modules.ts';

export default defineConfig({
  modules: [reviews, tracker, code, interest, archive],
});
