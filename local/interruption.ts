/**
 * Aborted by the first Ctrl-C. A terminal tells the children as well, but one that is only just being started would miss
 * it: whoever starts a child gives it this signal, or looks at it once the child runs.
 */
export const interruption = new AbortController();
