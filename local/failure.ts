/**
 * A fault the person at the keyboard can mend: printed as its message alone, with exit code 1.
 * The message names what is wrong and the command that mends it, never a secret.
 */
export class Failure extends Error {}

/** What the person gave is refused: exit code 2, as the doctor has it. */
export class Refused extends Failure {}
