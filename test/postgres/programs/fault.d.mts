/** The steps at which the process can be made to end, in words. */
export declare const stepNames: readonly string[];
/** Ends the process at the nth time that it comes to the step, from 1. */
export declare function dieAt(step: string, nth: number): void;
/** One more, for a handler that commits on a connection of its own. */
export declare const outsideStep: string;
