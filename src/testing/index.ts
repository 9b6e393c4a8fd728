export {
  guarantees,
  runCase,
  type ApplicationTransaction,
  type ConformanceCase,
  type EnginePlace,
  type EngineUnderTest,
  type Guarantee,
  type Kit,
} from './conformance/index.ts';
export { describeEngine, type TestRunner } from './describe-engine.ts';
export { fakeClock, type FakeClock, type FakeClockOptions } from './fake-clock.ts';
export { seededRandom } from './seeded-random.ts';
export { testBus, type Ended, type TestBus, type TestBusOptions } from './test-bus.ts';
