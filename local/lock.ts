import { createHash } from "node:crypto";
import { createConnection, createServer, type Server } from "node:net";
import type { Progress } from "./progress";

/**
 * Runs `work` while no other process of this machine holds the same lock, waiting for the one that does.
 *
 * The lock is a Linux abstract socket: the kernel takes it back when its owner ends, however it ended, so there is
 * nothing to clean up after a crash (https://man7.org/linux/man-pages/man7/unix.7.html).
 * @param directory what is being guarded; two processes with the same directory exclude each other.
 */
export async function withLock<T>(
  directory: string,
  progress: Pick<Progress, "say">,
  work: () => Promise<T>,
): Promise<T> {
  const address = `\0gitlab-workspaces-${createHash("sha256").update(directory).digest("hex").slice(0, 32)}`;
  let server = await listen(address);
  while (!server) {
    const owner = await released(address, (pid) => {
      progress.say(`Process ${pid} is already working in ${directory}; waiting for it to end.`);
    });
    if (owner) progress.say(`Process ${owner} has ended; going on.`);
    server = await listen(address);
  }
  try {
    return await work();
  } finally {
    const held = server;
    await new Promise((resolve) => held.close(resolve));
  }
}

/** The listening server, or undefined when another process listens. Every caller is told our process id. */
async function listen(address: string): Promise<Server | undefined> {
  const waiting = new Set<{ destroy(): void }>();
  const server = createServer((socket) => {
    waiting.add(socket);
    socket.on("error", () => waiting.delete(socket));
    socket.write(String(process.pid));
  });
  server.unref();
  const close = server.close.bind(server);
  server.close = (callback) => {
    for (const socket of waiting) socket.destroy();
    return close(callback);
  };
  return await new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen(address, () => {
      resolve(server);
    });
  });
}

/** Resolves with the owner's process id once it lets go; the connection ends when it closes the lock or dies. */
async function released(address: string, waiting: (pid: string) => void): Promise<string> {
  return await new Promise((resolve) => {
    let pid = "";
    const socket = createConnection(address);
    socket.on("data", (data) => {
      pid = data.toString();
      waiting(pid);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      resolve(pid);
    });
  });
}
