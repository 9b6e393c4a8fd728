import { createBus, defineEvent, defineModule } from 'carillon';
import { sqlite } from 'carillon/sqlite';
import { z } from 'zod';

const OrderPlaced = defineEvent('order.placed', {
  data: z.object({ order: z.string(), total: z.number() }),
  subject: ({ order }) => order,
});

const billing = defineModule('billing', (m) => {
  m.handle(OrderPlaced, ({ data }) => console.log(`billed ${data.order}: ${data.total}`), { name: 'bill' });
});

const bus = await createBus({ engine: sqlite('./data'), modules: [billing] });
await bus.publish(OrderPlaced({ order: 'A-1', total: 42 }));
await bus.drain();
await bus.stop();
