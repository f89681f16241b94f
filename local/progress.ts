/** Says what is being done and for how long, one plain line at a time: the same on a terminal, in a pipe and in a log. */
export interface Progress {
  /** Prints one line. */
  say(line: string): void;
  /** Whether a step is under way. */
  busy(): boolean;
  /**
   * Runs `work`, printing when it starts, every 15 seconds while it runs (with the last `detail`), and how long it took.
   * @throws whatever `work` throws, after naming the step that failed.
   */
  step<T>(name: string, work: (detail: (text: string) => void) => Promise<T>): Promise<T>;
}

/** Whole seconds as a person reads them: `8 s`, `3 min 20 s`. */
export function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** A Progress that writes to the given stream, standard error unless another is given. */
export function progressTo(stream: NodeJS.WritableStream = process.stderr): Progress {
  const say = (line: string): void => void stream.write(`${line}\n`);
  let steps = 0;
  return {
    say,
    busy: () => steps > 0,
    async step(name, work) {
      const begin = Date.now();
      let latest = "";
      steps += 1;
      say(`> ${name}`);
      const timer = setInterval(() => {
        say(`  ${name}: ${duration(Date.now() - begin)}${latest && `, ${latest}`}`);
      }, 15_000);
      try {
        const result = await work((text) => (latest = text));
        say(`  ${name}: done in ${duration(Date.now() - begin)}`);
        return result;
      } catch (error) {
        say(`  ${name}: failed after ${duration(Date.now() - begin)}`);
        throw error;
      } finally {
        steps -= 1;
        clearInterval(timer);
      }
    },
  };
}
