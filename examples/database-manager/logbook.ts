import type { Event, HandlerContext } from 'carillon';

/**
 * Writes what a handler did into the article's table `logs`, in the commit that acknowledges the event: so each event a
 * handler is done with stands there once. A second row for it would be refused, and the attempt with it.
 */
export async function log(event: Event, { tx, subscription }: HandlerContext, message: string): Promise<void> {
  await tx.run('INSERT INTO public.logs (event_type, message, source, event_id, handler) VALUES ($1, $2, $3, $4, $5)', [
    event.type,
    message,
    event.source,
    event.id,
    subscription,
  ]);
}
