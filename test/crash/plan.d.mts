/** A subscription of the workload; see plan.mjs. */
export interface Plan {
  readonly name: string;
}
export const plans: readonly Plan[];
