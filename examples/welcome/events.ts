import { defineEvent } from 'carillon';
import { z } from 'zod';

export const GreetingRequested = defineEvent('greeting.requested', {
  description: 'Somebody wants to be greeted',
  data: z.object({ name: z.string().max(200) }),
  subject: ({ name }) => name,
});

export const GreetingGiven = defineEvent('greeting.given', {
  description: 'A greeting was given',
  data: z.object({ name: z.string(), text: z.string() }),
  subject: ({ name }) => name,
});
