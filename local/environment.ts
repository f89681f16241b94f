/** A variable of the environment; undefined when it is not set or empty, which XDG says is the same. */
export function fromEnvironment(name: string): string | undefined {
  const value = process.env[name];
  return value === "" ? undefined : value;
}
