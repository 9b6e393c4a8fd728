export function findTool(name: string): Promise<string | null>;
