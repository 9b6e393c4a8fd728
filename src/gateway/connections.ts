import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Ends connections when the server stops: those without a request in hand at once, the others once they have answered.
 * Node's own closeIdleConnections leaves out connections that never sent a request (browsers open such in advance),
 * and those that become idle later.
 */
export function trackConnections(server: Server): { release(): void; destroy(): void } {
  const requests = new Map<Socket, number>();
  let releasing = false;
  server.on('connection', (socket) => {
    requests.set(socket, 0);
    socket.once('close', () => requests.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    requests.set(socket, (requests.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const left = (requests.get(socket) ?? 1) - 1;
      if (requests.has(socket)) requests.set(socket, left);
      if (releasing && left === 0) socket.destroySoon();
    });
  });
  return {
    release: () => {
      releasing = true;
      for (const [socket, count] of requests) if (count === 0) socket.destroySoon();
    },
    destroy: () => {
      for (const socket of requests.keys()) socket.destroy();
    },
  };
}
