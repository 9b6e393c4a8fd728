export { createGateway, type Gateway, type GatewayAddress, type GatewayOptions } from './gateway.ts';
export type { HttpLimits } from './limits.ts';
export type { Problem } from './problem.ts';
