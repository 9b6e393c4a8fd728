/** Something that runs between its start and its stop. */
export interface Part {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts parts one after the other and stops them in reverse order. A start that fails stops those already started,
 * and is thrown. A stop that fails does not keep the others from stopping; the first failure is thrown at the end.
 */
export function createLifecycle(parts: readonly Part[]): { start(): Promise<void>; stop(): Promise<void> } {
  const running: Part[] = [];
  const stop = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (let part = running.pop(); part; part = running.pop()) {
      await part.stop().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  };
  return {
    start: async () => {
      for (const part of parts) {
        try {
          await part.start();
        } catch (error) {
          await stop().catch(() => undefined);
          throw error;
        }
        running.push(part);
      }
    },
    stop,
  };
}
